"""The road: stages in order, one function that plans and one way of running, which is the same function.

A stage decides from what is known whether it must run; `walk` either only asks (a dry run) or also acts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from holdfast._version import __version__
from holdfast.pipeline.workspace import Workspace
from holdfast.store import canonical_json, digest
from holdfast.verdict import Report, Verdict


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a stage runs, and why; `key` names its inputs, `outputs` is what it remembers when it is skipped."""

    action: Literal["run", "skip"]
    reason: str
    key: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a stage did: a verdict, one sentence, what later stages need, and its report where it judged."""

    verdict: Verdict
    summary: str
    outputs: Mapping[str, Any] = field(default_factory=dict)
    report: Report | None = None
    remember: bool = True


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stage of one walk: what was decided and, where it ran, what came of it."""

    stage: str
    decision: Decision
    outcome: Outcome | None = None

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "stage": self.stage,
            "action": self.decision.action,
            "reason": self.decision.reason,
            "outputs": dict(self.outcome.outputs if self.outcome else self.decision.outputs),
        }
        if self.outcome is not None:
            document["verdict"] = self.outcome.verdict.value
            document["summary"] = self.outcome.summary
            document["report"] = self.outcome.report.to_json() if self.outcome.report else None
        return document


class Road:
    """One walk's memory: the workspace, what earlier stages gave, and where words for people go."""

    def __init__(
        self, workspace: Workspace, *, force: bool = False, echo: Callable[[str], None] = lambda _: None
    ) -> None:
        self.workspace = workspace
        self.force = force
        self.echo = echo
        self.outputs: dict[str, Mapping[str, Any]] = {}

    def recall(self, stage: str, key: str) -> Mapping[str, Any] | None:
        """What this stage gave for the same inputs, unless the walk is forced."""
        return None if self.force else self.workspace.store.recall(stage, key)


class Stage(Protocol):
    """A station of the road. `decide` reads only; `run` may be interrupted at any moment and run again."""

    name: str

    def decide(self, road: Road) -> Decision: ...

    def run(self, road: Road) -> Outcome: ...


def stage_key(stage: str, **inputs: Any) -> str:
    """The name of a stage's work: the hash of its inputs' content, its configuration and Holdfast's version."""
    return digest(canonical_json({"stage": stage, "holdfast": __version__, "inputs": inputs}))


def decide_by_memory(road: Road, stage: str, key: str, why_run: str = "its inputs are new") -> Decision:
    """Skip where the same inputs were done before, else run."""
    remembered = road.recall(stage, key)
    if remembered is not None:
        return Decision(action="skip", reason="its inputs have not changed", key=key, outputs=remembered)
    return Decision(action="run", reason="forced" if road.force else why_run, key=key)


def walk(road: Road, stages: Sequence[Stage], *, execute: bool = True) -> Iterator[Step]:
    """Go down the road; yields a step before a stage runs (without outcome) and one after it.

    With `execute=False` nothing runs: the steps are the plan. A walk ends at the first stage that does not pass.
    """
    waits_for: str | None = None
    for stage in stages:
        if waits_for is not None:
            reason = f"the stage {waits_for} before it will run"
            yield Step(stage=stage.name, decision=Decision(action="run", reason=reason))
            continue
        decision = stage.decide(road)
        yield Step(stage=stage.name, decision=decision)
        if decision.action == "skip":
            road.outputs[stage.name] = decision.outputs
        elif not execute:
            waits_for = stage.name
        else:
            outcome = _run(road, stage, decision)
            yield Step(stage=stage.name, decision=decision, outcome=outcome)
            if outcome.verdict is not Verdict.PASS:
                return


def _run(road: Road, stage: Stage, decision: Decision) -> Outcome:
    outcome = stage.run(road)
    road.outputs[stage.name] = outcome.outputs
    if outcome.verdict is Verdict.PASS and outcome.remember and decision.key is not None:
        road.workspace.store.remember(stage.name, decision.key, dict(outcome.outputs))
    return outcome
