"""CSV files as typed batches: one type per column that fits every row of the file, found by reading it once."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from holdfast.errors import UserError

_BLOCK_BYTES = 1 << 22
_SECONDS, _NANOSECONDS, _AWARE = pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("ns", "UTC")
_TIMES = (pa.date32(), _SECONDS, _NANOSECONDS, _AWARE)
# What a column's type may widen to when a later row does not fit it, in this order.
_WIDER: dict[pa.DataType, tuple[pa.DataType, ...]] = {
    pa.null(): (pa.int64(), pa.float64(), pa.bool_(), *_TIMES, pa.string()),
    pa.int64(): (pa.float64(), pa.string()),
    pa.date32(): (_SECONDS, _NANOSECONDS, pa.string()),
    _SECONDS: (_NANOSECONDS, pa.string()),
}
_CELL = re.compile(
    r"In CSV column #(\d+):(?: Row #(\d+):)? CSV conversion error to .*?: invalid value '(.*)'", re.DOTALL
)
_WIDTH = re.compile(r"CSV parse error:(?: Row #(\d+):)? Expected (\d+) columns, got (\d+)")


@dataclass(frozen=True)
class CsvShape:
    """Types that fit every row, the number of rows, and a sentence for each column that had to become text."""

    schema: pa.Schema
    rows: int
    notes: tuple[str, ...]


def infer_csv(path: Path) -> CsvShape:
    """Read the file until no row contradicts a column's type; UserError where it is no CSV table."""
    types: dict[str, pa.DataType] = {}
    notes: list[str] = []
    while True:
        schema = types and pa.schema(types)
        rows = 0
        try:
            with _open(path, types, threads=False) as reader:
                schema = reader.schema
                _check_header(path, schema)
                for batch in reader:
                    rows += batch.num_rows
            return CsvShape(pa.schema([(f.name, f.type) for f in schema]), rows, tuple(notes))
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            types = _widened(path, schema or None, types, notes, error)


def csv_batches(path: Path, schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The named columns with the given types, block by block; an empty field of a text column is null."""
    types = {field.name: field.type for field in schema}
    try:
        with _open(path, types, threads=True, columns=columns) as reader:
            for batch in reader:
                yield pa.record_batch([_null_if_empty(column) for column in batch.columns], names=batch.schema.names)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _unreadable(path, schema.names, error) from error


def _open(
    path: Path, types: dict[str, pa.DataType], *, threads: bool, columns: Sequence[str] | None = None
) -> pa_csv.CSVStreamingReader:
    return pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(use_threads=threads, block_size=_BLOCK_BYTES),
        convert_options=pa_csv.ConvertOptions(column_types=types, include_columns=columns),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
    )


def _check_header(path: Path, schema: pa.Schema) -> None:
    names = schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path} names the column {twice[0]!r} twice.", hint="Rename one of them in the first line.")
    for field in schema:
        if pa.types.is_binary(field.type):  # Arrow's answer to bytes that are no UTF-8
            raise UserError(f"{path} is not UTF-8 text in column {field.name!r}.", hint="Save the file as UTF-8.")


def _widened(
    path: Path,
    schema: pa.Schema | None,
    types: dict[str, pa.DataType],
    notes: list[str],
    error: Exception,
) -> dict[str, pa.DataType]:
    """`types` with room for the value that `error` complains about; UserError where types are not the trouble."""
    match = _CELL.search(str(error))
    if match is None:
        raise _unreadable(path, schema.names if schema else [], error) from error
    names = schema.names if schema is not None else _header(path)
    name, line, value = names[int(match[1])], match[2], match[3]
    known = types.get(name) or (schema.field(name).type if schema is not None else pa.string())
    wider = next((t for t in _WIDER.get(known, (pa.string(),)) if _reads(value, t)), None)
    if wider is None or wider == known:
        raise _unreadable(path, names, error) from error
    if wider == pa.string() and known != pa.null():
        notes.append(f"column {name!r} is read as text, because line {line} holds {value!r} where {known} was expected")
    return {**(dict(zip(schema.names, schema.types, strict=True)) if schema is not None else types), name: wider}


def _header(path: Path) -> list[str]:
    with _open(path, {}, threads=False) as reader:
        return list(reader.schema.names)


def _reads(value: str, wanted: pa.DataType) -> bool:
    if wanted == pa.string():
        return True
    quoted = value.replace('"', '""')
    try:
        pa_csv.read_csv(
            io.BytesIO(f'v\n"{quoted}"\n'.encode()), convert_options=pa_csv.ConvertOptions(column_types={"v": wanted})
        )
    except pa.ArrowInvalid:
        return False
    return True


def _null_if_empty(column: pa.Array) -> pa.Array:
    if column.type != pa.string():
        return column
    return pc.if_else(pc.equal(pc.binary_length(column), 0), pa.scalar(None, pa.string()), column)


def _unreadable(path: Path, names: Sequence[str], error: Exception) -> UserError:
    text = str(error)
    if "Empty CSV" in text:
        return UserError(f"{path} is empty: expected a header line and rows.", reason_code="empty_table")
    if match := _WIDTH.search(text):
        line = f"line {match[1]}" if match[1] else "a line"
        return UserError(f"{path}: {line} has {match[3]} fields where the header has {match[2]} columns.")
    if match := _CELL.search(text):
        line = f"line {match[2]}" if match[2] else "a line"
        return UserError(f"{path}: {line} holds {match[3]!r} in column {names[int(match[1])]!r}, which does not fit.")
    if "UTF8" in text or isinstance(error, UnicodeDecodeError):
        column = re.search(r"In CSV column #(\d+)", text)
        where = f" in column {names[int(column[1])]!r}" if column and int(column[1]) < len(names) else ""
        return UserError(f"{path} is not UTF-8 text{where}.", hint="Save the file as UTF-8.")
    return UserError(f"{path} cannot be read as CSV: {text.splitlines()[0]}.")
