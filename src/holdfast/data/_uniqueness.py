"""Duplicates, exactly, in eight bytes a row: hashes find the suspects, a second look at only those rows decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from holdfast.data._blocks import places_array
from holdfast.data._watch import EXAMPLES
from holdfast.data.hashing import Hashes, hash_rows
from holdfast.data.tables import Table

VERIFIED = 100_000  # suspicious rows that are compared by value; many more cannot be collisions of 64 bits


@dataclass(frozen=True)
class Duplicates:
    """Rows beyond the first of their value, values that occur more than once, and examples {"value", "rows"}."""

    rows: int
    values: int
    examples: tuple[dict[str, Any], ...]


class KeyHashes:
    """Collects one hash per row over some columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = list(columns)
        self._parts: list[Hashes] = []

    def add(self, batch: pa.RecordBatch) -> None:
        self._parts.append(hash_rows(batch, self.columns))

    def duplicates(self, table: Table) -> Duplicates:
        """What occurs more than once in `table`, whose batches were added."""
        hashes = np.concatenate(self._parts) if self._parts else np.empty(0, np.uint64)
        self._parts.clear()
        hashes.sort()
        again = hashes[1:] == hashes[:-1]
        suspects = np.unique(hashes[1:][again])
        if not len(suspects):
            return Duplicates(0, 0, ())
        suspicious = int(again.sum()) + len(suspects)
        del hashes
        if suspicious > VERIFIED:
            found = _second_look(table, self.columns, suspects[:VERIFIED], enough=EXAMPLES)
            return Duplicates(suspicious - len(suspects), len(suspects), _examples(found))
        found = _second_look(table, self.columns, suspects)
        rows = sum(len(places) - 1 for places in found.values())
        return Duplicates(rows, sum(len(places) > 1 for places in found.values()), _examples(found))


def _second_look(
    table: Table, columns: list[str], suspects: Hashes, enough: int | None = None
) -> dict[tuple[Any, ...], list[int]]:
    """Row numbers by value of the rows whose hash is suspicious; stops once `enough` values were met twice."""
    found: dict[tuple[Any, ...], list[int]] = {}
    begin = twice = 0
    for batch in table.batches(columns, dictionary=True):
        places = np.flatnonzero(np.isin(hash_rows(batch, columns), suspects))
        taken = batch.take(places_array(places))
        values = [column.to_pylist() for column in taken.columns]
        for place, *key in zip(places.tolist(), *values, strict=True):
            rows = found.setdefault(tuple(_hashable(value) for value in key), [])
            rows.append(begin + place)
            twice += len(rows) == 2
            if enough is not None and twice >= enough:
                return found
        begin += batch.num_rows
    return found


def _hashable(value: Any) -> Any:
    if isinstance(value, float) and value != value:  # noqa: PLR0124  NaN is one value here
        return "NaN"
    return repr(value) if isinstance(value, list | dict) else value


def _examples(found: dict[tuple[Any, ...], list[int]]) -> tuple[dict[str, Any], ...]:
    twice = [(key, rows) for key, rows in found.items() if len(rows) > 1][:EXAMPLES]
    return tuple({"value": _plain(key), "rows": rows[:EXAMPLES]} for key, rows in twice)


def _plain(key: tuple[Any, ...]) -> Any:
    shown = [v if v is None or isinstance(v, bool | int | float) else str(v)[:64] for v in key]
    return shown[0] if len(shown) == 1 else shown
