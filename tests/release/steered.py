"""A world with a router, evidence by word of the test, and controllers whose clocks the test turns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from holdfast.config.schema import ReleaseConfig
from holdfast.ledger import Ledger
from holdfast.release.attempt import Attempt
from holdfast.release.canaries import start
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.canary.plan import CanaryPlan
from holdfast.release.canary.planning import canary_plan
from holdfast.release.commands import Start
from holdfast.release.commit import Done
from holdfast.release.controller import Controller, Sighting, Ticked
from holdfast.release.drill import drill
from holdfast.release.lease import Lease
from holdfast.release.routers.memory import MemoryRouter
from holdfast.store import Store
from holdfast.verdict import utc_text
from tests.release.killing import MortalWorld
from tests.release.world import MODEL, POLICY, POLICY_DIGEST

GUARDRAILS = {"click": {"max_drop": 0.005, "absent": "zero", "delay": "30m"}}
REPORT = "sha256:" + "e" * 64  # what a watch says that it stored


def plan(**canary: Any) -> CanaryPlan:
    declared = {"steps": [{"share": 0.01, "hours": 4}, {"share": 0.05}], **canary}
    return canary_plan(ReleaseConfig.model_validate({"canary": declared, "guardrails": GUARDRAILS}))


class WordWatch:
    """Evidence that says what the test told it to say."""

    def __init__(self) -> None:
        self.decision = Decision.CONTINUE
        self.look: int | None = None
        self.asked: list[str] = []

    def __call__(self, decision: Decision, look: int | None = None) -> None:
        self.decision, self.look = decision, look

    def look_at(self, attempt: Attempt) -> Sighting:
        decision = self.decision
        if decision is Decision.ADVANCE and attempt.step == attempt.plan.last:
            decision = Decision.CONTINUE
        if decision is Decision.PROMOTE and attempt.step < attempt.plan.last:
            decision = Decision.ADVANCE
        quiet = decision is Decision.CONTINUE and self.look is None
        judgement = Judgement(decision, f"the test says {decision.value}", "outcomes.click")
        return Sighting(judgement, self.look, None if quiet else REPORT)


class _Watch:
    def __init__(self, words: WordWatch) -> None:
        self.words = words

    def look(self, attempt: Attempt, now: datetime) -> Sighting | None:
        del now
        return self.words.look_at(attempt)


class SteeredWorld(MortalWorld):
    """`seconds` is the monotonic time of all controllers; the wall clock is the world's own, which may jump."""

    def __init__(self, store: Store | None = None) -> None:
        super().__init__(store)
        self.seconds = 0.0
        self.words = WordWatch()
        self.router = MemoryRouter(clock=lambda: self.seconds)
        self._guard(self.router, "apply")
        self._guard(self.ledger.store, "put")
        self.clock.step = timedelta(seconds=1)

    def controller(self, name: str | None = None) -> Controller:
        """One with a lease where it has a `name`; as a command acts without."""
        clocks = {"monotonic": lambda: self.seconds, "wall": lambda: self.clock.now.timestamp()}
        lease = None if name is None else Lease(self.ledger.store, MODEL, name, **clocks)
        ledger = Ledger(self.ledger.store, who=name or "command", clock=self.clock)
        return Controller(
            ledger,
            self.registry,
            self.router,
            MODEL,
            _Watch(self.words),
            lease=lease,
            clock=self.clock,
            monotonic=lambda: self.seconds,
        )

    def tick(self) -> Ticked:
        return self.controller().tick()

    def drill(self) -> Any:
        return drill(self.ledger, self.registry, self.router, MODEL)

    def start(self, plan: CanaryPlan, **changes: Any) -> Done:
        fields: Mapping[str, Any] = {
            "policy": POLICY,
            "policy_digest": POLICY_DIGEST,
            "router": self.router.name,
            "now": utc_text(self.clock.now),
            **changes,
        }
        return start(self.ledger, self.registry, self.router, MODEL, Start(plan=plan, **fields))

    def canary(self, name: str = "two", *, champion: str = "one") -> str:
        """A champion, a candidate, a drill and a started release; the candidate's version."""
        if self.state.champion is None:
            self.release(champion)
        number = self.stage(name)
        self.drill()
        self.start(plan())
        return number
