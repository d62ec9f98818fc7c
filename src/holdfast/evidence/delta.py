"""The two log tables as Delta Lake tables in the store, in a form that DuckDB, Polars and Spark read as they are."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from holdfast.errors import Damaged, OutsideError, UserError
from holdfast.evidence._delta_actions import NOTES, UNKNOWN, Change, DataFile, actions_of, listed_files, parsed_commit
from holdfast.evidence._partitions import DAY, Layout, day_of, statistics
from holdfast.evidence._threads import in_threads
from holdfast.store import Store

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = [
    "UNKNOWN",
    "Change",
    "DataFile",
    "DeltaTables",
    "LogTable",
    "day_of",
    "existing_tables",
    "explained",
    "open_tables",
]

PREDICTIONS = Layout(
    pa.schema(
        [
            ("prediction_id", pa.string()),
            ("time", pa.timestamp("us", "UTC")),
            ("version", pa.string()),
            ("served_by", pa.string()),
            ("unit", pa.string()),
            ("latency_ms", pa.float64()),
            ("fault", pa.string()),
            ("output", pa.string()),
            ("release", pa.string()),
            ("epoch", pa.int64()),
            ("share", pa.float64()),
            ("override", pa.bool_()),
            ("row", pa.int32()),
            ("inputs", pa.string()),
        ]
    ),
    (DAY, "model", "variant"),
    ("version", "served_by", "unit", "fault", "release", "epoch", "share", "row"),
)
OUTCOMES = Layout(
    pa.schema(
        [
            ("prediction_id", pa.string()),
            ("time", pa.timestamp("us", "UTC")),
            ("name", pa.string()),
            ("value", pa.float64()),
            ("row", pa.int32()),
            ("event_id", pa.string()),
        ]
    ),
    (DAY,),
    ("name", "value", "row"),
)
SAFE_AGE = timedelta(days=1)  # for readers of an older version of the table to finish
_SETTINGS = {
    "delta.dataSkippingStatsColumns": "time",
    "delta.deletedFileRetentionDuration": "interval 1 days",
    "delta.logRetentionDuration": "interval 7 days",  # how long a reader may sleep and still be told what is new
}


class LogTable:
    """One table as it is at `version`. Not for several threads at once.

    Whoever changes it decides by what he sees at `version` and commits on top of exactly that: where somebody else was first
    `commit` is False and the table is as that one left it. So no change is ever decided on a state that is not there any more.
    Every method raises OutsideError where the store cannot be reached.
    """

    def __init__(self, store: Store, key: str, layout: Layout, delta: DeltaTable) -> None:
        self.store, self.key, self.layout = store, key, layout
        self._delta = delta

    @property
    def version(self) -> int:
        return self._delta.version()

    @property
    def id(self) -> str:
        """Another one where the table was deleted and made anew."""
        return str(self._delta.metadata().id)

    def refresh(self) -> None:
        """Look at the latest version."""
        from deltalake.exceptions import DeltaError

        with explained(self.store):
            try:
                self._delta.update_incremental()
            except DeltaError:  # the commits between are no longer there
                self._delta = _delta(self.store.place(self.key))

    def files(self) -> list[DataFile]:
        """The files of this version in the order in which they were written."""
        with explained(self.store):
            actions = pa.RecordBatchReader.from_stream(self._delta.get_add_actions(flatten=True)).read_all()
        return sorted(listed_files(actions, self.layout.partitions), key=lambda file: (file.modified, file.path))

    def cursor(self, writer: str) -> int:
        """How far `writer` had come with its last commit; −1 where it never wrote."""
        with explained(self.store):
            found = self._delta.transaction_version(writer)
        return -1 if found is None else found

    def write(self, rows: pa.Table) -> list[DataFile]:
        """Files with these rows, one for each value of the partition columns; they are not part of the table yet."""
        return in_threads(lambda part: self.write_into(*part), self.layout.spread(rows))

    def write_into(self, partition: Mapping[str, str | None], rows: pa.Table) -> DataFile:
        """One file with these rows, which have the columns of `read`; it is not part of the table yet."""
        content = self.layout.parquet(rows)
        path = f"{self.layout.folder(partition)}/{uuid.uuid4().hex}.parquet"
        self.store.put(f"{self.key}/{path}", content)
        return DataFile(path, len(content), partition, statistics(rows), int(time.time() * 1000))

    def source(self, file: DataFile) -> Any:
        """What pyarrow reads the content of a file from; OSError where it is not there."""
        return self.store.source(f"{self.key}/{file.path}")

    def read(self, file: DataFile, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a file, in their order, without the partition columns. Damaged where it is no such file."""
        with explained(self.store):
            try:
                with pq.ParquetFile(self.source(file), pre_buffer=True) as reader:
                    return self.layout.as_laid_out(reader.read(columns=columns and list(columns)))
            except pa.ArrowException as error:
                raise Damaged(f"{file.path} of the log {self.key} cannot be read: {_first_line(error)}.") from error

    def commit(
        self,
        *,
        add: Sequence[DataFile] = (),
        remove: Sequence[DataFile] = (),
        changes: bool = True,
        cursors: Mapping[str, int] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> bool:
        """One commit on top of `version`; False where another was first.

        `changes` is False where the rows are the same as before, in other files. `cursors` says how far each writer has come.
        On True everything is on disk.
        """
        from deltalake.exceptions import CommitFailedError
        from deltalake.transaction import CommitProperties, Transaction

        base = self.version
        properties = CommitProperties(
            custom_metadata={NOTES: dict(notes)} if notes else None,
            max_commit_retries=0,
            app_transactions=[Transaction(*cursor) for cursor in (cursors or {}).items()] or None,
        )
        with explained(self.store):
            try:
                self._delta.create_write_transaction(
                    actions_of(add, remove, changes),
                    "append",
                    self.layout.schema,
                    list(self.layout.partitions),
                    commit_properties=properties,
                )
            except CommitFailedError:
                self._delta.update_incremental()
                if self.version > base:
                    return False
                raise
            self._sync(base + 1)
            self._delta.update_incremental()
        return True

    def changes(self, after: int) -> list[Change]:
        """The commits after version `after`, in their order. OutsideError where they are no longer all there."""
        return [self._change(version) for version in range(after + 1, self.version + 1)]

    def purge(self, paths: Iterable[str]) -> None:
        """Delete these files, which no version from now on has."""
        for path in paths:
            self.store.delete(f"{self.key}/{path}")

    def listed(self) -> set[str]:
        """The paths of all Parquet files in the table's folder, whether they belong to a version or not."""
        begin = len(self.key) + 1
        found = (key[begin:] for key in self.store.list(f"{self.key}/{DAY}="))
        return {path for path in found if path.endswith(".parquet")}

    def vacuum(self) -> int:
        """Delete the files that no version has had for `SAFE_AGE`; returns how many there were."""
        self.store.clean(self.key, SAFE_AGE)
        with explained(self.store):
            gone = self._delta.vacuum(dry_run=True, full=True)
            if gone:
                self._delta.vacuum(dry_run=False, full=True)
                self._delta.update_incremental()
        return len(gone)

    def _change(self, version: int) -> Change:
        data = self.store.get(f"{self.key}/{_log_file(version)}")
        if data is None:
            raise OutsideError(
                f"the log {self.key} in {self.store.url} no longer says what was new in its version {version}.",
                hint="Read it anew.",
                reason_code="log_unavailable",
            )
        return parsed_commit(data)

    def _sync(self, version: int) -> None:
        """Put a commit on a local disk for good, as the store does with all that it writes itself."""
        place = self.store.place(f"{self.key}/{_log_file(version)}")
        if not _is_url(place):
            for path in (Path(place), Path(place).parent):
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)


