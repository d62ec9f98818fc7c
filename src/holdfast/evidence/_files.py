"""What was appended to a log in files: whole new Parquet files in a folder, or rows at the end of one Parquet or CSV file."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from holdfast.errors import OutsideError, UserError
from holdfast.evidence import _columns as columns
from holdfast.evidence._arrow import same_text
from holdfast.evidence.rows import BATCH_ROWS

_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".csv.gz")
_FEW_VALUES = ("variant", "fault", "release", "name")  # worth reading as dictionaries
_STREAM_BYTES = 1 << 17  # a column chunk is read through a buffer of this size
_UNFINISHED = (pa.ArrowException, EOFError, gzip.BadGzipFile)


class Piece(Protocol):
    """A part of a log that is not read yet: how many rows it has, and its batches when it is called."""

    @property
    def rows(self) -> int: ...

    def __call__(self) -> Iterable[pa.RecordBatch]: ...


@dataclass(frozen=True)
class Given:
    """A part that is in memory."""

    batch: pa.RecordBatch

    @property
    def rows(self) -> int:
        return int(self.batch.num_rows)

    def __call__(self) -> Iterable[pa.RecordBatch]:
        return [self.batch]


@dataclass(frozen=True)
class Asked:
    """Which columns of a log are needed; `what` names the log in messages."""

    what: str
    required: Sequence[str]
    optional: Sequence[str]

    def among(self, schema: pa.Schema) -> list[str]:
        """The needed columns that are there; UserError where a required one is not."""
        columns.required(schema, self.required, self.what)
        return [name for name in (*self.required, *self.optional) if name in schema.names]


@dataclass(frozen=True)
class Appended:
    """Pieces to be read, in the order of the log, the position after them, and the files that are not finished yet."""

    pieces: Sequence[Piece]
    position: dict[str, Any]
    unfinished: tuple[str, ...] = ()


def appended(path: Path, asked: Asked, after: Mapping[str, Any] | None) -> Appended:
    """What came to the log at `path` since the position `after` (None: everything).

    OutsideError (`log_unavailable`) where it is not there or may not be read, UserError where it is no such log.
    """
    name = path.name.lower()
    try:
        if path.is_dir():
            return _folder(path, asked, after)
        if not path.exists():
            raise unavailable(
                f"There is no {asked.what} log at {path}.", "Check the path, and that the log is being written."
            )
        if name.endswith(_PARQUET):
            return _parquet(path, asked, after)
        if name.endswith(_CSV):
            return _csv(path, asked, after)
    except _UNFINISHED as error:
        raise unavailable(f"{path} cannot be read now: {_first_line(error)}.", "Have it written again.") from error
    except OSError as error:
        raise unavailable(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from error
    known = ", ".join((*_CSV, *_PARQUET))
    raise UserError(
        f"{path} is no {asked.what} log: expected a folder of Parquet files, or a file that ends in {known}."
    )


def unavailable(message: str, hint: str) -> OutsideError:
    return OutsideError(message, hint=hint, reason_code="log_unavailable")


def _folder(root: Path, asked: Asked, after: Mapping[str, Any] | None) -> Appended:
    """Files that cannot be parsed yet are left for the next time; those that were read are known by their names."""
    known = set(_field(after, "files", root)) if after is not None else set()
    pieces: list[Piece] = []
    unfinished = []
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root).as_posix()
        if name in known or not _is_log_file(name) or not file.is_file():
            continue
        try:
            pieces += row_groups(file, asked, 0, _partition(name))[0]
        except FileNotFoundError:
            continue  # gone since it was listed
        except (pa.ArrowException, OSError) as error:
            if getattr(error, "errno", None) is not None:
                raise  # the system's word, not Arrow's about the content
            unfinished.append(name)
            continue
        known.add(name)
    return Appended(pieces, {"files": sorted(known)}, tuple(unfinished))


def _parquet(path: Path, asked: Asked, after: Mapping[str, Any] | None) -> Appended:
    skipped = _field(after, "rows", path) if after is not None else 0
    pieces, rows = row_groups(path, asked, skipped, {})
    if rows < skipped:
        raise unavailable(
            f"{path} has {rows:,} rows: expected the {skipped:,} that were there and more.", "Read it anew."
        )
    return Appended(pieces, {"rows": rows})


def row_groups(
    file: Any, asked: Asked, skipped: int, constants: Mapping[str, str], until: int | None = None
) -> tuple[list[Piece], int]:
    """A piece for each row group that has rows beyond `skipped` (and before `until`), and the file's number of rows.

    `file` is a path, or an open file that one thread reads.
    """
    with pq.ParquetFile(file) as reader:
        schema, metadata = reader.schema_arrow, reader.metadata
    for name, value in constants.items():
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string(), metadata={"constant": value}))
    wanted = [schema.field(name) for name in asked.among(schema)]
    pieces: list[Piece] = []
    begin = 0
    for group in range(metadata.num_row_groups):
        count = metadata.row_group(group).num_rows
        window = max(skipped - begin, 0), count if until is None else min(until - begin, count)
        if window[0] < window[1]:
            pieces.append(_Group(file, metadata, group, wanted, *window))
        begin += count
    return pieces, metadata.num_rows


@dataclass(frozen=True)
class _Group:
    """The rows [begin, end) of one row group; a field with metadata has one value for all rows."""

    file: Any
    metadata: pq.FileMetaData
    group: int
    fields: list[pa.Field]
    begin: int
    end: int

    @property
    def rows(self) -> int:
        return self.end - self.begin

    def __call__(self) -> Iterator[pa.RecordBatch]:
        own = [field.name for field in self.fields if not _constant(field)]
        texts = {field.name for field in self.fields if field.type in (pa.string(), pa.large_string())}
        encoded = [name for name in _FEW_VALUES if name in own and name in texts]
        at = 0
        try:
            with self._open(encoded) as reader:
                for batch in reader.iter_batches(BATCH_ROWS, row_groups=[self.group], columns=own, use_threads=False):
                    first, last = max(self.begin - at, 0), min(self.end - at, batch.num_rows)
                    at += batch.num_rows
                    if first < last:
                        yield self._with_constants(batch.slice(first, last - first))
        except (pa.ArrowException, OSError) as error:
            raise unavailable(f"{self.file} is damaged: {_first_line(error)}.", "Have it written again.") from error

    def _open(self, encoded: list[str]) -> pq.ParquetFile:
        is_path = isinstance(
            self.file, Path
        )  # of anything else each piece is a request, so there are few and large ones
        options: dict[str, Any] = {"pre_buffer": not is_path, "buffer_size": _STREAM_BYTES if is_path else 0}
        return pq.ParquetFile(self.file, metadata=self.metadata, read_dictionary=encoded, **options)

    def _with_constants(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for field in self.fields:
            if _constant(field):
                value = same_text(field.metadata[b"constant"].decode(), batch.num_rows)
                batch = batch.append_column(field.name, value)
        return batch


def _csv(path: Path, asked: Asked, after: Mapping[str, Any] | None) -> Appended:
    """A last line that is not finished is left for the next time. Every column is read as text."""
    with _opened(path) as file:
        header = file.readline()
        begin = _field(after, "bytes", path) if after is not None else len(header)
        if not header.endswith(b"\n"):
            return Appended([], {"bytes": 0}, (path.name,))
        begin = max(begin, len(header))
        file.seek(begin - 1)
        content = file.read()
    if not content.startswith(b"\n"):  # the end of the last row that was read
        raise unavailable(f"{path} is no longer what it was in its first {begin:,} bytes.", "Read it anew.")
    content = content[1 : _complete(content)]
    table = _parsed(path, header + content, asked)
    pieces = [Given(batch) for batch in table.to_batches(max_chunksize=BATCH_ROWS)]
    return Appended(pieces, {"bytes": begin + len(content)})


def _parsed(path: Path, content: bytes, asked: Asked) -> pa.Table:
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    try:
        head = pa_csv.open_csv(io.BytesIO(content[: content.index(b"\n") + 1]), parse_options=parse).schema.names
        names = asked.among(pa.schema([(name, pa.string()) for name in head]))
        return pa_csv.read_csv(
            io.BytesIO(content),
            read_options=pa_csv.ReadOptions(use_threads=False),
            parse_options=parse,
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=names,
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} cannot be read as CSV: {_first_line(error)}.", reason_code="bad_log") from error


def _complete(content: bytes) -> int:
    """Where the last finished row ends: at the last line end that is not inside quotes."""
    end = content.rfind(b"\n")
    quotes = content.count(b'"', 0, end + 1)
    while end >= 0 and quotes % 2:
        before = content.rfind(b"\n", 0, end)
        quotes -= content.count(b'"', before + 1, end + 1)
        end = before
    return end + 1


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _is_log_file(name: str) -> bool:
    return name.lower().endswith(_PARQUET) and not any(part.startswith((".", "_")) for part in name.split("/"))


def _partition(name: str) -> dict[str, str]:
    """The values that the folders' names give, as in `variant=canary/0001.parquet`."""
    return {key: unquote(value) for key, _, value in (part.partition("=") for part in name.split("/")[:-1]) if value}


def _constant(field: pa.Field) -> bool:
    return field.metadata is not None and b"constant" in field.metadata


def _field(after: Mapping[str, Any], name: str, path: Path) -> Any:
    if name not in after:
        found = ", ".join(after) or "nothing"
        raise UserError(
            f"The position in {path} to read on from holds {found}: expected {name!r}.", hint="Read it anew."
        )
    return after[name]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
