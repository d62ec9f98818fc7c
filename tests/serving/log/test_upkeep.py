from __future__ import annotations

import os
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.evidence.delta import DataFile, DeltaTables, LogTable, open_tables
from holdfast.ledger import Ledger
from holdfast.serving.log import upkeep
from holdfast.serving.log.compaction import compact
from holdfast.serving.log.upkeep import merge, mergeable, record_retained, retain, tidy
from holdfast.store import open_store
from tests.serving.log.segments_of import BEGIN, HOUR, ids_of, numbered, outcomes, predictions, write_segments

NOW = datetime.fromtimestamp(BEGIN / 1e6, UTC)


@pytest.fixture
def tables(any_store_url: str) -> DeltaTables:
    return open_tables(open_store(any_store_url), "m")


def fill(tables: DeltaTables, folder: Path, *days: int) -> None:
    """Three predictions and an outcome for each of `days` before BEGIN, one compaction each."""
    for number, day in enumerate(days):
        numbers = range(10 * number, 10 * number + 3)
        write_segments(folder, [predictions(*numbers, time=BEGIN - day * 24 * HOUR)])
        write_segments(folder, [outcomes(10 * number)], stream="outcomes")
        compact(folder, tables)


def file_of(number: int, size: int, variant: str = "canary") -> DataFile:
    return DataFile(f"{number}", size, {"day": "2027-01-01", "variant": variant}, {"numRecords": 1}, number)


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([], []),
        ([1] * 31, []),
        ([1] * 32, [32]),
        ([upkeep.SMALL] * 40, []),
        ([upkeep.SMALL - 1] * 33, [5] * 6 + [3]),
        ([upkeep.SMALL] * 10 + [1] * 40, [40]),
        ([upkeep.SMALL - 1] * 36, [5] * 7),  # one is left over
    ],
)
def test_which_files_are_merged(sizes: list[int], batches: list[int]) -> None:
    files = [file_of(number, size) for number, size in enumerate(sizes)]
    found = list(mergeable(files))
    assert [len(batch) for batch in found] == batches
    assert [file.modified for batch in found for file in batch] == sorted(
        file.modified for batch in found for file in batch
    )


def test_files_of_different_partitions_are_not_merged() -> None:
    assert not list(mergeable([file_of(k, 1, "canary" if k % 2 else "champion") for k in range(40)]))


def test_merging_changes_no_row_and_old_files_go_after_a_day(
    tables: DeltaTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "MANY", 3)
    fill(tables, tmp_path, 0, 0, 0, 1)
    table = tables.predictions
    before, listed = ids_of(table), table.listed()
    assert len(table.files()) == 8
    done = tidy(tables, NOW)
    assert (done.merged, done.deleted, done.rows) == (6 + 4, 0, 0)
    assert (ids_of(table), len(table.files())) == (before, 4)
    assert listed < table.listed()
    assert tidy(tables, NOW).merged == 0


def test_what_no_version_has_had_for_a_day_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = open_tables(open_store(tmp_path / "store"), "m")
    monkeypatch.setattr(upkeep, "MANY", 2)
    fill(tables, tmp_path / "log", 0, 0)
    table = tables.predictions
    orphan = tmp_path / "store" / table.key / "day=2026-09-21" / "left.parquet"
    orphan.write_bytes(b"of a writer that died")
    half = orphan.with_name(".holdfast-writing-x")
    half.write_bytes(b"half")
    merge(table)
    assert table.vacuum() == 0
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file():
            age(path, timedelta(days=2))
    assert table.vacuum() == 1
    assert not orphan.exists()
    assert not half.exists()
    assert ids_of(table) == numbered([0, 1, 2, 10, 11, 12])


def age(path: Path, by: timedelta) -> None:
    when = time.time() - by.total_seconds()
    os.utime(path, (when, when))


def test_merging_and_compacting_at_once_lose_and_repeat_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "MANY", 2)
    store = tmp_path / "store"
    tables = open_tables(open_store(store), "m")
    stop = threading.Event()

    def merging() -> None:
        ours = open_tables(open_store(store), "m")
        while not stop.is_set():
            merge(ours.predictions)

    threads = [threading.Thread(target=merging) for _ in range(2)]
    for thread in threads:
        thread.start()
    fill(tables, tmp_path / "log", *[0] * 12)
    stop.set()
    for thread in threads:
        thread.join()
    assert ids_of(tables.predictions) == numbered(10 * n + k for n in range(12) for k in range(3))


def test_old_days_go_as_a_whole(tables: DeltaTables, tmp_path: Path, any_store_url: str) -> None:
    fill(tables, tmp_path, 0, 29, 31, 30)
    keep = timedelta(days=30)
    before = retain(tables, NOW, keep, dry_run=True)
    assert (before.before, before.rows, before.outcomes) == (date(2026, 8, 22), 3, 0)
    assert len(ids_of(tables.predictions)) == 12
    done = retain(tables, NOW, keep)
    assert done == before
    assert ids_of(tables.predictions) == numbered(10 * n + k for n in (0, 1, 3) for k in range(3))
    assert tables.predictions.listed() == {file.path for file in tables.predictions.files()}
    again = retain(tables, NOW, keep)
    assert (again.rows, again.files) == (0, 0)
    ledger = Ledger(open_store(any_store_url))
    record_retained(ledger, "m", done)
    record_retained(ledger, "m", again)
    (event,) = ledger.read("log/m")
    assert (event.type, event.payload["rows"], event.payload["before"]) == ("log_retained", 3, "2026-08-22")


def test_retention_waits_for_who_is_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = open_tables(open_store(tmp_path / "store"), "m")
    fill(tables, tmp_path / "log", 31, 0)
    commit, others = LogTable.commit, open_tables(open_store(tmp_path / "store"), "m").predictions
    raced: list[bool] = []

    def late(self: LogTable, **values: object) -> bool:
        if self is tables.predictions and not raced:
            raced.append(others.commit(cursors={"x": 1}))
        return commit(self, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(LogTable, "commit", late)
    assert retain(tables, NOW, timedelta(days=30)).rows == 3
    assert raced == [True]
    assert ids_of(tables.predictions) == numbered([10, 11, 12])
