"""Parquet files and folders of them as batches with one schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from holdfast.errors import UserError

_STREAM_BYTES = 1 << 17  # a column chunk is read through a buffer of this size, so that row groups may be large
_LARGE_DICTIONARY = 1 << 17  # compressed bytes of a dictionary page from which text is read as text
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class ParquetPart:
    """One file, its rows, its own columns, and the values that its folder's names give to all its rows."""

    path: Path
    rows: int
    schema: pa.Schema
    constants: dict[str, Any]


def open_parts(root: Path, files: Sequence[Path]) -> tuple[list[ParquetPart], pa.Schema]:
    """The parts of a table and the schema they share; UserError for damaged files or columns that do not fit."""
    names = [_partition_names(root, file) for file in files]
    constants = _typed_constants(names)
    parts = [_open_part(file, values) for file, values in zip(files, constants, strict=True)]
    return parts, _shared_schema(root, parts)


def part_batches(
    part: ParquetPart, schema: pa.Schema, columns: Sequence[str], batch_rows: int, *, dictionary: bool
) -> Iterator[pa.RecordBatch]:
    """The named columns of one file in the shared schema; with `dictionary`, text columns keep their dictionaries."""
    own = [name for name in columns if name in part.schema.names]
    try:
        encoded = _small_dictionaries(part.path, own) if dictionary else []
        with _reader(part.path, encoded) as reader:
            if not own:
                yield from _constant_batches(part, schema, columns, batch_rows)
                return
            for batch in reader.iter_batches(batch_size=batch_rows, columns=own):
                yield conform(batch, schema, columns, part.constants, dictionary=dictionary)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{part.path} is damaged: {_first_line(error)}.", hint="Write the file again.", reason_code="damaged_table"
        ) from error


def _small_dictionaries(path: Path, columns: Sequence[str]) -> list[str]:
    """The text columns whose dictionaries are worth keeping.

    A large one comes with every batch and costs more than the values themselves: 6 s instead of 1.6 s for ten million
    rows where one column of thirty has 430,000 values.
    """
    wanted = set(columns)
    with _reader(path, []) as reader:
        metadata, names = reader.metadata, {f.name for f in reader.schema_arrow if _is_text(plain_type(f.type))}
    sizes: dict[str, int] = {}
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            column = metadata.row_group(group).column(place)
            name = column.path_in_schema
            if name in names & wanted:
                start = column.dictionary_page_offset
                size = _LARGE_DICTIONARY if start is None else column.data_page_offset - start
                sizes[name] = max(sizes.get(name, 0), size)
    return [name for name in columns if sizes.get(name, _LARGE_DICTIONARY) < _LARGE_DICTIONARY]


def conform(
    batch: pa.RecordBatch, schema: pa.Schema, columns: Sequence[str], constants: dict[str, Any], *, dictionary: bool
) -> pa.RecordBatch:
    """`batch` with exactly `columns`, in the types of `schema`; what it lacks is constant or null."""
    arrays = []
    for name in columns:
        wanted = schema.field(name).type
        if name in batch.schema.names:
            column = batch.column(name)
            keeps = dictionary and pa.types.is_dictionary(column.type) and column.type.value_type == wanted
            arrays.append(column if keeps or column.type == wanted else column.cast(wanted))
        else:
            arrays.append(pa.repeat(pa.scalar(constants.get(name), wanted), batch.num_rows))
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def plain_type(data_type: pa.DataType) -> pa.DataType:
    """The type of the values: a dictionary's value type, text with 32-bit offsets."""
    if pa.types.is_dictionary(data_type):
        return plain_type(data_type.value_type)
    return pa.string() if _is_text(data_type) else data_type


def _is_text(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(data_type) or pa.types.is_large_string(data_type)) or data_type == pa.string_view()


def _reader(path: Path, dictionaries: Sequence[str]) -> pq.ParquetFile:
    return pq.ParquetFile(path, read_dictionary=list(dictionaries), pre_buffer=False, buffer_size=_STREAM_BYTES)


def _open_part(path: Path, constants: dict[str, Any]) -> ParquetPart:
    try:
        with _reader(path, []) as reader:
            schema, rows = reader.schema_arrow, reader.metadata.num_rows
    except PermissionError as error:
        raise UserError(f"{path} may not be read by this user.", hint="Check its permissions.") from error
    except (pa.ArrowException, OSError) as error:
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty: expected a Parquet file.", reason_code="empty_table") from error
        raise UserError(
            f"{path} is not a readable Parquet file: {_first_line(error)}.", reason_code="damaged_table"
        ) from error
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise UserError(f"{path} names the column {twice[0]!r} twice.", hint="Rename one of them.")
    return ParquetPart(path, rows, pa.schema([(f.name, plain_type(f.type)) for f in schema]), constants)


def _shared_schema(root: Path, parts: Sequence[ParquetPart]) -> pa.Schema:
    schema = parts[0].schema
    for part in parts[1:]:
        try:
            schema = pa.unify_schemas([schema, part.schema], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise UserError(f"{part.path} does not fit the other files of {root}: {_first_line(error)}.") from error
    for part in parts:
        for name in part.constants:
            if name not in schema.names:
                whole = any(isinstance(other.constants.get(name), int) for other in parts)
                schema = schema.append(pa.field(name, pa.int64() if whole else pa.string()))
    return schema


def _partition_names(root: Path, file: Path) -> dict[str, str | None]:
    if file == root:
        return {}
    pairs = [folder.split("=", 1) for folder in file.relative_to(root).parts[:-1] if "=" in folder]
    return {unquote(name): None if value == _NULL_PARTITION else unquote(value) for name, value in pairs}


def _typed_constants(names: Sequence[dict[str, str | None]]) -> list[dict[str, Any]]:
    """Partition values as whole numbers where every value of the name is one, else as text."""
    keys = {key for values in names for key in values}
    whole = {
        key
        for key in keys
        if all(v is None or (v.isascii() and v.isdigit()) for v in (values.get(key) for values in names))
    }
    return [{k: int(v) if v is not None and k in whole else v for k, v in values.items()} for values in names]


def _constant_batches(
    part: ParquetPart, schema: pa.Schema, columns: Sequence[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    for begin in range(0, part.rows, batch_rows):
        rows = min(batch_rows, part.rows - begin)
        arrays = [pa.repeat(pa.scalar(part.constants.get(name), schema.field(name).type), rows) for name in columns]
        yield pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
