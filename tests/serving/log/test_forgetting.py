from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.evidence.delta import DeltaTables, LogTable, open_tables
from holdfast.evidence.delta_log import DeltaLog
from holdfast.ledger import Ledger
from holdfast.serving.log import upkeep
from holdfast.serving.log.compaction import compact
from holdfast.serving.log.encoding import table_of
from holdfast.serving.log.forgetting import forget
from holdfast.serving.log.forgotten import Forgotten, unit_digest
from holdfast.serving.log.kept import kept_unit
from holdfast.serving.log.segment_writer import SegmentWriter
from holdfast.serving.log.upkeep import merge
from holdfast.store import open_store
from tests.serving.log.segments_of import BEGIN, ids_of, numbered, outcomes, predictions, rows_of, write_segments
from tests.serving.log.test_compaction import Killed, killed_after

UNIT = "somebody@example.org"
NOW = datetime.fromtimestamp(BEGIN / 1e6 + 3600, UTC)


class World:
    """A store, its tables and ledger, and the segments of one machine."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.store = open_store(url)
        self.tables = open_tables(self.store, "m")
        self.ledger = Ledger(self.store, who="tests")

    def compact(self, folder: Path | None = None) -> None:
        done = compact(folder or self.folder, self.tables, lambda: Forgotten.of(self.ledger, "m"))
        assert done.complaints == ()

    def forget(self, unit: str = UNIT) -> tuple[int, int]:
        done = forget(self.folder, self.tables, self.ledger, "m", unit, NOW)
        assert done.left == ()
        return done.rows, done.outcomes

    def holds(self, text: str) -> list[str]:
        """Every key of the store whose bytes hold `text`, or whose Parquet columns or statistics do."""
        found = []
        for key in self.store.list():
            data = self.store.get(key) or b""
            if text.encode() in data or (key.endswith(".parquet") and text in in_parquet(data)):
                found.append(key)
        return found


def in_parquet(data: bytes) -> str:
    import io

    with pq.ParquetFile(io.BytesIO(data)) as file:
        groups = [file.metadata.row_group(k).to_dict() for k in range(file.metadata.num_row_groups)]
        return f"{file.read().to_pydict()} {groups} {file.schema_arrow.metadata}"


@pytest.fixture
def world(any_store_url: str, tmp_path: Path) -> World:
    return World(any_store_url, tmp_path / "log")


def some(world: World) -> None:
    """Rows of UNIT among others, merged once so that an older version of the table has them too."""
    write_segments(world.folder, [predictions(0, 1), predictions(2, 3, unit=UNIT), predictions(5, unit=UNIT, rows=3)])
    write_segments(world.folder, [outcomes(0, 2, 5)], stream="outcomes")
    world.compact()
    write_segments(world.folder, [predictions(6, unit=UNIT), predictions(7)])
    write_segments(world.folder, [outcomes(6, 7, 99)], stream="outcomes")
    world.compact()


def test_no_file_holds_a_forgotten_unit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "MANY", 2)
    some(world)
    merge(world.tables.predictions)
    assert len(world.holds(UNIT)) > 2
    assert world.forget() == (6, 3)
    assert world.holds(UNIT) == []
    assert ids_of(world.tables.predictions) == numbered([0, 1, 7])
    assert ids_of(world.tables.outcomes) == numbered([0, 7, 99])
    assert world.forget() == (0, 0)
    events = world.ledger.read("log/m")
    assert [event.type for event in events] == ["unit_forgotten", "unit_erased"] * 2
    assert events[1].payload == {"unit": unit_digest("m", UNIT), "rows": 6, "outcomes": 3}
    tables = open_tables(world.store, "m")
    assert ids_of(tables.predictions) == numbered([0, 1, 7])
    assert tables.predictions.listed() == {file.path for file in tables.predictions.files()}


def test_segments_that_wait_are_forgotten_too(world: World) -> None:
    write_segments(world.folder, [predictions(1), predictions(2, unit=UNIT)])
    assert world.forget() == (0, 0)
    assert ids_of(world.tables.predictions) == ["p-1"]
    assert world.holds(UNIT) == []
    assert not any(UNIT.encode() in path.read_bytes() for path in world.folder.rglob("*") if path.is_file())


def test_another_replica_does_not_bring_them_back_and_who_returns_is_logged_again(world: World, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    after = BEGIN + 2 * 3600 * 10**6
    write_segments(elsewhere, [predictions(1, 2, unit=UNIT), predictions(3), predictions(4, unit=UNIT, time=after)])
    world.forget()
    world.compact(elsewhere)
    assert ids_of(world.tables.predictions) == numbered([3, 4])


def test_what_is_being_written_is_named(tmp_path: Path) -> None:
    world = World(str(tmp_path / "store"), tmp_path / "log")
    writer = SegmentWriter(world.folder, "predictions", "a", segment_seconds=1e9)
    writer.append(predictions(1, 2, unit=UNIT))
    done = forget(world.folder, world.tables, world.ledger, "m", UNIT, NOW)
    assert len(done.left) == 1
    assert "is being written" in done.left[0]
    writer.close()
    world.compact()
    assert rows_of(world.tables.predictions).num_rows == 0


def test_a_hashed_unit_is_forgotten_by_its_hash(world: World) -> None:
    named = kept_unit(UNIT, b"secret")
    assert named is not None
    write_segments(world.folder, [predictions(1, unit=named), predictions(2)])
    world.compact()
    assert world.forget(named) == (1, 0)
    assert world.holds(named) == []


def test_a_reader_that_slept_through_it_goes_on(world: World) -> None:
    log = DeltaLog(world.store, "m")
    write_segments(world.folder, [predictions(0, 1)])
    world.compact()
    found, position = log.read(None)
    some_later = [predictions(2, unit=UNIT), predictions(3)]
    write_segments(world.folder, some_later)
    world.compact()
    world.forget()
    found, position = log.read(position)
    assert found.predictions.column("prediction_id").to_pylist() == ["p-3"]
    assert log.read(position)[0].predictions.num_rows == 0


@settings(max_examples=12, deadline=None)
@given(crashes=st.lists(st.tuples(st.sampled_from(["write_into", "commit", "purge"]), st.integers(0, 3)), max_size=4))
def test_forgetting_that_was_interrupted_is_finished_by_the_next(crashes: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        world = World(f"{place}/store", Path(place) / "log")
        some(world)
        for where, calls in crashes:
            with patch.context() as crash:
                dying(crash, where, calls)
                try:
                    World(world.url, world.folder).forget()
                except Killed:
                    continue
        World(world.url, world.folder).forget()
        assert world.holds(UNIT) == []
        assert ids_of(world.tables.predictions) == numbered([0, 1, 7])
        assert ids_of(world.tables.outcomes) == numbered([0, 7, 99])


def dying(patch: pytest.MonkeyPatch, where: str, calls: int) -> None:
    step, original = killed_after(calls), getattr(LogTable, where)

    def killed(*args: object, **values: object) -> object:
        step()
        return original(*args, **values)

    patch.setattr(LogTable, where, killed)


def test_compactions_under_way_do_not_bring_them_back(tmp_path: Path) -> None:
    """Rows of the unit come from several machines at once while it is forgotten; what is in the end there is the others."""
    world = World(str(tmp_path / "store"), tmp_path / "none")
    folders = [tmp_path / f"machine-{k}" for k in range(3)]
    numbers = iter(range(10_000))

    def groups() -> Iterator[list[bytes]]:
        for _ in range(6):
            yield [*predictions(next(numbers), next(numbers), unit=UNIT), *predictions(next(numbers))]

    expected = []
    for folder in folders:
        write_segments(folder, list(groups()))
    expected = [n for n in range(next(numbers)) if n % 3 == 2]
    barrier = threading.Barrier(4)

    def compacting(folder: Path) -> None:
        theirs = World(world.url, folder)
        barrier.wait()
        compact(folder, theirs.tables, lambda: Forgotten.of(theirs.ledger, "m"), most=1)

    threads = [threading.Thread(target=compacting, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    barrier.wait()
    world.forget()
    for thread in threads:
        thread.join()
    world.tables.predictions.refresh()
    assert ids_of(world.tables.predictions) == numbered(expected)
    assert world.holds(UNIT) == []


def test_several_that_forget_merge_and_count_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "MANY", 2)
    world = World(str(tmp_path / "store"), tmp_path / "log")
    for number in range(12):
        write_segments(world.folder, [predictions(number, unit=f"unit-{number % 4}.")])
        world.compact()
    failed: list[BaseException] = []

    def run(what: Callable[[World], object]) -> threading.Thread:
        def target() -> None:
            try:
                what(World(world.url, tmp_path / "none"))
            except BaseException as error:
                failed.append(error)

        return threading.Thread(target=target)

    def merging(theirs: World) -> None:
        for _ in range(4):
            merge(theirs.tables.predictions)

    threads = [run(lambda theirs, k=k: theirs.forget(f"unit-{k}.")) for k in range(3)] + [run(merging), run(merging)]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    world.tables.predictions.refresh()
    assert ids_of(world.tables.predictions) == numbered([3, 7, 11])
    assert [world.holds(f"unit-{k}.") for k in range(3)] == [[], [], []]


@given(
    units=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=20),
    until=st.dictionaries(st.sampled_from("ab"), st.integers(-1, 20)),
)
def test_rows_of_forgotten_units_up_to_a_moment_are_left_out(units: list[str | None], until: dict[str, int]) -> None:
    rows = table_of([predictions(k, unit=unit or "", time=BEGIN + k)[0] for k, unit in enumerate(units)])
    forgotten = Forgotten("m", {unit_digest("m", unit): BEGIN + end for unit, end in until.items()})
    kept = forgotten.without(rows).column("prediction_id").to_pylist()
    assert kept == [f"p-{k}" for k, unit in enumerate(units) if unit not in until or k > until[unit]]


def test_the_digest_is_of_the_model_too(tmp_path: Path) -> None:
    tables: DeltaTables = open_tables(open_store(tmp_path), "m")
    assert unit_digest("m", UNIT) != unit_digest("n", UNIT)
    assert tables.predictions.key == "log/m/predictions"