@dataclass(frozen=True)
class DeltaTables:
    """The two tables of one model."""

    predictions: LogTable
    outcomes: LogTable

    def __iter__(self) -> Iterator[LogTable]:
        return iter((self.predictions, self.outcomes))


def open_tables(store: Store, model: str) -> DeltaTables:
    """The tables of `model`, made where there are none. OutsideError where the store is away, UserError where it is memory."""
    predictions, outcomes = (_opened(store, key, layout) or _made(store, key, layout) for key, layout in _keys(model))
    return DeltaTables(predictions, outcomes)


def existing_tables(store: Store, model: str) -> DeltaTables | None:
    """The tables of `model`; None where there are none."""
    found = [_opened(store, key, layout) for key, layout in _keys(model)]
    return DeltaTables(found[0], found[1]) if found[0] is not None and found[1] is not None else None


@contextlib.contextmanager
def explained(store: Store) -> Iterator[None]:
    """Errors of Delta Lake and of the disk as ours."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, OSError) as error:
        raise OutsideError(
            f"the log tables in the store {store.url} could not be reached: {_first_line(error)}.",
            hint="Check its URL, the network, the credentials and its room.",
            reason_code="store_unavailable",
        ) from error


def _keys(model: str) -> list[tuple[str, Layout]]:
    return [(f"log/{model}/predictions", PREDICTIONS), (f"log/{model}/outcomes", OUTCOMES)]


def _opened(store: Store, key: str, layout: Layout) -> LogTable | None:
    from deltalake.exceptions import TableNotFoundError

    place = store.place(key)
    if place.startswith("memory:"):
        raise UserError("the log tables cannot be in a store in memory.", hint="Use a folder, s3://, gs:// or az://.")
    with explained(store):
        try:
            return LogTable(store, key, layout, _delta(place))
        except TableNotFoundError:
            return None


def _made(store: Store, key: str, layout: Layout) -> LogTable:
    """A new table; where another makes it at the same moment, that one's."""
    from deltalake import CommitProperties, DeltaTable
    from deltalake.exceptions import DeltaError

    place = store.place(key)
    with explained(store):
        if not _is_url(place):
            Path(place).mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            DeltaTable.create(
                place,
                layout.schema,
                partition_by=list(layout.partitions),
                configuration=_SETTINGS,
                storage_options=_options(place),
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        except DeltaError:
            if (found := _opened(store, key, layout)) is None:
                raise
            return found
    found = _opened(store, key, layout)
    assert found is not None  # noqa: S101 - it was made just now
    return found


def _delta(place: str) -> DeltaTable:
    from deltalake import DeltaTable

    return DeltaTable(place, storage_options=_options(place))


def _options(place: str) -> dict[str, str] | None:
    if not _is_url(place):
        return None
    from holdfast.store.bucket import foreign_options

    return foreign_options(place)


def _log_file(version: int) -> str:
    return f"_delta_log/{version:020}.json"


def _is_url(place: str) -> bool:
    return "://" in place


def _first_line(error: BaseException) -> str:
    return " ".join((str(error).strip() or type(error).__name__).splitlines()[0].split())[:300].rstrip(".")
