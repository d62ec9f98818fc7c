"""Sealed segments become rows of the log tables, each exactly once, and are deleted only when the rows are there for good.

The table itself says how far each replica's segments have been taken (a Delta transaction for each folder and replica), in the
same commit as the rows. So there is nothing that could disagree with it after a crash, wherever it came.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from holdfast.errors import Damaged, HoldfastError, OutsideError
from holdfast.evidence.delta import DeltaTables, LogTable
from holdfast.serving.log.appending import Addition, append
from holdfast.serving.log.cursor import is_shipped
from holdfast.serving.log.encoding import outcomes_table_of, table_of
from holdfast.serving.log.forgotten import Forgotten
from holdfast.serving.log.payloads import Payloads
from holdfast.serving.log.segments import DAMAGED, damaged, make_private, place, read_payloads, seal_orphans, sealed

PREDICTIONS, OUTCOMES = "predictions", "outcomes"  # the streams, and the tables that they become
BATCH_BYTES = 64 * 2**20  # of segments in one commit: a few times that in memory
_READ_BYTES = 4 * 2**20
_IDENTITY = "identity"


@dataclass(frozen=True)
class Compacted:
    """What one compaction did. `size` is in bytes of segments, `dropped` are rows of units that were forgotten.

    `damaged` names what was kept aside; a complaint says what stays as it is until the next time, and why.
    """

    rows: int = 0
    outcomes: int = 0
    segments: int = 0
    size: int = 0
    dropped: int = 0
    damaged: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __add__(self, other: Compacted) -> Compacted:
        return Compacted(
            self.rows + other.rows,
            self.outcomes + other.outcomes,
            self.segments + other.segments,
            self.size + other.size,
            self.dropped + other.dropped,
            self.damaged + other.damaged,
            self.complaints + other.complaints,
        )


def compact(
    folder: str | Path,
    tables: DeltaTables,
    forgotten: Callable[[], Forgotten] = Forgotten,
    *,
    most: int = BATCH_BYTES,
) -> Compacted:
    """Bring all sealed segments in `folder` into the tables; several may do that at once.

    `forgotten` is asked whose rows must not come back. Never raises for what is away or damaged: that is a complaint, the
    segments stay, and the next compaction tries again.
    """
    folder = Path(folder)
    found = Compacted()
    for stream, table in ((PREDICTIONS, tables.predictions), (OUTCOMES, tables.outcomes)):
        if (folder / stream).is_dir():
            before = set(damaged(folder, stream))
            found += _compacted(folder, stream, table, forgotten, most)
            found += Compacted(damaged=tuple(str(path) for path in damaged(folder, stream) if path not in before))
    return found


def folder_identity(folder: Path) -> str:
    """A name for this folder that no other has: replicas elsewhere may have the same name, and a folder may be made anew."""
    path = folder / _IDENTITY
    if not path.exists():
        make_private(folder)
        temporary = folder / f".{_IDENTITY}-{secrets.token_hex(8)}"
        temporary.write_text(secrets.token_hex(8))
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            pass  # another process was first
        finally:
            temporary.unlink()
    return path.read_text().strip()


def _compacted(folder: Path, stream: str, table: LogTable, forgotten: Callable[[], Forgotten], most: int) -> Compacted:
    batcher = _Batcher(folder, stream, table, forgotten)
    try:
        seal_orphans(folder, stream)
        batches = [*_batches(sealed(folder, stream), most), []]
        for batch, following in pairwise(batches):
            batcher.take(batch, following)
    except HoldfastError as error:
        batcher.complain(str(error))
    except OSError as error:
        batcher.complain(f"{folder / stream}: {error.strerror or error}.")
    finally:
        batcher.close()
    return batcher.found


class _NoRecords(Exception):
    """A segment whose records are whole, and are none that we know."""


class _Batcher:
    """Takes segments of one stream. A replica whose next segment cannot be read has to wait, so that nothing is passed over.

    While one batch is written, which needs little of Python, the next one is decoded, which needs nothing else.
    """

    def __init__(self, folder: Path, stream: str, table: LogTable, forgotten: Callable[[], Forgotten]) -> None:
        self.folder, self.stream, self.table, self.forgotten = folder, stream, table, forgotten
        self.decoded = table_of if stream == PREDICTIONS else outcomes_table_of
        self.found = Compacted()
        self._ahead: dict[Path, Future[pa.Table]] = {}
        self._thread = ThreadPoolExecutor(1, "holdfast-decode")
        self._waiting: set[str] = set()
        self._dropped = 0

    def complain(self, sentence: str) -> None:
        """Say what stays as it is."""
        self.found += Compacted(complaints=(sentence,))

    def close(self) -> None:
        """Decode no more."""
        self._thread.shutdown(cancel_futures=True)

    def take(self, batch: Sequence[Path], following: Sequence[Path] = ()) -> None:
        """The segments' rows into the table, then the segments away, unless Kafka has not got them yet."""
        sizes = {path: path.stat().st_size for path in batch if path.exists()}
        addition = append(self.table, lambda: self._addition(batch, following))
        taken = [path for path in batch if not self._is_new(path)]
        for path in filter(is_shipped, taken):
            path.unlink(missing_ok=True)
        if addition is not None:
            count, size = addition.rows.num_rows, sum(sizes.get(path, 0) for path in taken)
            rows, outcomes = (count, 0) if self.stream == PREDICTIONS else (0, count)
            self.found += Compacted(rows, outcomes, len(taken), size, self._dropped)

    def _addition(self, batch: Sequence[Path], following: Sequence[Path]) -> Addition | None:
        """The rows of the segments that the table does not have yet, and how far each replica has come with them."""
        tables, cursors = [], {}
        for path in filter(self._is_new, batch):
            writer, number = self._writer(path), place(path)[1]
            if writer in self._waiting:
                continue
            rows = self._rows(path)
            if rows is None:
                self._waiting.add(writer)
                continue
            tables.append(rows)
            cursors[writer] = number
        self._ahead |= {path: self._thread.submit(self._decode, path) for path in filter(self._is_new, following)}
        if not cursors:
            return None
        rows = pa.concat_tables(tables)
        kept = self.forgotten().without(rows) if self.stream == PREDICTIONS else rows
        self._dropped = rows.num_rows - kept.num_rows
        return Addition(kept, cursors)

    def _is_new(self, path: Path) -> bool:
        return place(path)[1] > self.table.cursor(self._writer(path))

    def _rows(self, path: Path) -> pa.Table | None:
        """What a segment holds; None where it cannot be told now."""
        ahead = self._ahead.pop(path, None)
        try:
            return self._decode(path) if ahead is None else ahead.result()
        except FileNotFoundError:
            self._check_taken(path)
        except _NoRecords as error:
            self._set_aside(path, error)
        except HoldfastError as error:
            self.complain(str(error))
            return None
        return self.decoded([])

    def _decode(self, path: Path) -> pa.Table:
        return pa.concat_tables([self._table(payloads) for payloads in _parts(path)] or [self.decoded([])])

    def _table(self, payloads: Payloads) -> pa.Table:
        try:
            return self.decoded(payloads)
        except (Damaged, ValueError, pa.ArrowException) as error:
            raise _NoRecords(str(error)) from error

    def _check_taken(self, path: Path) -> None:
        """Another compaction took it: the table says so, and `append` asks again for what is to be done."""
        self.table.refresh()
        if self._is_new(path):
            raise OutsideError(
                f"the segment {path} was deleted before its rows were in the log.", reason_code="log_lost"
            )

    def _set_aside(self, path: Path, error: Exception) -> None:
        aside = path.parent / DAMAGED / path.name
        make_private(aside.parent)
        with contextlib.suppress(FileNotFoundError):  # another compaction was first
            path.replace(aside)
        message = (
            f"{path.name} holds what is no record of this release of Holdfast; it is kept in {aside.parent}: {error}"
        )
        self.found += Compacted(damaged=(str(aside),), complaints=(message,))

    def _writer(self, path: Path) -> str:
        return f"{folder_identity(self.folder)}/{place(path)[0]}"


def _parts(path: Path) -> Iterator[Payloads]:
    """The records of a segment, few enough at once for the processor's cache."""
    payloads, offset = read_payloads(path, most=_READ_BYTES)
    while payloads:
        yield payloads
        payloads, offset = read_payloads(path, offset, most=_READ_BYTES)


def _batches(segments: Sequence[Path], most: int) -> Iterator[list[Path]]:
    """Neighbours of together about `most` bytes, at least one."""
    batch: list[Path] = []
    size = 0
    for path in segments:
        own = path.stat().st_size if path.exists() else 0
        if batch and size + own > most:
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += own
    if batch:
        yield batch
