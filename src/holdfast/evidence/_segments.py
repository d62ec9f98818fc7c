"""Requests with their outcomes, in pieces that are sorted by time: the part of the log that a step still needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from holdfast.data.hashing import Hashes
from holdfast.evidence._index import Places
from holdfast.evidence.books import Books
from holdfast.evidence.contributions import contribution, fates
from holdfast.evidence.firsts import First
from holdfast.evidence.frame import Frame, Span
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.measures import Measure
from holdfast.evidence.outcomes import Marks
from holdfast.evidence.rows import Rows

LARGEST = 1 << 20  # rows of what small segments are put together to


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
        touched, before, after = self.firsts[name].changed(places, marks.micros, marks.value)
        rows, measures = self.rows.take(touched), self.frame.outcomes[name]
        changed = LeftOut()
        for measure in measures.values():
            changed += fates(measure, rows, after)
            if before is not None:
                changed -= fates(measure, rows, before)
        for delay, of_delay in self.frame.by_delay.items():
            counted = touched < self.counted[delay]
            if counted.any():
                for measure_name in measures.keys() & of_delay.keys():
                    self._correct(measure_name, of_delay[measure_name], rows, (before, after), counted, books)
        return changed

    def _correct(
        self,
        name: str,
        measure: Measure,
        rows: Rows,
        firsts: tuple[First | None, First],
        counted: npt.NDArray[np.bool_],
        books: Books,
    ) -> None:
        """Take back what the counted ones of `rows` contributed with the outcomes they had, and add what they do now."""
        places = np.flatnonzero(counted)
        some = rows.take(places)
        for sign, first in zip((-1, 1), firsts, strict=True):
            alone = First.none(len(places)) if first is None else first.alone(places)
            books.enter(name, some.cell, contribution(measure, some, alone), sign=sign)

    def fates(self) -> LeftOut:
        """What became of the outcomes of all rows."""
        found = LeftOut()
        for name, measures in self.frame.outcomes.items():
            for measure in measures.values():
                found += fates(measure, self.rows, self.firsts[name])
        return found


def located(segments: Sequence[Segment], ids: Hashes) -> tuple[Places, Places]:
    """The number of the segment in which each id is, −1 where it is in none, and its row there, (m,)."""
    number, places = np.full(len(ids), -1, np.int64), np.full(len(ids), -1, np.int64)
    missing = np.argsort(ids)  # neighbours are looked for together
    for n in range(len(segments) - 1, -1, -1):  # most outcomes follow their request soon
        if not len(missing):
            break
        found = segments[n].rows.index.find(ids[missing])
        there = found >= 0
        number[missing[there]], places[missing[there]] = n, found[there]
        missing = missing[~there]
    return number, places


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


def compacted(frame: Frame, segments: list[Segment], longest: float) -> list[Segment]:
    """Fewer segments: one joins the one before it unless that is much larger, so that each row is copied a few times only.

    None becomes longer than `longest` microseconds: a segment is let go of as a whole, when its last row is old.
    """
    found: list[Segment] = []
    for segment in segments:
        found.append(segment)
        while len(found) > 1 and _belong(found[-2], found[-1], longest):
            found[-2:] = [united(frame, found[-2:])]
    return found


def _belong(before: Segment, after: Segment, longest: float) -> bool:
    is_short = after.rows.micros[-1] - before.rows.micros[0] <= longest
    return bool(is_short and 2 * len(after) >= len(before) and len(after) + len(before) <= LARGEST)
