"""The inputs of a snapshot: a sample of the real table, the hostile corpus in its columns, and the population."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.config.schema import DataConfig, SnapshotsConfig
from holdfast.data.tables import Table
from holdfast.errors import UserError
from holdfast.snapshots import hostile
from holdfast.snapshots.sampling import choose_rows

MANY_ROWS = 200_000  # beyond them a table is thinned while it streams by, rows with rare characters last
_BEYOND_ASCII_SEPARATORS = r"[\p{P}\p{S}\p{Z}\p{C}\p{M}]"


def columns_of(config: SnapshotsConfig, data: DataConfig, table: Table) -> list[str]:
    """The columns that the declared functions read, in the table's order; UserError for one that is not there."""
    wanted: set[str] = set()
    for name, function in config.functions.items():
        for column in function.input:
            if column not in table.columns:
                raise UserError(
                    f"snapshots.functions.{name} reads the column {column!r}, which {table.path} does not have.",
                    hint=f"It has {', '.join(table.columns[:12])}.",
                )
        wanted |= set(function.input or [c for c in table.columns if c != data.label])
    return [name for name in table.columns if name in wanted]


def make_inputs(config: SnapshotsConfig, data: DataConfig, table: Table) -> dict[str, pa.Table]:
    """Tables by part: `data` (the stratified sample), `hostile`, `population` (distinct real rows, by chance)."""
    columns = columns_of(config, data, table)
    seen = gather(table, columns)
    lists = {name: seen.column(name).to_pylist() for name in columns}
    parts = {"data": seen.take(pa.array(choose_rows(lists, config.rows), pa.int64()))}
    if config.hostile and seen.num_rows:
        parts["hostile"] = hostile_rows(seen)
    if config.population and seen.num_rows > config.rows:
        unique = choose_population(lists, config.population)
        parts["population"] = seen.take(pa.array(unique, pa.int64()))
    return parts


def gather(table: Table, columns: Sequence[str]) -> pa.Table:
    """All rows of a table of moderate size; of a larger one every k-th, and those with rare characters."""
    step = max(1, math.ceil(table.num_rows / MANY_ROWS))
    kept: list[pa.RecordBatch] = []
    offset = 0
    for batch in table.batches(columns):
        keep = [(row + offset) % step == 0 for row in range(batch.num_rows)] if step > 1 else None
        offset += batch.num_rows
        if keep is None:
            kept.append(batch)
            continue
        mask = pa.array(keep)
        for column in batch.columns:
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                foreign = pc.replace_substring_regex(column, r"[\x00-\x7f]+", "")
                mask = pc.or_(mask, pc.fill_null(pc.match_substring_regex(foreign, _BEYOND_ASCII_SEPARATORS), False))
        kept.append(batch.filter(mask))
    found = pa.Table.from_batches(kept) if kept else pa.table({name: pa.array([], pa.null()) for name in columns})
    return found.slice(0, 2 * MANY_ROWS)


def choose_population(lists: dict[str, list[Any]], limit: int) -> list[int]:
    """Distinct rows, all of them or `limit` evenly spread ones."""
    seen: dict[tuple[str, ...], int] = {}
    for row, values in enumerate(zip(*lists.values(), strict=True)):
        seen.setdefault(tuple(map(repr, values)), row)
    rows = list(seen.values())
    if len(rows) <= limit:
        return rows
    return [rows[place * len(rows) // limit] for place in range(limit)]


def hostile_rows(seen: pa.Table) -> pa.Table:
    """The corpus set into a typical row: one kind of column at a time, the others as they really are.

    In a row of hostile texts every text column holds another one of them, so that no two meet only each other.
    """
    kinds = {name: _kind(seen.schema.field(name).type) for name in seen.column_names}
    rows: list[dict[str, Any]] = []
    for kind, values in _CORPORA.items():
        of_kind = [name for name in seen.column_names if kinds[name] == kind]
        if of_kind:
            rows += [_row(seen, number, of_kind, values) for number in range(len(values))]
            rows.append({**_typical(seen, 0), **dict.fromkeys(of_kind)})
    columns = {n: [_fitting(row[n], kinds[n]) for row in rows] for n in seen.column_names}
    return pa.table({n: pa.array(columns[n], type=seen.schema.field(n).type) for n in seen.column_names})


_CORPORA: dict[str, Sequence[Any]] = {
    "text": [text for _, text in hostile.TEXTS],
    "float": hostile.FLOATS,
    "int": hostile.INTEGERS,
    "time": hostile.TIMES,
}


def _row(seen: pa.Table, number: int, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    put = {name: values[(number + 7 * place) % len(values)] for place, name in enumerate(names)}
    row = _typical(seen, number)
    return {**row, **{n: _in_range(v, seen.schema.field(n).type, row[n]) for n, v in put.items()}}


def _typical(seen: pa.Table, number: int) -> dict[str, Any]:
    at = number * 37 % seen.num_rows
    return {name: seen.column(name)[at].as_py() for name in seen.column_names}


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_integer(kind):
        return "int"
    return "time" if pa.types.is_timestamp(kind) else "other"


def _in_range(value: Any, kind: pa.DataType, otherwise: Any) -> Any:
    """`value` if a column of this type can hold it, else what really stands there."""
    try:
        pa.array([_fitting(value, _kind(kind))], type=kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return otherwise
    return value


def _fitting(value: Any, kind: str) -> Any:
    return value.astimezone(UTC) if kind == "time" and isinstance(value, datetime) and value.tzinfo else value
