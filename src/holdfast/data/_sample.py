"""A uniform sample of rows, kept while a table streams by; quantiles and frequent values are read from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from holdfast.data._blocks import Block, numbers_of, places_array
from holdfast.data._categories import SHOWN_CHARACTERS
from holdfast.data.hashing import Hashes, as_numpy, hash_array

CAPACITY = 65_536  # rows; a table with no more of them is kept whole


class RowSample:
    """One row, picked at random, of every 2^`halvings` consecutive rows; the same rows for all columns.

    A smaller table is kept whole. Picking one of neighbours keeps the sample even over a table that is ordered, and
    at random, so that no period of the rows can hide. The picks are seeded by what was seen: one scan, one sample.
    """

    @classmethod
    def expecting(cls, rows: int) -> RowSample:
        """An empty sample for a table of about `rows` rows, which then need not be thinned again and again."""
        return cls(None, max(0, (rows - 1) // CAPACITY).bit_length())

    def __init__(self, table: pa.Table | None = None, halvings: int = 0) -> None:
        self.table = table
        self.halvings = halvings

    @property
    def rows(self) -> int:
        return 0 if self.table is None else int(self.table.num_rows)

    def add(self, blocks: Sequence[Block]) -> None:
        """Sample the rows of one batch, given as all its columns."""
        rows = blocks[0].rows if blocks else 0
        if rows == 0:
            return
        rng = np.random.default_rng([blocks[0].first_row, rows, self.halvings])
        places = places_array(_one_of_each(rows, 1 << self.halvings, rng))
        columns: dict[str, pa.Array] = {}
        for block in blocks:
            columns.update(_sampled(block, places))
        self._extend(pa.table(columns))

    def merge(self, other: RowSample) -> RowSample:
        """A sample of the rows of both."""
        halvings = max(self.halvings, other.halvings)
        merged = RowSample(self._thinned(halvings).table, halvings)
        table = other._thinned(halvings).table
        if table is not None:
            merged._extend(table)
        return merged

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """The finite sampled values of a numeric, temporal or list-length column, (n,)."""
        if self.table is None:
            return np.empty(0)
        values: npt.NDArray[np.float64] = as_numpy(self.table.column(f"number {name}").combine_chunks().drop_null())
        return values[np.isfinite(values)]

    def texts(self, name: str) -> tuple[Hashes, pa.Array]:
        """Hashes and (cut) texts of the sampled values of a categorical column that are not null, (n,) each."""
        if self.table is None:
            return np.empty(0, np.uint64), pa.nulls(0, pa.string())
        texts = self.table.column(f"text {name}").combine_chunks()
        hashes = as_numpy(self.table.column(f"hash {name}").combine_chunks())
        present = texts.is_valid()
        return hashes[as_numpy(present)], texts.filter(present)

    def _extend(self, table: pa.Table) -> None:
        self.table = table if self.table is None else pa.concat_tables([self.table, table])
        while self.table is not None and self.table.num_rows > CAPACITY:
            thinned = self._thinned(self.halvings + 1)
            self.table, self.halvings = thinned.table, thinned.halvings

    def _thinned(self, halvings: int) -> RowSample:
        if self.table is None or halvings == self.halvings:
            return RowSample(self.table, halvings)
        rng = np.random.default_rng([self.table.num_rows, self.halvings, halvings])
        places = _one_of_each(self.table.num_rows, 1 << (halvings - self.halvings), rng)
        return RowSample(self.table.take(places_array(places)).combine_chunks(), halvings)


def _sampled(block: Block, places: pa.Array) -> dict[str, pa.Array]:
    if block.kind == "opaque":
        return {f"opaque {block.name}": pa.nulls(len(places))}
    taken = block.array.take(places)
    if block.kind == "categorical":
        texts = taken.cast(pa.string())
        shown = pc.utf8_slice_codeunits(texts, 0, SHOWN_CHARACTERS)
        return {f"hash {block.name}": places_array(hash_array(texts)), f"text {block.name}": shown}
    return {f"number {block.name}": numbers_of(taken).cast(pa.float64(), safe=False)}


def _one_of_each(rows: int, step: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """One row number of every `step` consecutive ones; of the rest at the end with its share of probability."""
    whole, rest = divmod(rows, step)
    places = np.arange(whole) * step + rng.integers(0, step, whole)
    if rng.integers(0, step) < rest:
        places = np.append(places, whole * step + rng.integers(0, rest))
    return places
