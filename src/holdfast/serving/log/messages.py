"""Rows of the log tables as messages for others: JSON with the tables' columns."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pyarrow as pa
import pyarrow.compute as pc

_JSON_COLUMNS = ("output", "inputs")


def messages_of(rows: pa.Table) -> Iterator[tuple[str, bytes]]:
    """Key (the prediction id) and value of each row; times are RFC 3339 in UTC, outputs and inputs are JSON values."""
    times = pc.binary_replace_slice(rows.column("time").cast(pa.string()), 10, 11, "T")
    columns = {name: (times if name == "time" else rows.column(name)).to_pylist() for name in rows.column_names}
    for name in _JSON_COLUMNS:
        if name in columns:
            columns[name] = [None if text is None else orjson.Fragment(text) for text in columns[name]]
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        yield row["prediction_id"], orjson.dumps(row)
