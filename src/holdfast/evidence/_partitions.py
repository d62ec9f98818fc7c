"""Rows of a log as the Parquet files of a Delta table: one for each value of its partition columns. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from holdfast.evidence import _columns as columns
from holdfast.evidence._arrow import arrow_bools, arrow_numbers, filled, python_texts

Ints = npt.NDArray[np.int64]

DAY = "day"
ROW_GROUP = 1 << 17
_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"  # what Hive, Spark and delta-rs call it
_DAY_MICROS = 86_400 * 10**6
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Layout:
    """The columns inside the files of a table and those that only the folders have; `few` are worth a dictionary.

    Only `time` has statistics, in the files and in the table's log: what identifies a user is in no place but its own row.
    """

    fields: pa.Schema
    partitions: tuple[str, ...]
    few: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        """All columns of the table."""
        kinds = {DAY: pa.date32()}
        return pa.schema([*self.fields, *(pa.field(name, kinds.get(name, pa.string())) for name in self.partitions)])

    def fitting(self, rows: pa.Table) -> pa.Table:
        """Exactly the columns of the files; those that `rows` lack are null. What is a dictionary of them stays one."""
        arrays = [
            _fitted(rows.column(field.name), field.type) if field.name in rows.schema.names else _nulls(rows, field)
            for field in self.fields
        ]
        return pa.Table.from_arrays(arrays, self.fields.names).unify_dictionaries()

    def as_laid_out(self, rows: pa.Table) -> pa.Table:
        """The columns that `rows` have, as we write them: other writers have other kinds of text."""
        return rows.cast(pa.schema([self.fields.field(name) for name in rows.schema.names]))

    def spread(self, rows: pa.Table) -> Iterator[tuple[dict[str, str | None], pa.Table]]:
        """The rows of each combination of partition values, in their order, as the files have them."""
        fitting = self.fitting(rows)
        found = [_coded(_days(rows) if name == DAY else rows.column(name)) for name in self.partitions]
        code = np.zeros(rows.num_rows, np.int64)
        for codes, values in found:
            code = code * len(values) + codes
        present = np.unique(code)
        for one in present.tolist():
            part = fitting if len(present) == 1 else fitting.filter(arrow_bools(code == one))
            yield self._values(one, [values for _, values in found]), part

    def folder(self, values: Mapping[str, str | None]) -> str:
        """The folder of the files with these partition values."""
        texts = {name: _NULL_FOLDER if not values[name] else quote(str(values[name]), safe="") for name in values}
        return "/".join(f"{name}={texts[name]}" for name in self.partitions)

    def parquet(self, rows: pa.Table) -> bytes:
        """The content of a file."""
        sink = pa.BufferOutputStream()
        options: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "store_schema": False}
        pq.write_table(
            rows, sink, row_group_size=ROW_GROUP, use_dictionary=list(self.few), write_statistics=["time"], **options
        )
        content: bytes = sink.getvalue().to_pybytes()
        return content

    def _values(self, code: int, values: Sequence[Sequence[str | None]]) -> dict[str, str | None]:
        found = {}
        for name, of_name in zip(reversed(self.partitions), reversed(values), strict=True):
            code, place = divmod(code, len(of_name))
            found[name] = of_name[place]
        return {name: found[name] for name in self.partitions}


def statistics(rows: pa.Table) -> dict[str, Any]:
    """What a Delta log says of a file: its number of rows, and the first and last time in it."""
    micros = _micros(rows)
    timed = micros[micros != columns.NO_TIME]
    found: dict[str, Any] = {"numRecords": rows.num_rows, "nullCount": {"time": len(micros) - len(timed)}}
    if len(timed):
        found |= {
            "minValues": {"time": time_text(int(timed.min()))},
            "maxValues": {"time": time_text(int(timed.max()))},
        }
    return found


def time_text(micros: int) -> str:
    """A time as a Delta log has it."""
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def day_of(when: datetime) -> date:
    """The UTC day of a moment: the value of the column `day`."""
    return when.astimezone(UTC).date()


def _fitted(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    is_same = pa.types.is_dictionary(column.type) and column.type.value_type == kind
    return column if is_same else column.cast(kind)


def _nulls(rows: pa.Table, field: pa.Field) -> pa.Array:
    return pa.nulls(rows.num_rows, field.type)


def _micros(rows: pa.Table) -> Ints:
    parts = [columns.micros(chunk, "time") for chunk in rows.column("time").chunks]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _days(rows: pa.Table) -> pa.Array:
    """The UTC day of each row, such as 2027-03-01; null where it has no time."""
    micros = _micros(rows)
    days = arrow_numbers((micros // _DAY_MICROS).astype(np.int32), micros != columns.NO_TIME)
    return days.cast(pa.date32())


def _coded(column: pa.Array | pa.ChunkedArray) -> tuple[Ints, list[str | None]]:
    """A code for each row, (n,), and the text of each code; the last one is null."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # without any chunk
        return np.empty(0, np.int64), [None]
    texts = python_texts(encoded.dictionary)
    return filled(encoded.indices.cast(pa.int64()), len(texts)), [*texts, None]
