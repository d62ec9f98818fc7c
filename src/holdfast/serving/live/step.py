"""One step of a canary as one replica sees it: what it answered, what became of that, second by second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holdfast.data.hashing import Hashes
from holdfast.evidence.answered import EPOCH, RELEASE, TIME, Answered, answered_table
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.outcomes import Outcomes
from holdfast.evidence.rows import Rows, clean
from holdfast.release.attempt import Attempt
from holdfast.release.sources import begin_of, new_step

SECOND = 1_000_000
_OVERLAP = 60 * SECOND  # how far moments may lie apart that belong together

StepKey = tuple[str, int, str | None]


class LiveStep:
    """The evidence of `attempt`'s step from this replica's own requests. It is cut at whole seconds, as every replica's is."""

    def __init__(self, attempt: Attempt) -> None:
        self.key = key_of(attempt)
        self.begin = begin_of(attempt)
        self.seconds = 0
        self._release, self._epoch = attempt.id, attempt.shifted
        self._per_request = attempt.plan.sticky == "request"
        self._step = new_step(attempt)
        self._read_back: Hashes = np.empty(0, np.uint64)

    def answer(self, answered: Sequence[Answered]) -> None:
        """Requests that were answered; those of other steps, and those that were read back, are ignored."""
        asked = (self._release, self._epoch)
        mine = [one for one in answered if (one[RELEASE], one[EPOCH]) == asked and one[TIME] >= self.begin]
        if not mine:
            return
        table = answered_table(mine)
        rows, left_out = clean(table, per_request=self._per_request)
        if len(self._read_back):
            rows = rows.take(~np.isin(rows.id, self._read_back))
        self._step.feed(rows, None, left_out)

    def feed(self, rows: Rows | None, outcomes: Outcomes | None, left_out: LeftOut) -> None:
        """Of the log."""
        self._step.feed(rows, outcomes, left_out)

    def read_back(self, rows: Rows, left_out: LeftOut, now: int) -> None:
        """Own rows of the log after a crash. One that is told of by `answer` as well counts once."""
        recent = rows.id[rows.micros > now - _OVERLAP]
        self._read_back = np.concatenate([self._read_back, recent])
        self._step.feed(rows, None, left_out)

    def advance(self, now: int) -> None:
        """Look at everything up to the last whole second of the step before `now`, UTC microseconds."""
        seconds = (now - self.begin) // SECOND
        if seconds > self.seconds:
            self._step.block(self.seconds, 1, seconds - self.seconds)
            self.seconds = seconds

    def is_ahead(self, now: int) -> bool:
        """Whether the clock was far ahead when this was looked at: what comes now would count as too late."""
        return self.begin + self.seconds * SECOND > now + _OVERLAP

    def to_bytes(self) -> bytes:
        """The summary at the last look."""
        return self._step.summary().to_bytes()


def key_of(attempt: Attempt) -> StepKey:
    """What names a step: another one has begun where it differs."""
    return attempt.id, attempt.shifted, attempt.since
