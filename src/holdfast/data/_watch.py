"""What row-level checks see while a table streams by: counts of offending rows and the first few of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from holdfast.data._blocks import Block, places_array
from holdfast.data._categories import Categories
from holdfast.data.arrow import arrow_text
from holdfast.data.hashing import as_numpy, hash_array

EXAMPLES = 5
MAX_CLASSES = 1000


class Offenders:
    """How many rows offend, and the first `EXAMPLES` of them as {"row": number from 0, "value": …}."""

    def __init__(self) -> None:
        self.count = 0
        self.examples: list[dict[str, Any]] = []

    def add(self, block: Block, rows: npt.NDArray[np.intp]) -> None:
        """Rows of `block`, by their places in it."""
        self.count += len(rows)
        for place in rows[: EXAMPLES - len(self.examples)].tolist():
            self.examples.append({"row": block.first_row + place, "value": _shown(block.array[place])})


class RangeWatch(Offenders):
    """Numbers outside [low, high]; infinities offend, null and NaN do not."""

    def __init__(self, low: float | None, high: float | None) -> None:
        super().__init__()
        self.low = -np.inf if low is None else low
        self.high = np.inf if high is None else high

    def __call__(self, block: Block) -> None:
        if len(block.present) == 0:
            return
        smallest, largest = block.bounds
        if smallest >= self.low and largest <= self.high:
            return
        values = block.full()
        with np.errstate(invalid="ignore"):
            self.add(block, np.flatnonzero((values < self.low) | (values > self.high)))


class InfinityWatch(Offenders):
    """Rows with an infinite number."""

    def __call__(self, block: Block) -> None:
        if len(block.present) and not np.isfinite(block.bounds).all():
            self.add(block, np.flatnonzero(np.isinf(block.full())))


class ValuesWatch(Offenders):
    """Values of a column that are not among the allowed ones; nulls do not offend."""

    def __init__(self, allowed: Sequence[Any]) -> None:
        super().__init__()
        texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in allowed]
        self.hashes = hash_array(arrow_text(texts))
        self.numbers = np.array([float(v) for v in allowed if isinstance(v, int | float)])

    def __call__(self, block: Block) -> None:
        if block.kind == "categorical":
            _, hashes, counts = block.entries
            strange = hashes[(counts > 0) & ~np.isin(hashes, self.hashes)]
            if len(strange):
                self.add(block, np.flatnonzero(np.isin(block.row_hashes(), strange)))
        elif len(block.present) and not np.isin(block.present, self.numbers).all():
            values = block.full()
            self.add(block, np.flatnonzero(~np.isin(values, self.numbers) & ~np.isnan(values)))


class UnseenWatch(Offenders):
    """Categories that a reference, which lists all of its own, does not have."""

    def __init__(self, reference: Categories) -> None:
        super().__init__()
        self.reference = reference

    def __call__(self, block: Block) -> None:
        _, hashes, counts = block.entries
        unseen = hashes[(counts > 0) & (self.reference.positions(hashes) == len(self.reference.values))]
        if len(unseen):
            self.add(block, np.flatnonzero(np.isin(block.row_hashes(), unseen)))


class NullWatch(Offenders):
    """Rows with null or NaN."""

    def __call__(self, block: Block) -> None:
        if block.kind in {"numeric", "length"} and len(block.present) and np.isnan(block.bounds[0]):
            self.add(block, np.flatnonzero(np.isnan(block.full())))
        elif block.nulls:
            self.add(block, np.flatnonzero(as_numpy(block.array.is_null())))


class OrderWatch(Offenders):
    """Rows whose time is before that of the row above; nulls are passed over."""

    def __init__(self) -> None:
        super().__init__()
        self.newest_so_far = -np.inf
        self._last = -np.inf

    def __call__(self, block: Block) -> None:
        if len(block.present) == 0:
            return
        values = block.full()
        places = np.flatnonzero(~np.isnan(values))
        times = np.concatenate([[self._last], values[places]])
        self._last = float(times[-1])
        self.add(block, places[np.flatnonzero(np.diff(times) < 0)])


class ClassCounts:
    """Rows by value of a label; `counts` is None beyond `MAX_CLASSES` values, which are then no classes."""

    def __init__(self) -> None:
        self.counts: Counter[Any] | None = Counter()

    def __call__(self, block: Block) -> None:
        if self.counts is None:
            return
        if block.kind == "categorical":
            texts, _, counts = block.encoded().entries
            seen = np.flatnonzero(counts)
            found = zip(texts.take(places_array(seen)).to_pylist(), counts[seen].tolist(), strict=True)
        else:
            values, counts = np.unique(block.finite, return_counts=True)
            found = zip(values.tolist()[: MAX_CLASSES + 1], counts.tolist(), strict=False)
        for value, count in found:
            self.counts[value] += count
        if len(self.counts) > MAX_CLASSES:
            self.counts = None


def moment(microseconds: float) -> datetime:
    """A time of a profile as a datetime in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def _shown(value: pa.Scalar) -> Any:
    """A value that JSON can hold."""
    found = value.as_py()
    if isinstance(found, float) and not np.isfinite(found):
        return str(found)
    if found is None or isinstance(found, bool | int | float):
        return found
    return str(found)[:64]
