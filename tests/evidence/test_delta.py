from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from holdfast.errors import Damaged, OutsideError, UserError
from holdfast.evidence.delta import DeltaTables, LogTable, existing_tables, open_tables
from holdfast.store import open_store
from holdfast.store.bucket import foreign_options
from tests.evidence.logs import make, outcomes_table, predictions_table

ROWS, MARKS = make(3, 200)
PREDICTIONS, OUTCOMES = predictions_table(ROWS), outcomes_table(MARKS)
TIMED = PREDICTIONS.filter(pa.compute.is_valid(PREDICTIONS.column("time")))


@pytest.fixture
def tables(any_store_url: str) -> DeltaTables:
    return open_tables(open_store(any_store_url), "search")


def with_model(rows: pa.Table, model: str = "search") -> pa.Table:
    return rows.append_column("model", pa.array([model] * rows.num_rows))


def add(table: LogTable, rows: pa.Table, **values: Any) -> bool:
    return table.commit(add=table.write(rows), **values)


def options(store: str) -> dict[str, str] | None:
    return foreign_options(store) if "://" in store else None


def test_tables_are_made_once_and_found_again(any_store_url: str) -> None:
    store = open_store(any_store_url)
    assert existing_tables(store, "search") is None
    made = open_tables(store, "search")
    assert [table.version for table in made] == [0, 0]
    again, found = open_tables(store, "search"), existing_tables(store, "search")
    assert found is not None
    assert made.predictions.id == again.predictions.id == found.predictions.id
    assert open_tables(store, "other").predictions.id != made.predictions.id


def test_several_that_make_the_tables_at_once_get_the_same(any_store_url: str) -> None:
    found: list[DeltaTables] = []
    barrier = threading.Barrier(4)

    def one() -> None:
        barrier.wait()
        found.append(open_tables(open_store(any_store_url), "search"))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tables.predictions.id for tables in found}) == 1
    assert len(found) == 4


def test_other_programs_read_the_table_as_it_is(any_store_url: str, tables: DeltaTables) -> None:
    rows = with_model(TIMED)
    assert add(tables.predictions, rows)
    place = f"{any_store_url}/log/search/predictions"
    table = DeltaTable(place, storage_options=options(any_store_url))
    assert tuple(table.protocol())[:2] == (1, 2)  # what every reader of Delta Lake understands
    assert table.metadata().partition_columns == ["day", "model", "variant"]
    canary = sum(variant == "canary" for variant in rows.column("variant").to_pylist())
    frame = pl.scan_delta(place)
    assert frame.filter(pl.col("variant") == "canary").select(pl.len()).collect().item() == canary
    assert frame.select(pl.col("time").sort()).collect().to_series().to_list() == sorted(
        rows.column("time").to_pylist()
    )
    seen = table.to_pyarrow_dataset()
    with duckdb.connect() as connection:
        connection.register("seen", seen)
        query = "SELECT count(*) FILTER (variant = 'canary'), count(*), count(DISTINCT day) FROM seen"
        assert connection.sql(query).fetchall() == [(canary, rows.num_rows, 1)]
    if "://" not in any_store_url:
        with duckdb.connect() as connection:
            listed = connection.read_parquet(table.file_uris(), hive_partitioning=True)
            assert listed.filter("variant = 'canary'").count("*").fetchall() == [(canary,)]


def test_whoever_decided_on_an_older_version_is_told_so(any_store_url: str, tables: DeltaTables) -> None:
    ours, theirs = tables.predictions, open_tables(open_store(any_store_url), "search").predictions
    assert add(theirs, with_model(TIMED), cursors={"them": 7})
    files = ours.write(with_model(TIMED))
    assert not ours.commit(add=files, cursors={"us": 3})
    assert (ours.version, ours.cursor("them"), ours.cursor("us")) == (1, 7, -1)
    assert ours.commit(add=files, cursors={"us": 3})
    assert (ours.version, ours.cursor("them"), ours.cursor("us")) == (2, 7, 3)
    assert sum(file.rows for file in ours.files()) == 2 * TIMED.num_rows


