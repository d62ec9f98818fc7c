"""Predictions that were made elsewhere: a Parquet or CSV file beside a table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.data.arrays import as_array
from holdfast.data.tables import Table, open_table
from holdfast.errors import UserError
from holdfast.models.values import Values, check_values


def read_predictions(path: str | Path, table: Table, key: list[str] | None = None) -> Values:
    """The predictions in `path` for the rows of `table`, in the table's order: (n,) or (n, K).

    The column is `prediction`, or `prediction_0 …` for probabilities of K classes, or else the last that is no key.
    Rows are matched by the columns `key` where the file has them, else by their order. UserError where a key occurs
    twice or a row has no prediction; OutsideError where predictions are missing, NaN, infinite, too few or too many.
    """
    file = open_table(path)
    keys = [name for name in key or [] if name in file.columns]
    if keys and len(keys) < len(key or []):
        missing = ", ".join(name for name in key or [] if name not in keys)
        raise UserError(f"{path} has the key {', '.join(keys)} but not {missing}, so its rows cannot be matched.")
    names = prediction_columns(file.columns, keys, str(path))
    read = file.read([*keys, *names])
    columns = [as_array(read.column(name)) for name in names]
    values: Any = columns[0] if len(columns) == 1 else np.column_stack(columns)
    if keys:
        values = values[_positions(file, table, keys)]
    return check_values(values, table.num_rows, str(path))


def prediction_columns(columns: list[str], keys: list[str], path: str) -> list[str]:
    """Which columns hold the predictions; UserError where only keys are left."""
    if "prediction" in columns:
        return ["prediction"]
    numbered = [name for name in columns if re.fullmatch(r"prediction_\d+", name)]
    if numbered:
        return sorted(numbered, key=lambda name: int(name.rpartition("_")[2]))
    rest = [name for name in columns if name not in keys]
    if not rest:
        raise UserError(
            f"{path} has no column of predictions, only {', '.join(columns)}.", hint="Call it `prediction`."
        )
    return rest[-1:]


def _positions(file: Table, table: Table, keys: list[str]) -> list[int]:
    """For each row of `table`, the row of `file` with the same key."""
    absent = [name for name in keys if name not in table.columns]
    if absent:
        raise UserError(f"{table.path} has no column {absent[0]!r}, by which {file.path} should be matched.")
    theirs, ours = _key_rows(file, keys), _key_rows(table, keys)
    place = {row: number for number, row in enumerate(theirs)}
    if len(place) < len(theirs):
        twice = next(row for number, row in enumerate(theirs) if place[row] != number)
        raise UserError(f"{file.path} has the key {_shown(keys, twice)} more than once, so its rows cannot be matched.")
    if len(set(ours)) < len(ours):
        raise UserError(f"{', '.join(keys)} is no key of {table.path}: some of its rows share a value.")
    missing = [row for row in ours if row not in place]
    if missing:
        first = _shown(keys, missing[0])
        raise UserError(f"{file.path} has no prediction for {len(missing):,} of {len(ours):,} rows, first for {first}.")
    return [place[row] for row in ours]


def _key_rows(table: Table, keys: list[str]) -> list[tuple[str, ...]]:
    """Each row's key as text, so that 7 in Parquet and 7 in CSV are the same."""
    read = table.read(keys)
    return list(zip(*(map(str, read.column(name).to_pylist()) for name in keys), strict=True))


def _shown(keys: list[str], row: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(keys, row, strict=True))
