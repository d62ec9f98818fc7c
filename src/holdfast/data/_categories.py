"""What is counted of a text or true/false column while a table streams by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from holdfast.data._blocks import Block, places_array
from holdfast.data.hashing import Hashes

Counts = npt.NDArray[np.int64]

CAPACITY = 4096  # a column with more distinct values is no longer counted value by value
FREQUENT = 100  # values that are kept of such a column
KEPT_HASHES = 2048  # of the distinct-value sketch: a standard error of 2.2 %
SHOWN_CHARACTERS = 64  # of a value, in reports and stored profiles


@dataclass(frozen=True)
class Categories:
    """Values of a reference column with their counts, most frequent first; `hashes` name the values."""

    values: tuple[str, ...]
    counts: Counts
    hashes: Hashes
    complete: bool  # whether these are all values that the column had
    rows: int  # that were counted: all that are not null, or the rows of a sample

    def __post_init__(self) -> None:
        order = np.argsort(self.hashes)
        object.__setattr__(self, "_sorted", (self.hashes[order], order))

    def positions(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        """The position of each hash among the values, their number for one that is not there."""
        ordered, order = getattr(self, "_sorted")  # noqa: B009
        if not len(ordered):
            return np.zeros(len(hashes), np.int64)
        place = np.minimum(np.searchsorted(ordered, hashes), len(ordered) - 1)
        return np.where(ordered[place] == hashes, order[place], len(ordered))

    @property
    def mark(self) -> str:
        """Names these categories: counts against them carry it."""
        return hashlib.sha256(self.hashes.tobytes()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        return {
            "values": list(self.values),
            "counts": self.counts.tolist(),
            "hashes": [f"{value:016x}" for value in self.hashes.tolist()],
            "complete": self.complete,
            "rows": self.rows,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Categories:
        hashes = np.array([int(text, 16) for text in document["hashes"]], np.uint64)
        counts = np.array(document["counts"], np.int64)
        return cls(tuple(document["values"]), counts, hashes, document["complete"], document["rows"])


@dataclass
class CategorySummary:
    """Exact counts by value while there are at most `CAPACITY` of them, and the smallest hashes of all values.

    Both merge exactly in any order: the table of values is given up as soon as their union is too large.
    `against` holds exact counts of a reference's categories, and of all others at its end.
    """

    table: dict[int, tuple[str, int]] | None = field(default_factory=dict)  # hash: value, count
    smallest: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    against: Counts | None = None
    stored_distinct: int = 0  # of a profile that was read back; at least so many

    @property
    def distinct(self) -> int:
        """How many distinct values there are: exact up to `CAPACITY`, then an estimate (± 2.2 %)."""
        if self.table is not None:
            return len(self.table)
        if len(self.smallest) < KEPT_HASHES:
            return max(len(self.smallest), self.stored_distinct)
        return round((KEPT_HASHES - 1) / (float(self.smallest[-1]) / 2.0**64))

    @classmethod
    def of(cls, block: Block, reference: Categories | None, *, exact: bool = True) -> CategorySummary:
        """The summary of one block; `exact=False` spares the table of values when it is given up anyway."""
        values, hashes, counts = block.entries
        seen = counts > 0
        against = None
        if reference is not None:
            kinds = len(reference.values) + 1
            against = np.bincount(reference.positions(hashes), counts, kinds).astype(np.int64)
        summary = cls(None, _smallest(hashes if seen.all() else hashes[seen]), against)
        if exact and np.count_nonzero(seen) <= CAPACITY:
            places = np.flatnonzero(seen)
            shown = pc.utf8_slice_codeunits(values.take(places_array(places)), 0, SHOWN_CHARACTERS).to_pylist()
            summary.table = {}
            _add(summary.table, zip(hashes[places].tolist(), shown, counts[places].tolist(), strict=True))
        return summary

    def merge(self, other: CategorySummary) -> CategorySummary:
        """The summary of both parts."""
        against = None if self.against is None or other.against is None else self.against + other.against
        smallest = _smallest(np.concatenate([self.smallest, other.smallest]))
        merged = CategorySummary(None, smallest, against, max(self.stored_distinct, other.stored_distinct))
        if self.table is not None and other.table is not None:
            table = dict(self.table)
            _add(table, ((key, value, count) for key, (value, count) in other.table.items()))
            merged.table = table if len(table) <= CAPACITY else None
        return merged

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"distinct": self.distinct}
        if self.against is not None:
            document["against"] = self.against.tolist()
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> CategorySummary:
        """Without the table of values, which a stored profile keeps as its `Categories`."""
        against = document.get("against")
        counted = None if against is None else np.array(against, np.int64)
        return cls(None, against=counted, stored_distinct=document["distinct"])


def make_categories(summary: CategorySummary, sampled: tuple[Hashes, pa.Array] | None) -> Categories | None:
    """All values while they were counted, else the most frequent of the sampled rows (hashes and texts, (n,) each)."""
    if summary.table is not None:
        found = [(count, value, key) for key, (value, count) in summary.table.items()]
        complete, rows = True, sum(count for count, _, _ in found)
    elif sampled is not None:
        hashes, texts = sampled
        # One half of the sample says which values are frequent, the other half how frequent: values that were picked
        # for a high count would be overestimated by that count.
        distinct, first, picked = np.unique(hashes[::2], return_index=True, return_counts=True)
        frequent = np.argsort(-picked, kind="stable")[:FREQUENT]
        frequent = frequent[picked[frequent] > 1]
        others = np.sort(hashes[1::2])
        counts = np.searchsorted(others, distinct[frequent], "right") - np.searchsorted(others, distinct[frequent])
        shown = texts.take(places_array(2 * first[frequent])).to_pylist()
        found = list(zip(counts.tolist(), shown, distinct[frequent].tolist(), strict=True))
        complete, rows = False, len(others)
    else:
        return None
    found.sort(key=lambda item: (-item[0], item[1], item[2]))
    values = tuple(value for _, value, _ in found)
    counted = np.array([count for count, _, _ in found], np.int64)
    return Categories(values, counted, np.array([key for _, _, key in found], np.uint64), complete, rows)


def _add(table: dict[int, tuple[str, int]], found: Any) -> None:
    for key, value, count in found:
        known = table.get(key)
        table[key] = (value, count) if known is None else (known[0], known[1] + count)


def _smallest(hashes: Hashes) -> Hashes:
    if len(hashes) > 4 * KEPT_HASHES:
        # Hashes are spread evenly, so a cut at a quantile of a part leaves few to sort; all of them when it is too low.
        cut = np.uint64(min(2.0**64 - 2048, 2.0**64 * 4 * KEPT_HASHES / len(hashes)))
        few = np.unique(hashes[hashes <= cut])
        if len(few) >= KEPT_HASHES:
            return few[:KEPT_HASHES]
    return np.unique(hashes)[:KEPT_HASHES]
