from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import OutsideError
from holdfast.evidence.delta import DeltaTables, LogTable, open_tables
from holdfast.serving.log import compaction, cursor
from holdfast.serving.log.appending import Addition, append
from holdfast.serving.log.compaction import Compacted, compact, folder_identity
from holdfast.serving.log.cursor import Place, write_cursor
from holdfast.serving.log.encoding import table_of
from holdfast.serving.log.segment_writer import SegmentWriter
from holdfast.serving.log.segments import place, sealed
from holdfast.store import open_store
from tests.serving.log.segments_of import ids_of, numbered, outcomes, predictions, rows_of, write_segments


class Killed(BaseException):
    """As if the process had ended here."""


def killed_after(calls: int) -> Callable[[], None]:
    """Counts down, then raises."""
    left = iter(range(calls))

    def step() -> None:
        if next(left, None) is None:
            raise Killed

    return step


@pytest.fixture
def tables(any_store_url: str) -> DeltaTables:
    return open_tables(open_store(any_store_url), "m")


def test_segments_become_rows_and_are_deleted(tables: DeltaTables, tmp_path: Path) -> None:
    write_segments(tmp_path, [predictions(0, 1, 2), predictions(3, 4, rows=3)])
    write_segments(tmp_path, [outcomes(0, 3)], stream="outcomes")
    done = compact(tmp_path, tables)
    assert (done.rows, done.outcomes, done.segments) == (9, 2, 3)
    assert done.size > 300
    assert (done.damaged, done.complaints) == ((), ())
    assert sealed(tmp_path, "predictions") == sealed(tmp_path, "outcomes") == []
    found = rows_of(tables.predictions)
    assert ids_of(tables.predictions) == ["p-0", "p-1", "p-2", *["p-3"] * 3, *["p-4"] * 3]
    assert sorted(found.column("row").to_pylist()) == [0, 0, 0, 0, 0, 1, 1, 2, 2]
    assert {file.partition["variant"] for file in tables.predictions.files()} == {"canary", "champion"}
    assert ids_of(tables.outcomes) == numbered([0, 3])
    assert compact(tmp_path, tables) == Compacted()


def test_a_folder_without_segments_is_nothing_to_do(tables: DeltaTables, tmp_path: Path) -> None:
    assert compact(tmp_path / "none", tables) == Compacted()


def test_what_a_dead_process_left_open_is_sealed_and_what_a_living_one_writes_is_left(
    tables: DeltaTables, tmp_path: Path
) -> None:
    writer = SegmentWriter(tmp_path, "predictions", "a", segment_seconds=1e9)
    writer.append(predictions(1))
    assert compact(tmp_path, tables).rows == 0
    writer._claim.release()  # as the system does when a process ends
    assert compact(tmp_path, tables).rows == 1


def test_replicas_of_one_name_in_two_folders_are_two(tables: DeltaTables, tmp_path: Path) -> None:
    for number, folder in enumerate((tmp_path / "one", tmp_path / "two", tmp_path / "one")):
        write_segments(folder, [predictions(number)])
        compact(folder, tables)
    assert ids_of(tables.predictions) == numbered(range(3))
    assert folder_identity(tmp_path / "one") != folder_identity(tmp_path / "two")
    assert folder_identity(tmp_path / "one") == folder_identity(tmp_path / "one")


def test_batches_are_as_large_as_asked_and_nothing_is_lost_between_them(tables: DeltaTables, tmp_path: Path) -> None:
    for replica in "ab":
        write_segments(tmp_path, [predictions(k + 10 * (replica == "b")) for k in range(10)], replica=replica)
    done = compact(tmp_path, tables, most=400)
    assert done.rows == 20
    assert ids_of(tables.predictions) == numbered(range(20))
    assert tables.predictions.version > 3


@settings(max_examples=15, deadline=None)
@given(
    groups=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    crashes=st.lists(
        st.tuples(st.sampled_from(["write", "commit", "committed", "unlink"]), st.integers(0, 4)), max_size=5
    ),
    most=st.sampled_from([1, 300, 10**9]),
)
def test_every_row_is_there_once_wherever_compaction_is_killed(
    groups: list[int], crashes: list[tuple[str, int]], most: int
) -> None:
    with tempfile.TemporaryDirectory() as place_, pytest.MonkeyPatch.context() as patch:
        folder = Path(place_) / "log"
        begins = [sum(groups[:k]) for k in range(len(groups))]
        write_segments(folder, [predictions(*range(b, b + size)) for b, size in zip(begins, groups, strict=True)])
        for where, calls in crashes:
            with patch.context() as crash:
                killing(crash, where, killed_after(calls))
                with contextlib.suppress(Killed):
                    compact(folder, open_tables(open_store(Path(place_) / "store"), "m"), most=most)
        tables = open_tables(open_store(Path(place_) / "store"), "m")
        compact(folder, tables, most=most)
        assert ids_of(tables.predictions) == numbered(range(sum(groups)))
        assert sealed(folder, "predictions") == []


