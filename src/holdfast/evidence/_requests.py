"""The requests of a step that are still needed: fed but not looked at yet, and looked at but not too old to be corrected."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from holdfast.evidence._segments import Segment, compacted, located, united
from holdfast.evidence.books import Books
from holdfast.evidence.frame import Frame, Span
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.outcomes import Marks, Outcomes, join, raw
from holdfast.evidence.rows import Rows


class Requests:
    """What was fed, sorted and joined when it is first looked at. `memory` is how many microseconds a request is kept for
    corrections and against repetitions after its last value was final; None keeps everything.

    `ahead` holds rows that no look has covered yet, `looked_at` the others; `waiting` holds outcomes without a request.
    """

    def __init__(self, frame: Frame, memory: int | None) -> None:
        self.frame, self.memory = frame, memory
        self._longest = math.inf if memory is None else (frame.longest + memory) / 4
        self.ahead = Segment.empty(frame)
        self.looked_at: list[Segment] = []
        self.waiting: dict[str, Marks] = {name: Marks.empty() for name in frame.outcomes}
        self._rows: list[Rows] = []
        self._marks: list[Outcomes] = []

    def feed(self, rows: Rows | None, outcomes: Outcomes | None) -> None:
        """Put down what arrived; nothing is done with it before the next look."""
        if rows is not None and len(rows):
            self._rows.append(rows.core())
        if outcomes is not None and len(outcomes):
            self._marks.append(outcomes)

    def settle(self, until: int, books: Books) -> LeftOut:
        """Sort and join what was fed since the last look, which was at `until`, and put right what was counted by then.

        Returns what is left out, and by how much earlier counts have changed.
        """
        if not self._rows and not self._marks:
            return LeftOut()
        rows, came = Rows.joined(self._rows), Outcomes.joined(self._marks)
        self._rows, self._marks = [], []
        rows, left_out = self._of_step(rows, until)
        self.looked_at = compacted(self.frame, self.looked_at, self._longest)
        marks = {name: came.of(name) for name in self.frame.outcomes}
        if self.looked_at:
            rows, marks, changed = self._known(rows, marks, books)
            left_out += changed
        if len(rows):
            return left_out + self._take_rows(rows, marks)
        for name, new in marks.items():
            self._take_marks(name, new)
        return left_out

    def arrive(self, end: int) -> Segment:
        """The rows up to the moment `end` that no look has covered before; they are looked at from now on."""
        cut = int(np.searchsorted(self.ahead.rows.micros, end, side="right"))
        arrived = self.ahead.piece(0, cut)
        self.ahead = Segment.empty(self.frame) if cut == len(self.ahead) else self.ahead.piece(cut, len(self.ahead))
        if cut:
            self.looked_at.append(arrived)
        return arrived

    def counted(self, span: Span) -> Books:
        """The increments at every look of `span`, of all requests whose values become final in it."""
        books = Books(self.frame, span.looks)
        for segment in self.looked_at:
            segment.count(span, books)
        return books

    def forget(self, until: int) -> LeftOut:
        """Let go of what is too old by the look at `until`; outcomes that found no request are counted."""
        if self.memory is None:
            return LeftOut()
        oldest = until - self.frame.longest - self.memory
        self.looked_at = [segment for segment in self.looked_at if int(segment.rows.micros[-1]) > oldest]
        left_out = LeftOut()
        for name, marks in self.waiting.items():
            stays = marks.micros > oldest
            if not stays.all():
                left_out += self._unknown(name, int(np.count_nonzero(~stays)))
                self.waiting[name] = marks.take(stays)
        return left_out

    def unknown(self) -> LeftOut:
        """The outcomes that have found no request so far and may still."""
        return sum((self._unknown(name, len(marks)) for name, marks in self.waiting.items()), LeftOut())

    def everything(self) -> Segment:
        """All rows that were looked at, where they are kept."""
        self.looked_at = [united(self.frame, self.looked_at)] if self.looked_at else []
        return self.looked_at[0] if self.looked_at else Segment.empty(self.frame)

    def _unknown(self, name: str, count: int) -> LeftOut:
        return LeftOut({f"unknown:{measure}": (0, 0, count) for measure in self.frame.outcomes[name]})

    def _of_step(self, rows: Rows, until: int) -> tuple[Rows, LeftOut]:
        """The rows of this step by time, without those that come so late that repetitions could no longer be told."""
        rows, _ = rows.in_order()
        begin = int(np.searchsorted(rows.micros, self.frame.begin_micros))
        oldest = None if self.memory is None else until - self.frame.longest - self.memory
        kept = begin if oldest is None else max(begin, int(np.searchsorted(rows.micros, oldest, side="right")))
        left_out = LeftOut.of("too_late", rows.arm[begin:kept])
        return (rows.take(slice(kept, None)) if kept else rows), left_out

    def _known(self, rows: Rows, marks: dict[str, Marks], books: Books) -> tuple[Rows, dict[str, Marks], LeftOut]:
        """Without the rows that were looked at before, and without the outcomes of such rows, which are put right there."""
        given = [rows.id, *(some.id for some in marks.values())]
        number, places = located(self.looked_at, np.concatenate(given))
        ends = np.cumsum([len(ids) for ids in given])
        again = number[: len(rows)] >= 0
        changed = LeftOut.of("duplicate", rows.arm[again])
        others = {}
        for (name, some), begin, end in zip(marks.items(), ends[:-1], ends[1:], strict=True):
            segments, rows_there = number[begin:end], places[begin:end]
            for n in np.unique(segments[segments >= 0]):
                ours = segments == n
                changed += self.looked_at[n].attach(name, rows_there[ours], some.take(ours), books)
            others[name] = some.take(segments < 0)
        return (rows.take(~again) if again.any() else rows), others, changed

    def _take_rows(self, rows: Rows, marks: Mapping[str, Marks]) -> LeftOut:
        """Rows, and outcomes of theirs or of rows that are ahead: all that is ahead is sorted and joined again."""
        merged, repeated = Rows.joined([self.ahead.rows, rows]).in_order()[0].unique()
        firsts = {}
        for name, arrived in marks.items():
            earlier = (raw(self.ahead.rows, self.ahead.firsts[name]), self.waiting[name])
            firsts[name], self.waiting[name] = join(merged, Marks.joined([*earlier, arrived]))
        self.ahead = Segment(self.frame, merged, firsts)
        return repeated

    def _take_marks(self, name: str, marks: Marks) -> None:
        """Outcomes of rows that are ahead; others wait for their request."""
        if not len(marks):
            return
        places = self.ahead.rows.index.find(marks.id)
        found = places >= 0
        ours = marks.take(found)
        self.ahead.firsts[name].add(places[found], ours.micros, ours.value)
        self.waiting[name] = Marks.joined([self.waiting[name], marks.take(~found)])
