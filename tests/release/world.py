"""One model, its ledger, its registry, and what a pipeline does with them, in a line each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.ledger import Event, Ledger
from holdfast.registry import Registry
from holdfast.release import (
    Done,
    Promote,
    ReleaseState,
    ReleaseVersion,
    promote,
    read_state,
    reconcile,
    record_judgement,
    register,
    rollback,
    stage,
    stream_of,
)
from holdfast.store import Store, canonical_json, digest, open_store
from holdfast.verdict import CheckResult, Report, Verdict

MODEL = "ranker"
POLICY: dict[str, Any] = {"metrics": {"ndcg@10": {"min": 0.5, "max_regression": 0.02}}, "confidence": 0.95}
POLICY_DIGEST = digest(canonical_json(POLICY))


class Clock:
    """A minute passes at every look, or another `step`."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.step = timedelta(minutes=1)

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


class World:
    """`name` of a model stands for its content: its digest and its source follow from it."""

    def __init__(
        self, registry: Registry, store: Store | None = None, *, who: str = "ada", source: str = "runs:/{name}/model"
    ) -> None:
        self.clock = Clock()
        self.registry = registry
        self.ledger = Ledger(store or open_store("memory://"), who=who, clock=self.clock)
        self.source = source

    @property
    def state(self) -> ReleaseState:
        return read_state(self.ledger, MODEL)

    @property
    def events(self) -> list[Event]:
        return self.ledger.read(stream_of(MODEL))

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def aliases(self) -> dict[str, str]:
        return self.registry.aliases(MODEL)

    def uri_of(self, name: str) -> str:
        return self.source.format(name=name)

    def digest_of(self, name: str) -> str:
        return digest(name.encode())

    def register(self, name: str) -> ReleaseVersion:
        return register(
            self.ledger,
            self.registry,
            MODEL,
            uri=self.uri_of(name),
            digest=self.digest_of(name),
            run_id=None,
            lineage={"commit": name},
        )

    def judge(self, name: str, verdict: Verdict = Verdict.PASS, value: float = 0.8, **changes: Any) -> str:
        """The digest of a stored and recorded report on `name` against the present champion."""
        champion = self.state.champion
        inputs = {
            "candidate": self.digest_of(name),
            "policy": POLICY_DIGEST,
            "champion": None if champion is None else champion.digest,
            "holdout": "sha256:h",
        }
        check = CheckResult(
            name="ndcg@10.min",
            kind="absolute",
            metric="ndcg@10",
            direction="higher",
            estimate=value,
            verdict=verdict,
            message="m",
        )
        report = Report(checks=(check,), inputs={**inputs, **changes}, created="2026-01-01T00:00:00Z")
        stored = self.ledger.store.put_object(canonical_json(report.to_json()))
        record_judgement(
            self.ledger,
            MODEL,
            report=stored,
            verdict=verdict,
            candidate={"uri": name, "digest": self.digest_of(name)},
            champion=None if champion is None else champion.version,
            policy=POLICY,
        )
        return stored

    def stage(self, name: str) -> str:
        """Register, judge and stage; the version."""
        number = self.register(name).version
        self.judge(name)
        stage(self.ledger, self.registry, MODEL, number)
        return number

    def promote(self, **options: Any) -> Done:
        command = Promote(**{"policy": POLICY, "policy_digest": POLICY_DIGEST, **options})
        return promote(self.ledger, self.registry, MODEL, command)

    def release(self, name: str, **options: Any) -> str:
        """All the way; the version that is champion now."""
        number = self.stage(name)
        self.promote(**options)
        return number

    def rollback(self, to: str | None = None, reason: str | None = None) -> Done:
        return rollback(self.ledger, self.registry, MODEL, to=to, reason=reason)

    def reconcile(self, **options: Any) -> tuple[str, ...]:
        return reconcile(self.ledger, self.registry, MODEL, **options).changes


def settled(world: World) -> None:
    """Assert that ledger and registry say the same, and that reconciling finds nothing more to do."""
    wanted = {alias: number for alias, number in world.state.aliases().items() if number is not None}
    assert {alias: number for alias, number in world.aliases.items() if alias in world.state.mentioned} == wanted
    assert world.reconcile() == ()


Change = Callable[[World], None]
