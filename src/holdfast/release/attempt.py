"""One attempt to put a candidate into production: its states, and every transition in one table. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from holdfast.ledger import Event
from holdfast.release.canary.plan import CanaryPlan


class Status(StrEnum):
    """Where an attempt is."""

    PENDING = "pending"
    WARMING = "warming"
    RUNNING = "running"
    HELD = "held"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    INVALID = "invalid"

    @property
    def is_living(self) -> bool:
        return self in _LIVING


_LIVING = {Status.PENDING, Status.WARMING, Status.RUNNING, Status.HELD, Status.PROMOTING, Status.ROLLING_BACK}


@dataclass(frozen=True)
class Transition:
    """`event` leads from `source` (None: no attempt is living) to `target`, when `when`."""

    source: Status | None
    event: str
    target: Status
    when: str


def _back(source: Status) -> Transition:
    return Transition(
        source,
        "returning",
        Status.ROLLING_BACK,
        "harm, a burst, a broken assignment, a dead canary, a replica's breaker, or a person's word",
    )


TRANSITIONS = (
    Transition(None, "started", Status.PENDING, "a passing report, a fresh drill, and a plan that can succeed"),
    Transition(Status.PENDING, "warming", Status.WARMING, "the champion answers and the candidate's files are there"),
    Transition(Status.WARMING, "shifted", Status.RUNNING, "the canary answers; the first share"),
    Transition(
        Status.RUNNING, "shifted", Status.RUNNING, "the step's hours are over and no harm is shown; the next share"
    ),
    Transition(Status.RUNNING, "looked", Status.RUNNING, "a planned look at promotion did not show harmlessness"),
    Transition(Status.RUNNING, "restarted", Status.RUNNING, "the router had been left alone for longer than its lease"),
    Transition(Status.HELD, "restarted", Status.HELD, "the same"),
    Transition(Status.RUNNING, "held", Status.HELD, "a person's pause, or undecided at the end of max_hours"),
    Transition(Status.HELD, "held", Status.HELD, "another reason to hold"),
    Transition(Status.HELD, "resumed", Status.RUNNING, "a person's word"),
    Transition(
        Status.RUNNING, "promoting", Status.PROMOTING, "harmlessness is shown on every guardrail, or a person's word"
    ),
    Transition(Status.HELD, "promoting", Status.PROMOTING, "a person's word"),
    Transition(Status.PROMOTING, "promoted", Status.PROMOTED, "everybody is with the candidate, and it answers"),
    *(_back(source) for source in (Status.PENDING, Status.WARMING, Status.RUNNING, Status.HELD, Status.PROMOTING)),
    Transition(
        Status.ROLLING_BACK, "returned", Status.ROLLED_BACK, "the router has confirmed: everybody is with the champion"
    ),
    Transition(Status.ROLLING_BACK, "returned", Status.INVALID, "the same, where the assignment was broken"),
)
_NEXT: Mapping[tuple[Status | None, str], Status] = {(t.source, t.event): t.target for t in reversed(TRANSITIONS)}
_ENDS = {"rolled_back": Status.ROLLED_BACK, "aborted": Status.ROLLED_BACK, "invalid": Status.INVALID}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The attempt called `id`, of `candidate` against `champion` (versions).

    `step` counts from 0; `share` is the canary's now; `shifted` is the number of the event that set it, under which the
    router was told; `since` and `began` are UTC text: since when the router has confirmed this step and the first one. `looks`
    are the planned looks already taken. `into` and `why` say where a return leads and its reason. `granted` is what the
    promotion's event will say of its evidence: policy, report, score.
    """

    id: str
    candidate: str
    champion: str
    plan: CanaryPlan
    started: str
    status: Status = Status.PENDING
    step: int = 0
    share: float = 0.0
    shifted: int = -1
    began: str | None = None
    since: str | None = None
    entered: str = ""
    looks: tuple[int, ...] = ()
    held_by: str | None = None
    into: str = "rolled_back"
    why: str | None = None
    metric: str | None = None
    report: str | None = None
    override: str | None = None
    granted: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_living(self) -> bool:
        return self.status.is_living

    def to_json(self) -> dict[str, Any]:
        """What a status says of it."""
        shown = (
            "id",
            "candidate",
            "champion",
            "step",
            "share",
            "started",
            "began",
            "since",
            "held_by",
            "why",
            "metric",
        )
        fields = {name: getattr(self, name) for name in shown}
        return {**fields, "status": self.status.value, "living": self.is_living, "report": self.report}

    @property
    def is_shifting(self) -> bool:
        """Whether the router must know the canary."""
        return self.status in (Status.WARMING, Status.RUNNING, Status.HELD, Status.PROMOTING)


