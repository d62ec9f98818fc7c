"""The part of the common log that is one replica's: its outcomes as they come, and after a crash its rows too."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import pyarrow as pa

from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.log import Position, PredictionLog, unread
from holdfast.evidence.outcomes import Outcomes, clean_outcomes
from holdfast.evidence.own import Mark, own_outcomes, own_predictions
from holdfast.evidence.rows import Rows, clean
from holdfast.release.attempt import Attempt
from holdfast.release.sources import begin_of, outcomes_of, since

_MARGIN = 60_000_000  # microseconds by which clocks may differ, and an outcome be older than its arrival here
_BETWEEN, _REMEMBERED = 10_000_000, 30  # positions: one in ten seconds, of five minutes


class OwnLog:
    """Reads `log`, which all replicas write, and keeps what carries `mark`. One thread's; `log` must be its own.

    Outcomes are kept by the mark in the id of their prediction, before anything is made of them: whoever received an outcome,
    it reaches the replica that made the prediction, and nobody holds those of others.
    """

    def __init__(self, log: PredictionLog, mark: Mark, settle: Callable[[], object]) -> None:
        self.log, self.mark, self.settle = log, mark, settle
        self._position: Position | None = None
        self._known: deque[tuple[int, Position | None]] = deque(maxlen=_REMEMBERED)

    def skip(self, now: int) -> None:
        """Go to the end of the log, of which nothing is needed so far; `now` is UTC microseconds."""
        *_, self._position = unread(self.log, self._position)
        self._remember(now)

    def rewind(self, micros: int) -> None:
        """Read again from a position that was reached before the moment `micros`; from the beginning where none is known."""
        before = [position for reached, position in self._known if reached + _MARGIN < micros]
        self._position = before[-1] if before else None

    def outcomes(self, attempt: Attempt, now: int) -> list[tuple[Outcomes, LeftOut]]:
        """Own outcomes of the step since the last call. OutsideError where the log is away: then nothing is passed over."""
        _, batches, position = unread(self.log, self._position)
        found = list(self._outcomes(batches, attempt))
        self._position = position
        self._remember(now)
        return found

    def everything(self, attempt: Attempt, now: int) -> Iterator[tuple[Rows | None, Outcomes | None, LeftOut]]:
        """All own rows and outcomes of the attempt's step, after `settle` has put what was answered into the log."""
        self.settle()
        rows, batches, position = unread(self.log, None)
        begin, per_request = begin_of(attempt), attempt.plan.sticky == "request"
        for batch in rows:
            mine = own_predictions(batch, self.mark, attempt.id, attempt.shifted, begin)
            if mine.num_rows:
                found, left_out = clean(pa.Table.from_batches([mine]), per_request=per_request)
                yield found, None, left_out
        for outcomes, left_out in self._outcomes(batches, attempt):
            yield None, outcomes, left_out
        self._position = position
        self._remember(now)

    def _outcomes(self, batches: Iterator[pa.RecordBatch], attempt: Attempt) -> Iterator[tuple[Outcomes, LeftOut]]:
        names, begin = outcomes_of(attempt.plan), begin_of(attempt)
        for batch in batches if names else ():
            mine = own_outcomes(batch, self.mark)
            if mine.num_rows:
                found, left_out = clean_outcomes(pa.Table.from_batches([mine]), names)
                yield since(found, begin), left_out

    def _remember(self, now: int) -> None:
        """Where the log was read to, now and then: a step begins shortly before it is heard of."""
        if not self._known or not 0 <= now - self._known[-1][0] < _BETWEEN:
            self._known.append((now, self._position))