def test_odd_names_and_missing_values_are_partitions_too(tables: DeltaTables) -> None:
    table = tables.predictions
    variants = ["a b/ü", "../x", None, "50%", ""]
    rows = pa.table(
        {
            "prediction_id": [str(k) for k in range(5)],
            "time": pa.array([None, *[1_800_000_000_000_000] * 4], pa.timestamp("us", "UTC")),
            "variant": pa.array(variants, pa.string()),
            "model": ["m"] * 5,
        }
    )
    assert add(table, rows)
    by_id = {table.read(file).column("prediction_id")[0].as_py(): file for file in table.files()}
    assert {name: file.partition["variant"] for name, file in by_id.items()} == {
        "0": "a b/ü", "1": "../x", "2": None, "3": "50%", "4": None,
    }  # fmt: skip
    assert by_id["0"].day is None
    assert str(by_id["1"].day) == "2027-01-15"
    assert {file.path for file in table.files()} == table.listed()


def test_text_in_dictionaries_is_the_same_text(tables: DeltaTables) -> None:
    """Chunks with dictionaries of their own, as compaction decodes them."""
    table = tables.predictions
    texts = ["7", None, "8", "7", "9", None]
    few = pa.chunked_array([pa.array(texts[:2]).dictionary_encode(), pa.array(texts[2:]).dictionary_encode()])
    rows = pa.table({"prediction_id": [str(k) for k in range(6)], "version": few, "model": few, "variant": few})
    rows = rows.append_column("time", pa.nulls(6, pa.timestamp("us", "UTC")))
    assert add(table, rows)
    found = pa.concat_tables([table.read(file, ["prediction_id", "version"]) for file in table.files()])
    assert found.schema.field("version").type == pa.string()
    assert dict(zip(*found.to_pydict().values(), strict=True)) == {str(k): text for k, text in enumerate(texts)}
    assert sorted(file.partition["variant"] or "" for file in table.files()) == ["", "7", "8", "9"]


def test_only_times_have_statistics(tables: DeltaTables) -> None:
    table = tables.predictions
    add(table, with_model(TIMED))
    for file in table.files():
        assert set(file.stats) <= {"numRecords", "minValues", "maxValues"}
        assert set(file.stats["minValues"]) == set(file.stats["maxValues"]) == {"time"}
        times = table.read(file, ["time"]).column(0).to_pylist()
        assert file.stats["minValues"]["time"] == min(times).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert file.stats["maxValues"]["time"] == max(times).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_many_commits_leave_checkpoints_that_say_the_same(tmp_path: Path) -> None:
    table = open_tables(open_store(tmp_path), "search").outcomes
    rows = OUTCOMES.slice(0, 1)
    for number in range(102):
        assert add(table, rows, cursors={"w": number})
    assert list(tmp_path.rglob("*.checkpoint.parquet"))
    again = open_tables(open_store(tmp_path), "search").outcomes
    assert again.cursor("w") == 101
    assert {file.path for file in again.files()} == {file.path for file in table.files()}
    assert all(file.rows == 1 and file.day is not None for file in again.files())


def test_a_damaged_file_is_told_by_name(any_store_url: str, tables: DeltaTables) -> None:
    add(tables.outcomes, OUTCOMES)
    (file,) = tables.outcomes.files()
    open_store(any_store_url).put(f"log/search/outcomes/{file.path}", b"nothing of the kind")
    with pytest.raises(Damaged, match=file.path.rpartition("/")[2]):
        tables.outcomes.read(file)


def test_where_tables_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="in memory"):
        open_tables(open_store("memory://x"), "m")
    (tmp_path / "log").write_text("in the way")
    with pytest.raises(OutsideError, match="could not be reached") as raised:
        open_tables(open_store(tmp_path), "m")
    assert raised.value.reason_code == "store_unavailable"
