"""Names of predictions: unique over replicas and restarts, sorted by time, and not to be guessed."""

from __future__ import annotations

import os
import re

_POOL = 512  # ids whose random part is asked of the system at once


MARK_PLACE = 28  # of the replica's eight characters in an id


class PredictionIds:
    """UUIDs of version 7: milliseconds, a count within them, 62 random bits; with a `mark` 30, and then it.

    Whoever posts an outcome must know the id, so the random part comes from the operating system. The mark, eight hexadecimal
    digits, says which replica answered. A clock that jumps back does not make ids go back.
    """

    def __init__(self, mark: str | None = None) -> None:
        if mark is not None and re.fullmatch("[0-9a-f]{8}", mark) is None:
            raise ValueError(f"expected a mark of eight hexadecimal digits, found {mark!r}")
        self._mark = mark
        self._ms = -1
        self._prefix = ""
        self._count = 0
        self._random = ""
        self._place = 0

    def next(self, ms: int) -> str:
        """A new id at `ms`, UTC milliseconds."""
        if ms > self._ms:
            self._begin(ms)
        elif self._count < 0xFFF:
            self._count += 1
        else:  # more than 4,096 in a millisecond: borrow from the next one
            self._begin(self._ms + 1)
        tail = self._tail()
        return f"{self._prefix}{self._count:03x}-{tail[:4]}-{tail[4:]}"

    def _begin(self, ms: int) -> None:
        self._ms, self._count = ms, 0
        self._prefix = f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7"

    def _tail(self) -> str:
        """16 hex digits of the pool; the first says "variant 1" as RFC 9562 wants it."""
        if self._place == len(self._random):
            self._random, self._place = os.urandom(8 * _POOL).hex(), 0
        begin = self._place
        self._place = begin + 16
        end = self._random[begin + 8 : begin + 16] if self._mark is None else self._mark
        return "89ab"[int(self._random[begin], 16) & 3] + self._random[begin + 1 : begin + 8] + end
