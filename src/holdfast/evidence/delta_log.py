"""The two Delta tables as a log that is read on: what was appended since a version, wherever those rows are now."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from holdfast.errors import OutsideError
from holdfast.evidence._files import Appended, Asked, row_groups, unavailable
from holdfast.evidence.delta import UNKNOWN, Change, DataFile, DeltaTables, LogTable, existing_tables
from holdfast.evidence.log import OUTCOMES, PREDICTIONS, Position, Slice, sliced
from holdfast.store import Store

Removed = Sequence[tuple[int, int]]  # [begin, end) of rows that are gone, in their order


@dataclass(frozen=True)
class Origin:
    """Rows of a file that stand in another one now: all of `path`, which had `rows`, without the `removed` ones."""

    path: str
    rows: int
    removed: Removed = ()

    @property
    def kept(self) -> int:
        return self.before(self.rows)

    def before(self, row: int) -> int:
        """Where row `row` stands among those that are kept."""
        return row - sum(min(end, row) - begin for begin, end in self.removed if begin < row)

    def to_json(self) -> list[Any]:
        return [self.path, self.rows, [list(gone) for gone in self.removed]]

    @classmethod
    def from_json(cls, document: Sequence[Any]) -> Origin:
        path, rows, removed = document
        return cls(path, rows, [(begin, end) for begin, end in removed])


@dataclass(frozen=True)
class Part:
    """The rows [begin, end) of a file."""

    file: DataFile
    begin: int
    end: int


@dataclass(frozen=True)
class _Piece:
    """A part that is opened when it is read."""

    table: LogTable
    part: Part
    asked: Asked

    @property
    def rows(self) -> int:
        return self.part.end - self.part.begin

    def __call__(self) -> Iterator[pa.RecordBatch]:
        file = self.part.file
        constants = {name: value or "" for name, value in file.partition.items()}
        try:
            pieces, _ = row_groups(self.table.source(file), self.asked, self.part.begin, constants, self.part.end)
        except (OSError, pa.ArrowException) as error:
            raise unavailable(
                f"{file.path} of {self.table.key} cannot be read: {getattr(error, 'strerror', None) or error}.",
                "Try it again.",
            ) from error
        for piece in pieces:
            yield from piece()


class DeltaLog:
    """The log of `model` in `store` as `holdfast.evidence.log.take` reads it.

    Files that were only written anew (small ones merged, one user's rows taken out) are no news: their commit says where the
    rows of each file went, so a reader that slept through it finds what it has not read yet, and nothing twice.
    """

    def __init__(self, store: Store, model: str) -> None:
        self.store, self.model = store, model
        self._tables: DeltaTables | None = None

    def read(self, after: Position | None) -> tuple[Slice, Position]:
        return sliced(*self.appended(after))

    def appended(self, after: Position | None) -> tuple[Appended, Appended]:
        """What `read` reads, as pieces that are not read yet."""
        tables = self._opened()
        predictions = _appended(tables.predictions, PREDICTIONS, after and after["predictions"])
        return predictions, _appended(tables.outcomes, OUTCOMES, after and after["outcomes"])

    def _opened(self) -> DeltaTables:
        if self._tables is None:
            self._tables = existing_tables(self.store, self.model)
        if self._tables is None:
            raise unavailable(
                f"There is no prediction log of {self.model} in {self.store.url}.",
                "It is made when the gateway has logged something: `holdfast log show`.",
            )
        return self._tables


def moved(origins: Mapping[str, Sequence[Origin]]) -> dict[str, Any]:
    """The notes of a commit that writes rows anew: for each new file what it was made of, in its order."""
    return {"moved": {path: [origin.to_json() for origin in made_of] for path, made_of in origins.items()}}


def follow(parts: Sequence[Part], change: Change) -> list[Part]:
    """The same rows after a commit, and those that it appended. Pure.

    A commit that removes files appends nothing, whoever made it: it writes rows anew, or it deletes them.
    """
    if not change.removed:
        return [*parts, *(Part(file, 0, file.rows) for file in change.added)]
    into = _destinations(change)
    return [now for part in parts for now in _followed(part, change, into)]


def _destinations(change: Change) -> dict[str, tuple[DataFile, int, Origin]]:
    """For each file that was written anew: where it is now, and from which row on."""
    found = {}
    files = {file.path: file for file in change.added}
    for path, made_of in change.notes.get("moved", {}).items():
        begin = 0
        for origin in map(Origin.from_json, made_of):
            found[origin.path] = (files[path], begin, origin)
            begin += origin.kept
    return found


def _followed(part: Part, change: Change, into: Mapping[str, tuple[DataFile, int, Origin]]) -> Iterator[Part]:
    path = part.file.path
    if path in into:
        file, offset, origin = into[path]
        begin, end = offset + origin.before(part.begin), offset + origin.before(part.end)
        if end > begin:
            yield Part(file, begin, end)
    elif path not in change.removed or (change.added and not change.notes):
        yield part  # somebody else's tool wrote it anew and does not say where: the old file stays for a day
    elif not change.removed[path]:
        yield part


def _appended(table: LogTable, asked: Asked, after: Mapping[str, Any] | None) -> Appended:
    try:
        table.refresh()
        pieces = [_Piece(table, part, asked) for part in _parts(table, after)]
    except OutsideError as error:
        raise OutsideError(error.message, hint=error.hint, reason_code="log_unavailable") from error
    return Appended(pieces, {"table": table.id, "version": table.version})


def _parts(table: LogTable, after: Mapping[str, Any] | None) -> list[Part]:
    if not after:
        return [_whole(table, file) for file in table.files()]
    if after.get("table") != table.id:
        raise unavailable(f"The table {table.key} is not the one that was read before.", "Read it anew.")
    found: list[Part] = functools.reduce(follow, table.changes(after["version"]), [])
    return [part if part.end < UNKNOWN else _whole(table, part.file) for part in found]


def _whole(table: LogTable, file: DataFile) -> Part:
    rows = file.rows
    if rows == UNKNOWN:
        rows = table.read(file, ["time"]).num_rows
    return Part(file, 0, rows)
