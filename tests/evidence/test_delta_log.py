from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import OutsideError
from holdfast.evidence.delta import Change, DataFile, LogTable, open_tables
from holdfast.evidence.delta_log import DeltaLog, Origin, Part, follow, moved
from holdfast.evidence.log import FileLog, Position, PredictionLog, take
from holdfast.evidence.step import Step
from holdfast.serving.log import upkeep
from holdfast.serving.log.forgetting import erase
from holdfast.serving.log.upkeep import merge
from holdfast.store import open_store
from tests.evidence.logs import BEGIN, MEASURES, OUTCOMES, make, outcomes_table, predictions_table

ROWS, MARKS = make(11, 300)
PREDICTIONS, OUTCOMES_TABLE = predictions_table(ROWS), outcomes_table(MARKS)


def add(table: LogTable, rows: pa.Table) -> None:
    if table.layout.partitions[1:]:
        rows = rows.append_column("model", pa.array(["m"] * rows.num_rows))
    table.refresh()
    assert table.commit(add=table.write(rows))


def again(position: Position) -> Position:
    """As it comes back from a file."""
    found: Position = json.loads(json.dumps(position))
    return found


def test_the_evidence_is_that_of_the_same_rows_in_files(any_store_url: str, tmp_path: Path) -> None:
    store = open_store(any_store_url)
    tables, log = open_tables(store, "m"), DeltaLog(store, "m")
    for name in ("p", "o"):
        (tmp_path / name).mkdir()
    files = FileLog(tmp_path / "p", tmp_path / "o")
    found = []
    steps = [Step(MEASURES, 0.4, BEGIN, closing=[300.0], window_seconds=60.0, keep=True) for _ in range(2)]
    positions: list[Position | None] = [None, None]
    for number, begin in enumerate(range(0, 400, 100)):
        pq.write_table(PREDICTIONS.slice(begin, 100), tmp_path / "p" / f"{number}.parquet")
        pq.write_table(OUTCOMES_TABLE.slice(begin, 100), tmp_path / "o" / f"{number}.parquet")
        add(tables.predictions, PREDICTIONS.slice(begin, 100))
        add(tables.outcomes, OUTCOMES_TABLE.slice(begin, 100))
        sources: tuple[PredictionLog, ...] = (files, log)
        for k, source in enumerate(sources):
            taken = take(source, positions[k], OUTCOMES)
            positions[k] = again(taken.position)
            steps[k].feed(taken.rows, taken.outcomes, taken.left_out)
    for step in steps:
        evidence = step.block(0, 30, 10)
        found.append((evidence, step.closed(0), step.left_out))
    for ours, theirs in zip(*(arrays_of(one[0], one[1]) for one in found), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert found[0][2] == found[1][2]
    whole, expected = take(log, None, OUTCOMES), take(files, None, OUTCOMES)
    assert sorted(whole.rows.id.tolist()) == sorted(expected.rows.id.tolist())
    assert whole.left_out == expected.left_out


def arrays_of(*things: Any) -> list[Any]:
    """All arrays in nested dataclasses and mappings."""
    found = []
    for thing in things:
        if isinstance(thing, np.ndarray):
            found.append(thing)
        elif isinstance(thing, dict):
            found += arrays_of(*(thing[key] for key in sorted(thing)))
        elif hasattr(thing, "__dataclass_fields__"):
            found += arrays_of(*(getattr(thing, name) for name in thing.__dataclass_fields__))
    return found


def test_nothing_new_is_nothing(any_store_url: str) -> None:
    store = open_store(any_store_url)
    log = DeltaLog(store, "m")
    with pytest.raises(OutsideError, match="no prediction log of m") as raised:
        log.read(None)
    assert raised.value.reason_code == "log_unavailable"
    tables = open_tables(store, "m")
    found, position = log.read(None)
    assert found.predictions.num_rows == found.outcomes.num_rows == 0
    add(tables.predictions, PREDICTIONS)
    found, position = log.read(again(position))
    assert found.predictions.num_rows == PREDICTIONS.num_rows
    found, later = log.read(again(position))
    assert (found.predictions.num_rows, later) == (0, position)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("merge"), st.just(0)),
        st.tuples(st.just("erase"), st.integers(0, 3)),
        st.tuples(st.just("read"), st.integers(0, 1)),
    ),
    min_size=4,
    max_size=14,
)


@settings(max_examples=25, deadline=None)
@given(operations=OPERATIONS)
def test_a_reader_gets_every_row_once_whatever_is_written_anew_meanwhile(operations: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep, "MANY", 2)
        store = open_store(place)
        table, log = open_tables(store, "m").predictions, DeltaLog(store, "m")
        alive: dict[str, int] = {}
        readers: list[tuple[set[str], Position | None]] = [(set(), None), (set(), None)]
        for what, number in [*operations, ("read", 0), ("read", 1)]:
            if what == "append":
                new = {f"p-{table.version}-{k}": k for k in range(number)}
                add(table, rows_of(new))
                alive |= new
            elif what == "merge":
                merge(table)
            elif what == "erase":
                erase(table, "unit", [f"u{number}"], "digest")
                alive = {name: unit for name, unit in alive.items() if unit != number}
            elif (
                what == "optimize"
            ):  # by another program: it does not say where rows went, so old files are still there
                continue
            else:
                seen, position = readers[number]
                found, position = log.read(position and again(position))
                names = found.predictions.column("prediction_id").to_pylist()
                assert len(names) == len(set(names))
                assert set(names) == set(alive) - seen
                readers[number] = (seen | set(names), position)
        everything = log.read(None)[0].predictions.column("prediction_id").to_pylist()
        assert sorted(everything) == sorted(alive)


