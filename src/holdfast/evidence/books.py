"""Sums by look, arm and bucket, and how contributions are added to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from holdfast.evidence._threads import in_threads
from holdfast.evidence.contributions import CHUNK, Contribution, contribution, delay_of
from holdfast.evidence.firsts import First
from holdfast.evidence.frame import Frame, Span
from holdfast.evidence.measures import Measure
from holdfast.evidence.rows import Rows
from holdfast.evidence.sums import ARMS, BUCKETS, Sums

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CELLS = ARMS * BUCKETS
_STRETCH = 1 << 20


class Books:
    """Increments at each look, or totals; every array is (looks, 2, BUCKETS) of float64.

    final    by delay in microseconds: requests whose values of that delay are final (0: all requests)
    total    by measure: Σ value; of the number of requests it is `final[0]`
    missing  by measure of outcomes or latency: requests without weight
    outside  measures with a value outside [0, 1]
    """

    def __init__(self, frame: Frame, looks: int = 1) -> None:
        shape = (looks, ARMS, BUCKETS)
        counted = [measure for found in frame.by_delay.values() for measure in found.items()]
        self.frame, self.looks = frame, looks
        self.final = {delay: np.zeros(shape) for delay in frame.delays}
        self.total = {name: np.zeros(shape) for name, _ in counted}
        self.missing = {name: np.zeros(shape) for name, measure in counted if measure.source != "error"}
        self.outside: set[str] = set()

    def count(self, rows: Rows, firsts: Mapping[str, First], delay: int, part: tuple[int, int], span: Span) -> None:
        """Add the requests from `part[0]` to `part[1]`, whose values of this delay have become final in `span`."""
        measures = self.frame.by_delay[delay]

        def enter(books: Books, begin: int, end: int) -> None:
            places = slice(begin, end)
            some = rows.take(places)
            flat = some.cell
            if span.looks > 1:
                flat += span.look_of(some.micros + delay) * CELLS
            add(books.final[delay], flat)
            for name, measure in measures.items():
                first = firsts[str(measure.outcome)].alone(places) if measure.source == "outcome" else None
                books.enter(name, flat, contribution(measure, some, first))

        self.fill(*part, enter)

    def fill(self, begin: int, end: int, enter: Callable[[Books, int, int], None]) -> None:
        """`enter(books, begin, end)` of the rows from `begin` to `end`, chunk by chunk; of very many, stretches at a time.

        Stretches are of a fixed length and are added up in their order, so the sums do not depend on the number of threads.
        """
        stretch = _STRETCH if self.looks == 1 else max(end - begin, 1)
        starts = range(begin, end, stretch)

        def into(books: Books, start: int) -> Books:
            for chunk in range(start, min(start + stretch, end), CHUNK):
                enter(books, chunk, min(chunk + CHUNK, start + stretch, end))
            return books

        if len(starts) < 2:
            into(self, begin)
            return
        for books in in_threads(lambda start: into(Books(self.frame), start), starts):
            self.add_all(books)

    def enter(self, name: str, flat: Ints, given: Contribution, *, sign: int = 1) -> None:
        """Add contributions to one measure at places look · CELLS + cell, (n,), or take them back with `sign` −1."""
        some = np.flatnonzero(given.value)
        if len(some):
            values = given.value[some]
            add(
                self.total[name],
                flat[some],
                None if values.dtype == np.bool_ and sign > 0 else sign * values.astype(float),
            )
            if values.dtype != np.bool_ and not (values.min() >= 0 and values.max() <= 1):
                self.outside.add(name)
        if given.missing is not None:
            lacking = np.flatnonzero(given.missing)
            add(self.missing[name], flat[lacking], None if sign > 0 else np.full(len(lacking), float(sign)))

    def onto(self, base: Books) -> None:
        """Turn increments into totals, on top of the totals in `base`."""
        for ours, theirs in zip(self.arrays(), base.arrays(), strict=True):
            ours[0] += theirs[-1]
            if self.looks > 1:
                np.cumsum(ours, axis=0, out=ours)
        self.outside |= base.outside

    def last(self) -> Books:
        """The totals of the last look alone."""
        return self.copied(slice(-1, None))

    def copied(self, looks: slice = slice(None)) -> Books:
        found = Books(self.frame, len(self.final[0][looks]))
        for ours, theirs in zip(found.arrays(), self.arrays(), strict=True):
            ours[:] = theirs[looks]
        found.outside = set(self.outside)
        return found

    def merged(self, other: Books) -> Books:
        """The totals of both."""
        found = self.copied()
        found.add_all(other)
        return found

    def add_all(self, other: Books) -> None:
        """Add the sums of `other` to these."""
        for ours, theirs in zip(self.arrays(), other.arrays(), strict=True):
            np.add(ours, theirs, out=ours)
        self.outside |= other.outside

    def arrays(self) -> list[Array]:
        """All arrays in a fixed order."""
        return [array for _, array in sorted(self.named().items())]

    def named(self) -> dict[str, Array]:
        """All arrays by a name of their own."""
        kinds: tuple[tuple[str, Mapping[Any, Array]], ...]
        kinds = (("final", self.final), ("total", self.total), ("missing", self.missing))
        return {f"{kind}:{name}": array for kind, arrays in kinds for name, array in arrays.items()}

    @classmethod
    def of_named(cls, frame: Frame, named: Mapping[str, Array], outside: set[str]) -> Self:
        """From what `named` gave; KeyError where one is lacking."""
        found = cls(frame)
        for name, array in found.named().items():
            array[:] = named[name]
        found.outside = outside
        return found

    def requests(self) -> Array:
        """Requests of each arm, (looks, 2)."""
        counts: Array = self.final[0].sum(axis=-1)
        return counts

    def sums(self) -> dict[str, Sums]:
        """The sums of every measure at every look; `mass` is not copied where every request has weight."""
        return {name: self._sums(name, m, self.final[delay_of(m)]) for name, m in self.frame.measures.items()}

    def _sums(self, name: str, measure: Measure, mass: Array) -> Sums:
        if measure.source == "requests":
            return Sums(total=mass, mass=mass)
        missing = self.missing.get(name)
        if missing is not None and missing.any():
            mass = mass - missing
        return Sums(total=self.total[name], mass=mass, missing=missing, within=name not in self.outside)


def add(target: Array, flat: Ints, weights: Array | None = None) -> None:
    """Add `weights` (None: 1 each) to `target`, (looks, 2, BUCKETS), at places look · CELLS + cell, (n,)."""
    if not len(flat):
        return
    cells = target.reshape(-1)
    low = int(flat.min()) if len(cells) > CELLS else 0
    counts = np.bincount(flat - low if low else flat, weights)
    cells[low : low + len(counts)] += counts