def begun(event: Event) -> Attempt:
    """The attempt that a `started` event begins."""
    payload = event.payload
    return Attempt(
        id=payload["release"],
        candidate=payload["candidate"],
        champion=payload["champion"],
        plan=CanaryPlan.from_json(payload["plan"]),
        started=event.time,
        entered=event.time,
        granted=payload["granted"],
    )


def continued(attempt: Attempt, event: Event) -> Attempt:
    """The attempt after one of the table's events; ValueError for one that does not belong to its state."""
    target = _NEXT.get((attempt.status, event.type))
    if target is None:
        raise ValueError(f"{event.type} of a release that is {attempt.status.value}")
    payload = event.payload
    entered = attempt.entered if target is attempt.status else event.time
    after = replace(attempt, status=target, entered=entered)
    return _DETAILS.get(event.type, _nothing)(after, payload, event)


def confirmed(attempt: Attempt, time: str, epoch: int) -> Attempt:
    """The attempt after the router has said that it routes as event `epoch` asked."""
    if attempt.status not in (Status.RUNNING, Status.HELD) or epoch < attempt.shifted or attempt.since is not None:
        return attempt
    return replace(attempt, since=time, began=attempt.began or time)


def _nothing(attempt: Attempt, payload: Mapping[str, Any], event: Event) -> Attempt:
    del payload, event
    return attempt


def _shifted(attempt: Attempt, payload: Mapping[str, Any], event: Event) -> Attempt:
    """A new step: nothing of the one before counts."""
    return replace(attempt, step=payload["step"], share=payload["share"], shifted=event.number, since=None, looks=())


def _restarted(attempt: Attempt, payload: Mapping[str, Any], event: Event) -> Attempt:
    """The same step again: its users had met both variants meanwhile."""
    del payload
    return replace(attempt, shifted=event.number, since=None, looks=())


def _looked(attempt: Attempt, payload: Mapping[str, Any], event: Event) -> Attempt:
    del event
    return replace(attempt, looks=(*attempt.looks, payload["look"]))


def _held(attempt: Attempt, payload: Mapping[str, Any], event: Event) -> Attempt:
    return replace(attempt, held_by=event.who if payload.get("by") == "person" else "policy", why=payload.get("reason"))


def _resumed(attempt: Attempt, payload: Mapping[str, Any], event: Event) -> Attempt:
    del payload, event
    return replace(attempt, held_by=None, why=None)


def _promoting(attempt: Attempt, payload: Mapping[str, Any], event: Event) -> Attempt:
    return replace(
        attempt,
        override=payload.get("override"),
        why=payload.get("reason"),
        report=event.evidence.get("canary"),
        share=1.0,
    )


def _returning(attempt: Attempt, payload: Mapping[str, Any], event: Event) -> Attempt:
    return replace(
        attempt,
        into=payload["into"],
        why=payload.get("reason"),
        metric=payload.get("metric"),
        report=event.evidence.get("canary"),
        share=0.0,
    )


def _returned(attempt: Attempt, payload: Mapping[str, Any], event: Event) -> Attempt:
    del event
    return replace(attempt, status=_ENDS[payload["into"]])


_DETAILS = {
    "shifted": _shifted,
    "restarted": _restarted,
    "looked": _looked,
    "held": _held,
    "resumed": _resumed,
    "promoting": _promoting,
    "returning": _returning,
    "returned": _returned,
}