def rows_of(units: dict[str, int]) -> pa.Table:
    count = len(units)
    return pa.table(
        {
            "prediction_id": list(units),
            "time": pa.array([BEGIN + k for k in range(count)], pa.timestamp("us", "UTC")),
            "variant": ["canary" if k % 2 else "champion" for k in range(count)],
            "unit": [f"u{unit}" for unit in units.values()],
        }
    )


def test_what_another_program_writes_anew_is_no_news(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    table, log = open_tables(store, "m").predictions, DeltaLog(store, "m")
    add(table, rows_of({"a": 1, "b": 2}))
    _, position = log.read(None)
    add(table, rows_of({"c": 1, "d": 2}))
    add(table, rows_of({"e": 1, "f": 2}))
    other = DeltaTable(tmp_path / "log/m/predictions")
    assert other.optimize.compact()["numFilesRemoved"] > 2
    other.delete("prediction_id = 'a'")
    assert sorted(log.read(again(position))[0].predictions.column("prediction_id").to_pylist()) == ["c", "d", "e", "f"]
    assert sorted(log.read(None)[0].predictions.column("prediction_id").to_pylist()) == ["b", "c", "d", "e", "f"]


def test_rows_of_another_writer_are_news(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    table, log = open_tables(store, "m").predictions, DeltaLog(store, "m")
    _, position = log.read(None)
    rows = table.layout.fitting(rows_of({"a": 1, "b": 2}))
    day = pa.array([date(2026, 9, 21)] * 2)
    whole = rows.append_column("day", day).append_column("model", pa.array(["m", "m"]))
    whole = whole.append_column("variant", pa.array(["canary", "canary"]))
    write_deltalake(tmp_path / "log/m/predictions", whole, mode="append")
    assert log.read(again(position))[0].predictions.num_rows == 2
    assert log.read(None)[0].predictions.num_rows == 2


def test_a_reader_that_slept_too_long_or_has_another_table_is_told(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    tables, log = open_tables(store, "m"), DeltaLog(store, "m")
    _, position = log.read(None)
    for _ in range(3):
        add(tables.predictions, rows_of({"a": 1}))
    DeltaTable(tmp_path / "log/m/predictions").create_checkpoint()
    for version in range(3):
        store.delete(f"log/m/predictions/_delta_log/{version:020}.json")
    for reader in (log, DeltaLog(store, "m")):
        with pytest.raises(OutsideError, match="no longer says what was new in its version 1") as raised:
            reader.read(again(position))
        assert reader.read(None)[0].predictions.num_rows == 3
    assert raised.value.reason_code == "log_unavailable"
    other = {"predictions": {"table": "x", "version": 1}, "outcomes": {}}
    with pytest.raises(OutsideError, match="is not the one that was read before"):
        log.read(other)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    tables, log = open_tables(store, "m"), DeltaLog(store, "m")
    add(tables.predictions, rows_of({"a": 1}))
    tables.predictions.purge(file.path for file in tables.predictions.files())
    with pytest.raises(OutsideError, match="cannot be read") as raised:
        log.read(None)
    assert raised.value.reason_code == "log_unavailable"


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_where_a_row_stands_among_those_that_are_kept(gone: list[bool]) -> None:
    stretches, begin = [], None
    for place, out in enumerate([*gone, False]):
        if out and begin is None:
            begin = place
        elif not out and begin is not None:
            stretches.append((begin, place))
            begin = None
    origin = Origin("x", len(gone), stretches)
    assert [origin.before(k) for k in range(len(gone) + 1)] == [
        sum(not g for g in gone[:k]) for k in range(len(gone) + 1)
    ]
    assert Origin.from_json(json.loads(json.dumps(origin.to_json()))).kept == sum(not g for g in gone)


def test_pandas_is_not_imported(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    tables = open_tables(store, "m")
    add(tables.predictions, PREDICTIONS)
    add(tables.outcomes, OUTCOMES_TABLE)
    program = f"""
import sys
import holdfast.evidence.delta_log
assert "deltalake" not in sys.modules
from holdfast.evidence.log import take
from holdfast.store import open_store
log = holdfast.evidence.delta_log.DeltaLog(open_store({str(tmp_path)!r}), "m")
assert len(take(log, None, ("click",)).rows) > 100
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def file_of(path: str, rows: int) -> DataFile:
    return DataFile(path, 1, {}, {"numRecords": rows})


def test_rows_are_followed_to_where_they_are_now() -> None:
    a, b, new = file_of("a", 4), file_of("b", 3), file_of("new", 5)
    notes = moved({"new": [Origin("a", 4, [(0, 2)]), Origin("b", 3)]})
    change = Change((new,), {"a": False, "b": False}, notes)
    both = [Part(a, 0, 4), Part(b, 0, 3), Part(a, 1, 3), Part(a, 0, 2)]
    assert follow(both, change) == [Part(new, 0, 2), Part(new, 2, 5), Part(new, 0, 1)]
    assert follow([], change) == []
    assert follow([Part(a, 0, 4)], Change((), {"a": True}, {})) == []  # deleted
    assert follow([Part(a, 0, 4)], Change((b,), {}, {})) == [Part(a, 0, 4), Part(b, 0, 3)]  # appended
