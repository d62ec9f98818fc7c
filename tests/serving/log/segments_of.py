"""Segments as a gateway leaves them, and what the tables say of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from holdfast.evidence.delta import LogTable
from holdfast.serving.log.encoding import encode, encode_outcome
from holdfast.serving.log.segment_writer import SegmentWriter
from holdfast.serving.records import Record

BEGIN = 1_790_000_000_000_000
HOUR = 3_600 * 10**6


def prediction(
    number: int, *, unit: str | None = None, time: int | None = None, rows: int = 1, **other: object
) -> Record:
    values = {
        "prediction_id": f"p-{number}",
        "time": BEGIN + number * 1000 if time is None else time,
        "model": "m",
        "version": "7",
        "variant": "canary" if number % 3 == 0 else "champion",
        "served_by": "7",
        "unit": f"user-{number % 17}" if unit is None else unit,
        "latency_ms": 1.5,
        "fault": None,
        "outputs": [number] * rows,
        **other,
    }
    return Record(**values)  # type: ignore[arg-type]


def write_segments(
    folder: Path, groups: Iterable[Sequence[bytes]], *, stream: str = "predictions", replica: str = "a"
) -> None:
    """A sealed segment for each group."""
    writer = SegmentWriter(folder, stream, replica, durable=False, segment_seconds=1e9)
    for group in groups:
        writer.append(group)
        writer.seal()
    writer.close()


def predictions(*numbers: int, **values: object) -> list[bytes]:
    return [encode(prediction(number, **values)) for number in numbers]  # type: ignore[arg-type]


def outcomes(*numbers: int) -> list[bytes]:
    return [encode_outcome(f"e-{n}", f"p-{n}", BEGIN + n * 1000 + 1, "click", 1.0) for n in numbers]


def rows_of(table: LogTable) -> pa.Table:
    """All rows of a table, without the partition columns."""
    table.refresh()
    return pa.concat_tables([table.read(file) for file in table.files()] or [table.layout.fields.empty_table()])


def ids_of(table: LogTable) -> list[str]:
    return sorted(rows_of(table).column("prediction_id").to_pylist(), key=lambda name: int(name[2:]))


def numbered(numbers: Iterable[int]) -> list[str]:
    return [f"p-{number}" for number in sorted(numbers)]
