from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.evidence.delta import open_tables
from holdfast.evidence.delta_log import DeltaLog
from holdfast.serving import outcome_files
from holdfast.serving.log.compaction import compact
from holdfast.serving.outcome_counts import outcome_counts
from holdfast.serving.outcome_files import Added, add_outcomes, entries_in, entries_of_query
from holdfast.store import open_store
from tests.serving.log.segments_of import BEGIN, ids_of, numbered, outcomes, predictions, rows_of, write_segments

NOW = datetime.fromtimestamp(BEGIN / 1e6 + 3600, UTC)
ROWS = [
    {
        "prediction_id": f"p-{k}",
        "name": "click",
        "value": float(k),
        "time": f"2026-09-21T15:00:0{k}Z",
        "event_id": f"e-{k}",
    }
    for k in range(4)
]
BAD: dict[str, Any] = {
    "prediction_id": None,
    "name": "click",
    "value": 1.0,
    "time": "2026-09-21T15:00:00Z",
    "event_id": None,
}


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    pa_csv.write_csv(pa.Table.from_pylist(rows), path.with_suffix(".csv"))
    return path.with_suffix(".csv")


def ndjson(path: Path, rows: list[dict[str, Any]]) -> Path:
    path = path.with_suffix(".ndjson")
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    return path


@pytest.mark.parametrize("written", [parquet, csv, ndjson])
def test_a_file_is_added_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[[Path, list[dict[str, Any]]], Path]
) -> None:
    monkeypatch.setattr(outcome_files, "_BATCH", 3)
    table = open_tables(open_store(tmp_path / "store"), "m").outcomes
    rows = [row | {"other": "x"} for row in [*ROWS, BAD, ROWS[0]]]
    path = written(tmp_path / "some", rows)
    done = add_outcomes(table, entries_in(path), NOW)
    assert (done.added, done.repeated) == (4, 1)
    (refused,) = done.refused
    assert refused.place == 4
    assert refused.reason.startswith("expected prediction_id to be text")
    again = add_outcomes(table, entries_in(path), NOW)
    assert (again.added, again.repeated, len(again.refused)) == (0, 5, 1)
    assert sorted(rows_of(table).column("value").to_pylist()) == [0.0, 1.0, 2.0, 3.0]
    assert table.version == 1


def test_without_event_ids_equal_entries_are_one_and_others_are_not(tmp_path: Path) -> None:
    table = open_tables(open_store(tmp_path / "store"), "m").outcomes
    rows = [{name: value for name, value in row.items() if name != "event_id"} for row in ROWS]
    other = [rows[0] | {"value": 9.0}, rows[0] | {"row": 1}, rows[0] | {"name": "spend"}]
    assert add_outcomes(table, iter([rows, rows, other]), NOW).added == 7
    assert add_outcomes(table, iter([other]), NOW) == Added(0, 3, ())


def test_what_clients_posted_before_is_known(any_store_url: str, tmp_path: Path) -> None:
    tables = open_tables(open_store(any_store_url), "m")
    write_segments(tmp_path, [outcomes(1, 2)], stream="outcomes")
    compact(tmp_path, tables)
    entries = [{"prediction_id": f"p-{k}", "name": "click", "value": 1, "event_id": f"e-{k}"} for k in (2, 3)]
    assert add_outcomes(tables.outcomes, iter([entries]), NOW) == Added(1, 1, ())
    assert ids_of(tables.outcomes) == numbered([1, 2, 3])


def test_a_query_gives_outcomes(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE orders (id INTEGER, prediction TEXT, amount NUMERIC, at TEXT)")
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?)", [(k, f"p-{k}", 2.5 * k, "2026-09-21 15:00:00") for k in range(3)]
        )
    connection.close()
    url = f"sqlite:///{tmp_path}/shop.db"
    query = (
        "SELECT prediction AS prediction_id, 'spend' AS name, amount AS value, at AS time, id AS event_id FROM orders"
    )
    table = open_tables(open_store(tmp_path / "store"), "m").outcomes
    assert add_outcomes(table, entries_of_query(url, query), NOW) == Added(3, 0, ())
    assert add_outcomes(table, entries_of_query(url, query), NOW) == Added(0, 3, ())
    assert sorted(rows_of(table).column("event_id").to_pylist()) == ["0", "1", "2"]
    for bad, error, said in (
        ((url, "SELECT * FROM nowhere"), OutsideError, "could not be asked"),
        ((url, "SELECT 1 AS value"), UserError, "has no column 'prediction_id'"),
        (("nothing://x", query), UserError, "cannot be opened"),
        (("nothing", query), UserError, "cannot be opened"),
        ((f"sqlite:///{tmp_path}/none/x.db", query), OutsideError, "could not be asked"),
    ):
        with pytest.raises(error, match=said):
            list(entries_of_query(*bad))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "x.parquet").write_text("x")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    for name, said in (
        ("x.txt", "expected a file that ends in .parquet"),
        ("x.parquet", "cannot be read"),
        ("x.csv", "x.csv has no column 'prediction_id'"),
        ("none.csv", "cannot be read"),
    ):
        with pytest.raises(UserError, match=said):
            list(entries_in(tmp_path / name))
    (tmp_path / "x.ndjson").write_text('{"a": 1}\nnonsense\n[1]\n')
    table = open_tables(open_store(tmp_path / "store"), "m").outcomes
    done = add_outcomes(table, entries_in(tmp_path / "x.ndjson"), NOW)
    assert [entry.place for entry in done.refused] == [0, 1, 2]
    assert "found str" in done.refused[1].reason
    assert table.version == 0


def test_every_outcome_has_one_fate(any_store_url: str, tmp_path: Path) -> None:
    store = open_store(any_store_url)
    tables = open_tables(store, "m")
    write_segments(tmp_path, [predictions(*range(6)), predictions(6, rows=2)])
    compact(tmp_path, tables)

    def click(number: int, seconds: float, value: float = 1.0, **other: Any) -> dict[str, Any]:
        when = datetime.fromtimestamp(BEGIN / 1e6 + number / 1000 + seconds, UTC)
        return {"prediction_id": f"p-{number}", "name": "click", "value": value, "time": when, **other}

    entries = [
        click(0, 9), click(0, 5), click(0, 7, 2.0),  # out of order: the first by time counts, one repeats, one contradicts
        click(1, 5), click(2, 61),  # in time, late
        click(3, 61), click(3, 62),  # late both
        click(99, 1), click(6, 1, row=1), click(6, 1, row=5),  # unknown; two rows of one request
        {**click(4, 1), "name": "other"},
    ]  # fmt: skip
    assert add_outcomes(tables.outcomes, iter([entries]), NOW).added == len(entries)
    counts, lost = outcome_counts(DeltaLog(store, "m"), tables.outcomes, {"click": 60.0, "never": 1.0})
    found = {each.name: each for each in counts}
    clicks = found["click"]
    assert (clicks.received, clicks.joined, clicks.repeated, clicks.contradictory) == (10, 3, 2, 1)
    assert (clicks.unknown, clicks.late, clicks.unusable) == (1, 3, 0)
    assert clicks.received == clicks.joined + clicks.repeated + clicks.contradictory + clicks.unknown + clicks.late
    assert (found["other"].received, found["other"].joined, found["other"].delay) == (1, 1, None)
    assert found["never"].received == 0
    assert lost == []
