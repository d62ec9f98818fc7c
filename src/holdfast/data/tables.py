"""Tables as users have them: a CSV file, a Parquet file, or a folder of Parquet files (flat or hive-partitioned)."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from holdfast.data._csv import csv_batches, infer_csv
from holdfast.data._parquet import ParquetPart, open_parts, part_batches
from holdfast.errors import UserError
from holdfast.store.content import canonical_json, digest, digest_file

BATCH_ROWS = 65_536  # 30 columns of numbers and dictionary codes in one batch are about 15 MB

_CSV = (".csv", ".csv.gz")
_PARQUET = (".parquet", ".pq")


class Table:
    """A table on disk that is read batch by batch, always in the same row order.

    `schema` holds plain types (text is `string`, dictionaries are their values), `notes` sentences on what reading it
    decided. Made by `open_table`.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[Path],
        schema: pa.Schema,
        num_rows: int,
        *,
        parts: Sequence[ParquetPart] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.files = tuple(files)
        self.schema = schema
        self.num_rows = num_rows
        self.notes = tuple(notes)
        self._parts = tuple(parts)

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self.schema.names)

    def batches(
        self, columns: Sequence[str] | None = None, batch_rows: int = BATCH_ROWS, *, dictionary: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """Batches of at most `batch_rows` rows with the named columns (all by default), in the table's types.

        With `dictionary`, text columns may come as dictionary arrays, which is much faster to count. Memory is one
        batch and the reader's buffers. Raises UserError for an unknown column or damaged content.
        """
        names = self.columns if columns is None else list(columns)
        for name in names:
            if name not in self.schema.names:
                raise UserError(f"{self.path} has no column {name!r}.", hint=f"It has {', '.join(self.columns[:12])}.")
        if self._parts:
            for part in self._parts:
                yield from part_batches(part, self.schema, names, batch_rows, dictionary=dictionary)
            return
        for batch in csv_batches(self.path, self.schema, names):
            for begin in range(0, batch.num_rows, batch_rows):
                yield batch.slice(begin, batch_rows)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The named columns (all by default) in memory."""
        names = self.columns if columns is None else list(columns)
        schema = pa.schema([self.schema.field(name) for name in names if name in self.schema.names])
        return pa.Table.from_batches(self.batches(names), schema=schema)

    def content_hash(self, memory: MutableMapping[str, Any] | None = None) -> str:
        """`sha256:<hex>` of the files' names inside the table and their content.

        `memory` maps a path to [size, mtime_ns, inode, digest]; a file whose first three are unchanged is not read
        again. It is updated in place. The name of a table that is one file does not count.
        """
        alone = self.files == (self.path,)
        names = ["" if alone else file.relative_to(self.path).as_posix() for file in self.files]
        return digest(
            canonical_json([[name, _file_digest(f, memory)] for name, f in zip(names, self.files, strict=True)])
        )


def open_table(path: str | Path) -> Table:
    """The table at `path`; UserError in one sentence where there is none, it is empty, or it cannot be read."""
    path = Path(path)
    try:
        if not path.exists():
            raise UserError(f"There is no table at {path}.", hint="Check the path; it is relative to the project file.")
        table = _open_folder(path) if path.is_dir() else _open_file(path)
    except PermissionError as error:
        raise UserError(f"{path} may not be read by this user.", hint="Check its permissions.") from error
    if table.num_rows == 0:
        raise UserError(f"{path} has no rows: expected at least one.", reason_code="empty_table")
    return table


def _open_file(path: Path) -> Table:
    name = path.name.lower()
    if name.endswith(_PARQUET):
        return _open_parquet(path, [path])
    if name.endswith(_CSV):
        with path.open("rb"):
            pass  # Arrow's own message for a file that may not be read names no cause
        shape = infer_csv(path)
        return Table(path, [path], shape.schema, shape.rows, notes=shape.notes)
    raise UserError(
        f"{path} has an unknown extension: expected {', '.join((*_CSV, *_PARQUET))} or a folder of Parquet."
    )


def _open_folder(path: Path) -> Table:
    files = sorted(file for file in path.rglob("*") if file.name.lower().endswith(_PARQUET) and not _hidden(path, file))
    if not files:
        raise UserError(f"The folder {path} holds no Parquet file.", hint="Name a file, or a folder of .parquet files.")
    return _open_parquet(path, files)


def _open_parquet(path: Path, files: Sequence[Path]) -> Table:
    parts, schema = open_parts(path, files)
    if not schema.names:
        raise UserError(f"{path} has no columns.", reason_code="empty_table")
    return Table(path, files, schema, sum(part.rows for part in parts), parts=parts)


def _hidden(root: Path, file: Path) -> bool:
    return any(part.startswith((".", "_")) for part in file.relative_to(root).parts)


def _file_digest(file: Path, memory: MutableMapping[str, Any] | None) -> str:
    if memory is None:
        return digest_file(file)
    before = _state(file)
    known = memory.get(str(file))
    if known is not None and list(known[:3]) == before:
        return str(known[3])
    found = digest_file(file)
    if _state(file) == before:
        memory[str(file)] = [*before, found]
    else:
        memory.pop(str(file), None)
    return found


def _state(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]
