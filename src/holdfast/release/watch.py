"""The evidence of a running attempt: read on at each look, judged, and stored where it decides."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from holdfast.errors import OutsideError
from holdfast.evidence.closed import closed_sums
from holdfast.evidence.log import PredictionLog
from holdfast.evidence.sums import ARMS, Closed, Evidence
from holdfast.release.attempt import Attempt
from holdfast.release.canary.judge import alarms, judge
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.canary.plan import HOUR
from holdfast.release.canary.reporting import canary_report
from holdfast.release.canary.series import Series
from holdfast.release.controller import Sighting
from holdfast.release.sources import Counts, LogSource, Source, begin_of, measures_of, ours, taken_of
from holdfast.store import Store, canonical_json
from holdfast.verdict import utc_text

LAG_SECONDS = 60.0
COURSE_EVERY = timedelta(minutes=1)
GRACE_HOURS = 1.0  # after the end of a release, for planned looks that could not be taken yet


class EvidenceWatch:
    """Judges at every moment what `source` has; at a planned look also the closed units, which only `log` has.

    Reports are stored in `store`, and the course so far for a controller that comes after this one. While the source complains
    harm is still looked for, but nothing is promoted, no share is raised and no planned look is taken. A planned look is taken
    `lag_seconds` late, for the log to be written, or as soon after that as the evidence is whole: it is of the units whose
    window had closed by its planned time, whenever it is taken. Where a later one is due by then, that one is taken instead. A
    release waits `GRACE_HOURS` beyond its end for the last of them.
    """

    def __init__(
        self, source: Source, log: PredictionLog, store: Store, model: str, lag_seconds: float = LAG_SECONDS
    ) -> None:
        self.source, self.log, self.store, self.model = source, log, store, model
        self.lag_seconds = lag_seconds
        self._key: tuple[str, int, str | None] | None = None
        self._series: Series | None = None
        self._kept = datetime.min.replace(tzinfo=UTC)  # when the course was
        self._last: Evidence | None = None
        self._open: tuple[int, Counts] | None = (
            None  # a planned look that could not be taken, and what the log had for it
        )

    def look(self, attempt: Attempt, now: datetime) -> Sighting | None:
        """The judgement at `now`; None while nothing is known of a step. OutsideError where the log or the store is away."""
        if attempt.since is None or attempt.began is None:
            return None
        key = (attempt.id, attempt.shifted, attempt.since)
        if key != self._key:
            if self._key is None or self._key[0] != attempt.id:
                self._series = Series.of(attempt.plan, self.store.get(course_key(self.model, attempt)))
                self._kept = now
            self.source.begin(attempt)
            self._last = self._open = None
            self._key = key
        evidence = self._evidence(attempt, now)
        self._keep_course(attempt, now)
        return None if evidence is None else self._judged(attempt, evidence, now)

    def _evidence(self, attempt: Attempt, now: datetime) -> Evidence | None:
        """The evidence up to the last whole second, or at the first alarm; a clock that goes back gives what was known."""
        assert attempt.since is not None  # noqa: S101 - the caller looked
        assert attempt.began is not None  # noqa: S101
        assert self._series is not None  # noqa: S101 - the first look made it
        seconds = int((now - datetime.fromisoformat(attempt.since)) / timedelta(seconds=1))
        for found in self.source.blocks(attempt, seconds):
            raised = alarms(attempt.plan, attempt.step, found)
            self._last = found.at(int(raised.argmax()) if raised.any() else -1)
            self._series.add(attempt.step, found, _hours(attempt.began, attempt.since))
            if raised.any():
                break
        return self._last

    def _keep_course(self, attempt: Attempt, now: datetime) -> None:
        """Now and then. It is a drawing: where the store is away the next one has more."""
        if self._series is None or abs(now - self._kept) < COURSE_EVERY:
            return
        with contextlib.suppress(OutsideError):
            self.store.put(course_key(self.model, attempt), self._series.to_bytes())
            self._kept = now

    def _judged(self, attempt: Attempt, evidence: Evidence, now: datetime) -> Sighting:
        hours = _hours(attempt.began or "", attempt.since or "") + float(evidence.seconds) / HOUR
        complaints, closed = self.source.complaints, None
        number = None if complaints else self._due(attempt, float(evidence.seconds))
        if number is not None:
            closed, complaints = self._asked(attempt, number)
            number = None if closed is None else number
        judgement = withheld(judge(attempt.plan, attempt.step, evidence, hours, closed), complaints)
        if number is None and self._awaits(attempt, float(evidence.seconds), hours):
            judgement = awaiting(judgement, complaints)
        if judgement.decision is Decision.CONTINUE and number is None:
            return Sighting(judgement, complaints=complaints)
        return Sighting(judgement, number, self._store(attempt, judgement, hours, now, complaints), complaints)

    def _asked(self, attempt: Attempt, number: int) -> tuple[Closed | None, tuple[str, ...]]:
        """What planned look `number` is asked of; None, and why, while it cannot be taken: it stays open, and spends nothing.

        While something is lacking beside what the log had, the log is not read again.
        """
        if self._open is not None and self._open[0] == number:
            lacking = self.source.lacking(self._open[1])
            if lacking is not None:
                return None, (lacking,)
        closed, logged = self._closed(attempt, number)
        lacking = self.source.lacking(logged)
        self._open = None if lacking is None else (number, logged)
        return (closed, ()) if lacking is None else (None, (lacking,))

    def _awaits(self, attempt: Attempt, seconds: float, hours: float) -> bool:
        """Whether the release is over but for a planned look that is still to be taken, or can be within the grace."""
        plan, over = attempt.plan, hours - attempt.plan.total_hours
        if attempt.step != plan.last or over < 0:
            return False
        left = plan.looks[max(attempt.looks, default=-1) + 1 :]
        waits = (max(look + (self.lag_seconds - seconds) / HOUR, 0.0) for look in left)
        return any(over + wait <= GRACE_HOURS for wait in waits)

    def _due(self, attempt: Attempt, seconds: float) -> int | None:
        """The latest planned look that is over and was not taken yet."""
        if attempt.step != attempt.plan.last:
            return None
        over = [k for k, look in enumerate(attempt.plan.looks) if look * HOUR + self.lag_seconds <= seconds]
        return over[-1] if over and over[-1] not in attempt.looks else None

    def _closed(self, attempt: Attempt, number: int) -> tuple[Closed, Counts]:
        """Units whose window has closed by a planned look, from the whole log of the step: the same whenever it is asked.

        And the requests of each arm, (2,), up to that moment.
        """
        plan, begin = attempt.plan, begin_of(attempt)
        seconds = plan.looks[number] * HOUR
        taken = taken_of(self.log, None, plan)
        rows = ours(taken.rows, attempt)
        closed = closed_sums(
            rows,
            taken.outcomes,
            measures_of(plan),
            begin_micros=begin,
            seconds=seconds,
            window_seconds=plan.window_hours * HOUR,
        )
        first, end = np.searchsorted(rows.micros, [begin, begin + round(seconds * 1e6)])
        return closed, np.bincount(rows.arm[first:end], minlength=ARMS)

    def _store(
        self, attempt: Attempt, judgement: Judgement, hours: float, now: datetime, complaints: tuple[str, ...]
    ) -> str:
        report = canary_report(
            attempt.plan,
            judgement,
            {} if self._series is None else self._series.points(),
            hours=hours,
            created=utc_text(now),
            model=self.model,
            candidate=f"version {attempt.candidate}",
            champion=f"version {attempt.champion}",
            notices=[*complaints, *self.source.left_out.sentences()],
            inputs={"release": attempt.id, "step": attempt.step},
        )
        return self.store.put_object(canonical_json(report.to_json()))


def course_key(model: str, attempt: Attempt) -> str:
    """Where the course of an attempt is kept until it is over."""
    return f"live/{model}/{attempt.id}.course"


class LogWatch(EvidenceWatch):
    """Reads `log` as it grows."""

    def __init__(self, log: PredictionLog, store: Store, model: str, lag_seconds: float = LAG_SECONDS) -> None:
        super().__init__(LogSource(log), log, store, model, lag_seconds)


def withheld(judgement: Judgement, complaints: tuple[str, ...]) -> Judgement:
    """The judgement, without a promotion or a larger share where the evidence is complained of. Pure."""
    if not complaints or judgement.decision not in (Decision.ADVANCE, Decision.PROMOTE):
        return judgement
    reason = f"the evidence is not whole, so nothing is promoted: {complaints[0]}"
    return replace(judgement, decision=Decision.CONTINUE, reason=reason)


def awaiting(judgement: Judgement, complaints: tuple[str, ...]) -> Judgement:
    """The judgement, without an end for want of evidence while a planned look is open. Pure."""
    if judgement.decision is not Decision.UNDECIDED:
        return judgement
    why = complaints[0] if complaints else "its log is being written."
    return replace(judgement, decision=Decision.CONTINUE, reason=f"the last planned look is still to be taken: {why}")


def _hours(begin: str, end: str) -> float:
    return max((datetime.fromisoformat(end) - datetime.fromisoformat(begin)) / timedelta(hours=1), 0.0)
