"""The evidence of a running attempt from the prediction log: read on at each look, judged, and stored where it decides."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from holdfast.data.hashing import hash_array
from holdfast.evidence.closed import closed_sums
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.log import Position, PredictionLog, Taken, take
from holdfast.evidence.measures import Measure
from holdfast.evidence.outcomes import Outcomes
from holdfast.evidence.rows import Rows
from holdfast.evidence.step import Step
from holdfast.evidence.sums import Closed, Evidence
from holdfast.release.attempt import Attempt
from holdfast.release.canary.judge import alarms, judge
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.canary.plan import HOUR, CanaryPlan
from holdfast.release.canary.reporting import canary_report
from holdfast.release.canary.series import Series
from holdfast.release.controller import Sighting
from holdfast.store import Store, canonical_json
from holdfast.verdict import utc_text

LAG_SECONDS = 60  # after a planned look, for the log to be written
CATCH_UP = 120  # looks over what lies behind, so that the course can be drawn


class LogWatch:
    """Reads `log` as it grows; reports are stored in `store`."""

    def __init__(self, log: PredictionLog, store: Store, model: str) -> None:
        self.log, self.store, self.model = log, store, model
        self._key: tuple[str, int, str | None] | None = None
        self._series: Series | None = None

    def look(self, attempt: Attempt, now: datetime) -> Sighting | None:
        """The judgement at `now`; None in the first second of a step. OutsideError where the log or the store is away."""
        if attempt.since is None or attempt.began is None:
            return None
        key = (attempt.id, attempt.shifted, attempt.since)
        if key != self._key:
            if self._key is None or self._key[0] != attempt.id:
                self._series = Series(attempt.plan)
            self._begin(attempt)
            self._key = key
        self._read(attempt)
        evidence = self._evidence(attempt, now)
        if evidence is None:
            return None
        hours = _hours(attempt.began, attempt.since) + float(evidence.seconds) / HOUR
        number = self._due(attempt, float(evidence.seconds))
        closed = None if number is None else self._closed(attempt, number)
        judgement = judge(attempt.plan, attempt.step, evidence, hours, closed)
        if judgement.decision is Decision.CONTINUE and number is None:
            return Sighting(judgement)
        return Sighting(judgement, number, self._store(attempt, judgement, hours, now))

    def _begin(self, attempt: Attempt) -> None:
        plan = attempt.plan
        self._step = Step(
            measures_of(plan),
            plan.steps[attempt.step].share,
            _micros(attempt.since or ""),
            burst_seconds=plan.burst_seconds,
            burst_alpha=plan.burst_alpha,
        )
        self._position: Position | None = None
        self._until = 0
        self._last: Evidence | None = None
        self._unfinished: tuple[str, ...] = ()

    def _read(self, attempt: Attempt) -> None:
        taken = self._take(attempt.plan, self._position)
        self._step.feed(ours(taken.rows, attempt), since(taken.outcomes, _micros(attempt.since or "")), taken.left_out)
        self._position, self._unfinished = taken.position, taken.unfinished

    def _take(self, plan: CanaryPlan, after: Position | None) -> Taken:
        return take(self.log, after, outcomes_of(plan), per_request=plan.sticky == "request")

    def _evidence(self, attempt: Attempt, now: datetime) -> Evidence | None:
        """The evidence up to the last whole second; a clock that goes back gives what was known."""
        assert attempt.since is not None  # noqa: S101 - the caller looked
        seconds = int((now - datetime.fromisoformat(attempt.since)) / timedelta(seconds=1))
        if seconds > self._until:
            if self._until == 0:
                looks = min(seconds, CATCH_UP)
                self._advance(attempt, looks, seconds // looks)
            if seconds > self._until:
                self._advance(attempt, 1, seconds - self._until)
        return self._last

    def _advance(self, attempt: Attempt, looks: int, look: int) -> None:
        assert attempt.since is not None  # noqa: S101 - the caller looked
        assert attempt.began is not None  # noqa: S101
        found = self._step.block(self._until, looks, look)
        self._until += looks * look
        raised = alarms(attempt.plan, attempt.step, found)
        self._last = found.at(int(raised.argmax()) if raised.any() else -1)
        assert self._series is not None  # noqa: S101 - the first look made it
        self._series.add(attempt.step, found, _hours(attempt.began, attempt.since))

    def _due(self, attempt: Attempt, seconds: float) -> int | None:
        """The latest planned look that is over and was not taken yet."""
        if attempt.step != attempt.plan.last:
            return None
        over = [k for k, look in enumerate(attempt.plan.looks) if look * HOUR + LAG_SECONDS <= seconds]
        return over[-1] if over and over[-1] not in attempt.looks else None

    def _closed(self, attempt: Attempt, number: int) -> Closed:
        """Units whose window has closed by a planned look, from the whole log of the step: the same whenever it is asked."""
        plan = attempt.plan
        taken = self._take(plan, None)
        return closed_sums(
            ours(taken.rows, attempt),
            taken.outcomes,
            measures_of(plan),
            begin_micros=_micros(attempt.since or ""),
            seconds=plan.looks[number] * HOUR,
            window_seconds=plan.window_hours * HOUR,
        )

    def _store(self, attempt: Attempt, judgement: Judgement, hours: float, now: datetime) -> str:
        left_out: LeftOut = self._step.left_out
        report = canary_report(
            attempt.plan,
            judgement,
            {} if self._series is None else self._series.points(),
            hours=hours,
            created=utc_text(now),
            model=self.model,
            candidate=f"version {attempt.candidate}",
            champion=f"version {attempt.champion}",
            notices=left_out.sentences(),
            inputs={"release": attempt.id, "step": attempt.step},
        )
        return self.store.put_object(canonical_json(report.to_json()))


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


def _micros(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def _hours(begin: str, end: str) -> float:
    return max((datetime.fromisoformat(end) - datetime.fromisoformat(begin)) / timedelta(hours=1), 0.0)