def killing(patch: pytest.MonkeyPatch, where: str, step: Callable[[], None]) -> None:
    """Die before the files are written, before or after the commit, or before a segment is deleted."""
    write, commit = LogTable.write, LogTable.commit

    def dying_write(self: LogTable, rows: object) -> object:
        step()
        return write(self, rows)

    def dying_commit(self: LogTable, **values: object) -> bool:
        if where == "commit":
            step()
        found: bool = commit(self, **values)  # type: ignore[arg-type]
        if where == "committed":
            step()
        return found

    def dying_before_delete(path: Path) -> bool:
        step()
        return cursor.is_shipped(path)

    if where == "write":
        patch.setattr(LogTable, "write", dying_write)
    elif where == "unlink":
        patch.setattr(compaction, "is_shipped", dying_before_delete)
    else:
        patch.setattr(LogTable, "commit", dying_commit)


def test_several_compactions_at_once_bring_every_row_once(any_store_url: str, tmp_path: Path) -> None:
    for replica in "ab":
        base = 100 * (replica == "b")
        write_segments(
            tmp_path, [predictions(*range(base + k, base + k + 5)) for k in range(0, 30, 5)], replica=replica
        )
    open_tables(open_store(any_store_url), "m")
    found: list[Compacted] = []
    barrier = threading.Barrier(3)

    def one() -> None:
        tables = open_tables(open_store(any_store_url), "m")
        barrier.wait()
        found.append(compact(tmp_path, tables, most=300))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tables = open_tables(open_store(any_store_url), "m")
    compact(tmp_path, tables)
    assert ids_of(tables.predictions) == numbered([*range(30), *range(100, 130)])
    assert [line for done in found for line in done.complaints] == []
    assert sealed(tmp_path, "predictions") == []
    unused = tables.predictions.listed() - {file.path for file in tables.predictions.files()}
    assert unused == set()


def test_while_the_store_is_away_segments_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "store")
    tables = open_tables(store, "m")
    write_segments(tmp_path / "log", [predictions(1), predictions(2)])
    with monkeypatch.context() as patch:
        patch.setattr(store, "put", away)
        done = compact(tmp_path / "log", tables)
    assert done.rows == 0
    assert "could not be written" in done.complaints[0]
    assert len(sealed(tmp_path / "log", "predictions")) == 2
    assert compact(tmp_path / "log", tables).rows == 2


def away(key: str, data: bytes) -> None:
    raise OutsideError("the store could not be written.")


def test_damage_is_kept_aside_and_told_and_the_rest_is_taken(tables: DeltaTables, tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, "predictions", "a", durable=False)
    for first in (0, 10, 20):
        writer.append(predictions(*range(first, first + 10)))
    writer.close()
    (path,) = sealed(tmp_path, "predictions")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    done = compact(tmp_path, tables)
    assert done.rows == 20
    assert ids_of(tables.predictions) == numbered([*range(10), *range(20, 30)])
    assert len(done.damaged) == 1
    assert Path(done.damaged[0]).is_file()
    assert sealed(tmp_path, "predictions") == []


def test_records_of_another_kind_are_kept_aside_as_a_whole_and_do_not_stop_the_others(
    tables: DeltaTables, tmp_path: Path
) -> None:
    write_segments(
        tmp_path, [predictions(1), [b"X9 from another release of Holdfast, or from nowhere"], predictions(2)]
    )
    done = compact(tmp_path, tables)
    assert done.rows == 2
    assert ids_of(tables.predictions) == numbered([1, 2])
    assert len(done.complaints) == len(done.damaged) == 1
    assert "is kept in" in done.complaints[0]
    assert Path(done.damaged[0]).is_file()


def test_what_kafka_has_not_got_yet_stays_and_comes_once(tables: DeltaTables, tmp_path: Path) -> None:
    write_segments(tmp_path, [predictions(1), predictions(2)])
    first, second = sealed(tmp_path, "predictions")
    replica, number = place(second)
    write_cursor(tmp_path / "predictions", {replica: Place(number)})
    assert compact(tmp_path, tables).rows == 2
    assert sealed(tmp_path, "predictions") == [second]
    write_cursor(tmp_path / "predictions", {replica: Place(number + 1)})
    assert compact(tmp_path, tables).rows == 0
    assert sealed(tmp_path, "predictions") == []
    assert ids_of(tables.predictions) == numbered([1, 2])
    assert first != second


def test_what_was_decided_on_an_older_version_is_decided_again(tables: DeltaTables, any_store_url: str) -> None:
    """As when a segment is gone because another compaction has just taken it and the one before it."""
    ours, theirs = tables.predictions, open_tables(open_store(any_store_url), "m").predictions
    rows = table_of(predictions(1, 2))
    asked = []

    def made() -> Addition | None:
        asked.append(ours.version)
        if ours.cursor("w") >= 5:
            return None
        assert theirs.commit(add=theirs.write(rows), cursors={"w": 6})
        ours.refresh()
        return Addition(rows, {"w": 5})

    assert append(ours, made) is None
    assert len(asked) == 2
    assert ids_of(ours) == numbered([1, 2])
