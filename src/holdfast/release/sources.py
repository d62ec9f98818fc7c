"""Where the evidence of an attempt's step comes from, look by look; and what a step asks of the log, whoever reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from holdfast.data.hashing import hash_array
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.log import Position, PredictionLog, Taken, take
from holdfast.evidence.measures import Measure
from holdfast.evidence.outcomes import Outcomes
from holdfast.evidence.rows import Rows
from holdfast.evidence.step import Step
from holdfast.evidence.sums import Evidence
from holdfast.release.attempt import Attempt
from holdfast.release.canary.plan import CanaryPlan

CATCH_UP = 120  # looks over what lies behind, so that the course can be drawn

Counts = npt.NDArray[np.int64]


class Source(Protocol):
    """Evidence of one step after the other. What it complains of leaves its evidence good enough to roll back on, not more."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """What was wrong at the last call of `blocks`; one sentence each."""
        ...

    @property
    def left_out(self) -> LeftOut:
        """What was no evidence so far."""
        ...

    def begin(self, attempt: Attempt) -> None:
        """From now on evidence is of this attempt's step, of which nothing is known yet."""
        ...

    def blocks(self, attempt: Attempt, seconds: int) -> Iterator[Evidence]:
        """What is new up to `seconds` after the step began, in blocks of looks (a leading axis); nothing where none is.

        OutsideError where the log or the store is away.
        """
        ...

    def lacking(self, logged: Counts) -> str | None:
        """What is lacking beside the requests of each arm, (2,), that the log has of an earlier moment; None: nothing."""
        ...


class LogSource:
    """The prediction log, read on as it grows."""

    complaints: tuple[str, ...] = ()

    def __init__(self, log: PredictionLog) -> None:
        self.log = log

    @property
    def left_out(self) -> LeftOut:
        return self._step.left_out

    def begin(self, attempt: Attempt) -> None:
        self._step = new_step(attempt)
        self._position: Position | None = None
        self._until = 0

    def blocks(self, attempt: Attempt, seconds: int) -> Iterator[Evidence]:
        self._read(attempt)
        if self._until == 0 < seconds:
            looks = min(seconds, CATCH_UP)
            yield self._block(looks, seconds // looks)
        if seconds > self._until:
            yield self._block(1, seconds - self._until)

    def lacking(self, logged: Counts) -> str | None:
        del logged
        return None

    def _read(self, attempt: Attempt) -> None:
        taken = taken_of(self.log, self._position, attempt.plan)
        self._step.feed(ours(taken.rows, attempt), since(taken.outcomes, begin_of(attempt)), taken.left_out)
        self._position = taken.position

    def _block(self, looks: int, look: int) -> Evidence:
        found = self._step.block(self._until, looks, look)
        self._until += looks * look
        return found


def taken_of(log: PredictionLog, after: Position | None, plan: CanaryPlan) -> Taken:
    """What `plan` asks of the log since `after`."""
    return take(log, after, outcomes_of(plan), per_request=plan.sticky == "request")


def new_step(attempt: Attempt) -> Step:
    """The evidence of the attempt's step, nothing of which is known yet; whoever feeds it counts the same."""
    plan = attempt.plan
    return Step(
        measures_of(plan),
        plan.steps[attempt.step].share,
        begin_of(attempt),
        burst_seconds=plan.burst_seconds,
        burst_alpha=plan.burst_alpha,
    )


def begin_of(attempt: Attempt) -> int:
    """When the step began, UTC microseconds; ValueError where it has not."""
    return round(datetime.fromisoformat(attempt.since or "").timestamp() * 1e6)


def measures_of(plan: CanaryPlan) -> Mapping[str, Measure]:
    """The measure of each guardrail by its name."""
    return {guardrail.name: guardrail.measure for guardrail in plan.guardrails}


def outcomes_of(plan: CanaryPlan) -> list[str]:
    """The names of the outcomes that the plan's guardrails need."""
    return [g.measure.outcome for g in plan.guardrails if g.measure.outcome is not None]


def ours(rows: Rows, attempt: Attempt) -> Rows:
    """The rows of this attempt's step, where the log says so; else all, of which the step takes those since it began."""
    kept = np.ones(len(rows), bool)
    if rows.release is not None:
        kept &= rows.release == hash_array(pa.array([attempt.id]))[0]
    if rows.epoch is not None:
        kept &= rows.epoch == attempt.shifted
    return rows if kept.all() else rows.take(kept)


def since(outcomes: Outcomes, micros: int) -> Outcomes:
    """Without the outcomes from before a step, which are of requests from before it."""
    return outcomes.take({name: marks.micros >= micros for name, marks in outcomes.by_name.items()})
