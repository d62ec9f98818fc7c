"""What keeps the log tables small and quick: small files are merged, old days go, files that no version has are deleted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa

from holdfast.evidence.delta import DataFile, DeltaTables, LogTable, day_of
from holdfast.evidence.delta_log import Origin, moved
from holdfast.ledger import Ledger
from holdfast.serving.log.appending import discard, has_forgotten, pause, steadily
from holdfast.serving.log.forgotten import stream_of

SMALL = 8 * 2**20  # bytes; files below it are merged…
MANY = 32  # …when so many of them have the same day, model and variant…
TARGET = 32 * 2**20  # …into files of about this size
_TRIES = 20


@dataclass(frozen=True)
class Tidied:
    """What one upkeep did: files that were merged, files that were deleted, and rows that were too old."""

    merged: int = 0
    deleted: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Retained:
    """What is older than `before`, of predictions and of outcomes together; it is gone unless that was asked only."""

    before: date
    rows: int = 0
    outcomes: int = 0
    files: int = 0
    size: int = 0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "before": self.before.isoformat()}


def tidy(tables: DeltaTables, now: datetime, keep: timedelta | None = None) -> Tidied:
    """Merge, retain (`keep` None keeps all) and delete, every few minutes, by any replica. Raises OutsideError."""
    old = retain(tables, now, keep) if keep is not None else None
    rows = 0 if old is None else old.rows + old.outcomes
    return Tidied(sum(map(merge, tables)), sum(table.vacuum() for table in tables), rows)


def merge(table: LogTable) -> int:
    """Small files of the same partition become one; how many there were. What others are at is left for the next time."""
    table.refresh()
    return sum(len(batch) for batch in mergeable(table.files()) if _merge(table, batch))


def mergeable(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    """Which files are to become one, in their order. Pure."""
    small = defaultdict(list)
    for file in files:
        if file.size < SMALL:
            small[tuple(file.partition.values())].append(file)
    for group in small.values():
        if len(group) >= MANY:
            yield from (batch for batch in _batches(group) if len(batch) > 1)


def retain(tables: DeltaTables, now: datetime, keep: timedelta, *, dry_run: bool = False) -> Retained:
    """Delete the days that ended more than `keep` ago, as a whole; rows without a time stay. With `dry_run` only count."""
    before = day_of(now - keep)
    gone = [_old(table, before) if dry_run else _removed(table, before) for table in tables]
    rows, outcomes = (sum(file.rows for file in files) for files in gone)
    every = [file for files in gone for file in files]
    return Retained(before, rows, outcomes, len(every), sum(file.size for file in every))


def record_retained(ledger: Ledger, model: str, done: Retained) -> None:
    """Say in the ledger what was deleted on somebody's word; nothing where nothing was."""
    if done.files:
        ledger.append_latest(stream_of(model), "log_retained", done.to_json())


def _merge(table: LogTable, batch: Sequence[DataFile]) -> bool:
    rows = steadily(table, lambda: _rows(table, batch))
    if rows is None:
        return False
    new = table.write_into(batch[0].partition, rows)
    notes = moved({new.path: [Origin(file.path, file.rows) for file in batch]})
    for attempt in range(_TRIES):
        base = table.version
        if table.commit(add=[new], remove=batch, changes=False, notes=notes):
            return True
        if has_forgotten(table, base) or not _are_there(table, batch):
            break
        pause(attempt)
    discard(table, [new])
    return False


def _rows(table: LogTable, batch: Sequence[DataFile]) -> pa.Table | None:
    """The rows of all of them; None where they are not all there any more."""
    return pa.concat_tables([table.read(file) for file in batch]) if _are_there(table, batch) else None


def _are_there(table: LogTable, batch: Sequence[DataFile]) -> bool:
    return {file.path for file in batch} <= {file.path for file in table.files()}


def _batches(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    batch: list[DataFile] = []
    for file in files:
        batch.append(file)
        if sum(one.size for one in batch) >= TARGET:
            yield batch
            batch = []
    if batch:
        yield batch


def _old(table: LogTable, before: date) -> list[DataFile]:
    table.refresh()
    return [file for file in table.files() if file.day is not None and file.day < before]


def _removed(table: LogTable, before: date) -> list[DataFile]:
    """The old files, which are in no version from now on and deleted."""
    attempt = 0
    while old := _old(table, before):
        if table.commit(remove=old):
            table.purge(file.path for file in old)
            break
        attempt += 1
        pause(attempt)
    return old
