"""Compaction of sealed segments into the Delta tables, rows a second end to end, beside plain Parquet without a log."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from holdfast.evidence.delta import open_tables
from holdfast.serving.log.compaction import PREDICTIONS, compact
from holdfast.serving.log.encoding import encode, table_of
from holdfast.serving.log.segment_writer import SegmentWriter
from holdfast.serving.log.segments import read_payloads, sealed
from holdfast.serving.records import Record
from holdfast.store import open_store

ROWS = 1_000_000
GROUP = 256
WANTED = 500_000
BEGIN = 1_800_000_000_000_000


def segments(folder: Path, rows_each: int, count: int = ROWS) -> int:
    """Sealed segments with `count` rows, in requests of `rows_each`; their bytes."""
    rng = random.Random(1)
    writer = SegmentWriter(folder, PREDICTIONS, "bench", durable=False, segment_seconds=1e9)
    group = []
    for number in range(count // rows_each):
        group.append(encode(record(rng, number, rows_each)))
        if len(group) == GROUP:
            writer.append(group)
            group = []
    writer.append(group or [encode(record(rng, 0, rows_each))])
    writer.close()
    return sum(path.stat().st_size for path in sealed(folder, PREDICTIONS))


def record(rng: random.Random, number: int, rows: int) -> Record:
    """A request as the gateway logs it."""
    variant = "canary" if rng.random() < 0.1 else "champion"
    return Record(
        prediction_id=f"019a{rng.getrandbits(96):024x}",
        time=BEGIN + number * 100,
        model="search",
        version="8" if variant == "canary" else "7",
        variant=variant,
        served_by="8" if variant == "canary" else "7",
        unit=f"user-{rng.randrange(50_000)}",
        latency_ms=rng.random() * 10,
        fault=None,
        outputs=[rng.random() for _ in range(rows)],
        release="r-1",
        epoch=3,
        share=0.1,
    )


def timed(what: str, function: Callable[[], object]) -> float:
    """Run it once; print and return rows a second, with the processor's seconds beside."""
    begun, busy = time.perf_counter(), time.process_time()
    function()
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    print(f"  {what:<58}{ROWS / seconds:>12,.0f} rows/s {busy:8.2f} CPU s")
    return ROWS / seconds


def floor(paths: list[Path], place: str) -> None:
    """What is needed at least: the rows out of the segments, and the same rows as one Parquet file, by pyarrow or by DuckDB."""
    decoded: list[pa.Table] = []
    timed(
        "reading and decoding the segments alone", lambda: decoded.extend(table_of(read_payloads(p)[0]) for p in paths)
    )
    rows = pa.concat_tables(decoded)
    timed("pyarrow: one Parquet file of them", lambda: pq.write_table(rows, f"{place}/a.parquet", compression="zstd"))
    copy = f"COPY rows TO '{place}/b.parquet' (FORMAT parquet, COMPRESSION zstd)"
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        timed("DuckDB: one Parquet file of them", lambda: connection.execute(copy))


def measured(rows_each: int, place: str) -> None:
    """Requests of `rows_each` rows."""
    folder, store = Path(place) / "log", open_store(Path(place) / "store")
    warm = open_tables(open_store(Path(place) / "warm"), "search")
    segments(folder, rows_each, 10 * GROUP)
    compact(folder, warm)  # so that imports are not measured: compaction is part of something that goes on
    size = segments(folder, rows_each)
    print(f"{ROWS:,} rows in requests of {rows_each}: segments of {size / 1e6:,.0f} MB")
    tables = open_tables(store, "search")
    floor(sealed(folder, PREDICTIONS), place)
    rate = timed("holdfast: segments to Delta table, segments deleted", lambda: compact(folder, tables))
    assert sum(file.rows for file in tables.predictions.files()) >= ROWS
    assert not sealed(folder, PREDICTIONS)
    print(f"  wanted: 500,000 rows/s: {'met' if rate > WANTED else 'missed'}")


def main() -> None:
    """Print the rates for requests of one row and of ten; CPU s is what it needs of one core."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for rows_each in (1, 10):
        with tempfile.TemporaryDirectory() as place:
            measured(rows_each, place)


if __name__ == "__main__":
    main()
