"""Columns of a table as numpy arrays, the form in which gates see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from holdfast.data.tables import Table
from holdfast.errors import UserError

Array = npt.NDArray[Any]


def as_array(column: pa.ChunkedArray | pa.Array) -> Array:
    """An Arrow column (n,) as numpy: numbers stay numbers (a null becomes NaN), all else objects (a null is None)."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type) and column.null_count:
        column = column.cast(pa.float64())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values: Array = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    if values.dtype == object and column.null_count == 0 and pa.types.is_boolean(column.type):
        return values.astype(bool)
    return values


def column_array(table: Table, name: str) -> Array:
    """One column of `table`, (n,); UserError where the table has no such column."""
    return column_arrays(table, [name])[name]


def column_arrays(table: Table, names: Sequence[str]) -> dict[str, Array]:
    """Some columns of `table`, each (n,), in one reading."""
    unique = list(dict.fromkeys(names))
    for name in unique:
        if name not in table.columns:
            raise UserError(f"{table.path} has no column {name!r}.", hint=f"It has {', '.join(table.columns[:12])}.")
    read = table.read(unique)
    return {name: as_array(read.column(name)) for name in unique}


def missing_rows(values: Array) -> npt.NDArray[np.int64]:
    """The row numbers where `values` is null or NaN."""
    if values.dtype.kind == "f":
        return np.flatnonzero(np.isnan(values))
    if values.dtype == object:
        return np.flatnonzero([value is None for value in values.tolist()])
    return np.empty(0, dtype=np.int64)


def labels_array(table: Table, name: str) -> Array:
    """The label column (n,); UserError where a label is missing, because no row may silently drop out."""
    values = column_array(table, name)
    missing = missing_rows(values)
    if len(missing):
        shown = ", ".join(str(row) for row in missing[:5])
        raise UserError(f"the label {name!r} is null in {len(missing):,} of {len(values):,} rows (rows {shown}).")
    return values
