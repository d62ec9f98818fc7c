"""Requests with their outcomes, in pieces that are sorted by time: the part of the log that a step still needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holdfast.evidence._index import Places
from holdfast.evidence.books import Books
from holdfast.evidence.contributions import contribution, fates
from holdfast.evidence.firsts import First
from holdfast.evidence.frame import Frame, Span
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.outcomes import Marks
from holdfast.evidence.rows import Rows

LARGEST = 1 << 19  # rows of what small segments are put together to


class Segment:
    """Rows in the order of time, the first outcomes of each, and how many of them are counted already, by delay.

    What is counted is always a beginning: the rows whose values of that delay were final at the last look.
    """

    def __init__(
        self, frame: Frame, rows: Rows, firsts: dict[str, First], counted: dict[int, int] | None = None
    ) -> None:
        self.frame, self.rows, self.firsts = frame, rows, firsts
        self.counted = counted or dict.fromkeys(frame.delays, 0)

    @classmethod
    def empty(cls, frame: Frame) -> Segment:
        return cls(frame, Rows.empty(), {name: First.none(0) for name in frame.outcomes})

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def done(self) -> bool:
        """Whether every row is counted for every measure."""
        return all(counted == len(self) for counted in self.counted.values())

    def piece(self, begin: int, end: int) -> Segment:
        """The rows from `begin` to `end`, none of them counted; nothing is copied."""
        if (begin, end) == (0, len(self)):
            return self
        firsts = {name: first.slice(begin, end) for name, first in self.firsts.items()}
        return Segment(self.frame, self.rows.take(slice(begin, end)), firsts)

    def count(self, span: Span, books: Books) -> None:
        """Add the rows whose values have become final by the end of `span` and were not counted before."""
        for delay, counted in self.counted.items():
            if counted < len(self):
                due = int(np.searchsorted(self.rows.micros, span.end - delay, side="right"))
                if due > counted:
                    books.count(self.rows, self.firsts, delay, (counted, due), span)
                    self.counted[delay] = due

    def attach(self, name: str, places: Places, marks: Marks, books: Books) -> LeftOut:
        """Outcomes called `name`, (m,), of the rows at `places` that arrive now; what is counted already is put right.

        Returns by how much the fates of outcomes have changed.
        """
        touched = np.unique(places)
        rows, measures = self.rows.take(touched), self.frame.outcomes[name]
        before = self.firsts[name].take(touched)
        self.firsts[name].add(places, marks.micros, marks.value)
        after = self.firsts[name].take(touched)
        changed = LeftOut()
        for measure in measures.values():
            changed += fates(measure, rows, after) - fates(measure, rows, before)
        for delay, of_delay in self.frame.by_delay.items():
            known = int(np.searchsorted(touched, self.counted[delay]))
            for measure_name in measures.keys() & of_delay.keys() if known else ():
                some = rows.take(slice(0, known))
                for sign, first in ((-1, before), (1, after)):
                    given = contribution(measures[measure_name], some, first.alone(slice(0, known)))
                    books.enter(measure_name, some.cell, given, sign=sign)
        return changed

    def fates(self) -> LeftOut:
        """What became of the outcomes of all rows."""
        found = LeftOut()
        for name, measures in self.frame.outcomes.items():
            for measure in measures.values():
                found += fates(measure, self.rows, self.firsts[name])
        return found


def united(frame: Frame, segments: Sequence[Segment]) -> Segment:
    """One segment of all rows; between two looks, when the same is counted of all of them."""
    if len(segments) == 1:
        return segments[0]
    if not segments:
        return Segment.empty(frame)
    rows = Rows.joined([segment.rows for segment in segments])
    ordered, order = rows.in_order()
    firsts = {n: First.joined([s.firsts[n] for s in segments], order) for n in frame.outcomes}
    counted = {delay: sum(segment.counted[delay] for segment in segments) for delay in frame.delays}
    return Segment(frame, ordered, firsts, counted)


def compacted(frame: Frame, segments: list[Segment]) -> list[Segment]:
    """Fewer segments: one joins the one before it unless that is much larger, so that each row is copied a few times only."""
    found: list[Segment] = []
    for segment in segments:
        found.append(segment)
        while len(found) > 1 and 2 * len(found[-1]) >= len(found[-2]) and len(found[-1]) + len(found[-2]) <= LARGEST:
            found[-2:] = [united(frame, found[-2:])]
    return found
