"""A data check of 10 million rows × 30 columns beside decoding the same Parquet file batch by batch.

The file (20 numeric columns, 10 of text, one of them with 430,000 values; 1.3 GB) is made once, from a fixed seed, in
the system's folder for temporary files. Each figure is a process of its own; `HOLDFAST_BENCH_ROWS` makes it smaller.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROWS = int(os.environ.get("HOLDFAST_BENCH_ROWS", "10000000"))
RUNS = 3
GROUP = 1_000_000
CATEGORIES = (2, 5, 10, 20, 50, 100, 300, 1000, 5000, 430_000)
MODES = {
    "decode": "decode the Parquet file, batch by batch",
    "first": "data check, no champion yet",
    "check": "data check against a champion's profile",
}


def main() -> None:
    """Print seconds, the ratio to decoding, and the peak memory of each mode."""
    folder = Path(tempfile.gettempdir()) / f"holdfast-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"data-{ROWS}.parquet"
    if not path.exists():
        print(f"  making {path} …", flush=True)
        _run("make", path)  # not here: a process starts with the peak memory of the one that started it
    _run("reference", path)
    taken: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    for _ in range(RUNS):  # in turn, so that a busy moment of the machine hits all of them
        for mode, found in taken.items():
            found.append(_run(mode, path))
    decode = min(run["seconds"] for run in taken["decode"])
    print(f"  {ROWS:,} rows × 30 columns, best of {RUNS}{'':<22}{'s':>7}{'CPU s':>8}{'ratio':>8}{'peak MB':>9}  target")
    for mode, name in MODES.items():
        best = min(taken[mode], key=lambda run: run["seconds"])
        peak = max(run["peak"] for run in taken[mode])
        row = f"  {name:<52}{best['seconds']:>7.2f}{best['cpu']:>8.2f}{best['seconds'] / decode:>7.1f}×{peak:>9.0f}"
        judged = "" if mode == "decode" else _judged(best["seconds"] / decode, peak)
        print(f"{row}  {judged}")


def _judged(ratio: float, peak: float) -> str:
    return f"≤ 3×: {'met' if ratio <= 3 else 'MISSED'}, < 500 MB: {'met' if peak < 500 else 'MISSED'}"


def _run(mode: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.data_check", mode, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _measure(mode: str, path: Path) -> None:
    from holdfast.config.schema import DataConfig
    from holdfast.data.checks import check_data
    from holdfast.data.profile import Profile
    from holdfast.data.tables import open_table

    if mode == "make":
        _make(path)
        print("{}")
        return
    stored = path.with_suffix(".profile.json")
    config = DataConfig.model_validate({**_CONFIG, "train": str(path)})
    reference = Profile.from_json(json.loads(stored.read_text())) if mode == "check" else None
    begun, cpu = time.perf_counter(), time.process_time()
    table = open_table(path)
    if mode == "decode":
        rows = sum(batch.num_rows for batch in table.batches(dictionary=True))
    else:
        _, profile = check_data(table, config, reference=reference, now=datetime(2026, 1, 1, tzinfo=UTC))
        rows = profile.rows
        if mode == "reference":
            stored.write_text(json.dumps(profile.to_json()))
    found = {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu, "rows": rows}
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}))


_CONFIG = {
    "label": "n0",
    "max_drift": 0.15,
    "max_row_change": 0.5,
    "classes": {"min_share": 0.1},
    "columns": {
        "n1": {"type": "int", "min": 0, "max": 9},
        "n5": {"type": "float", "max_null_share": 0.05},
        "n12": {"type": "float", "min": 0},
        "c1": {"type": "string", "values": [f"c1-value-{k}" for k in range(5)]},
        "c7": {"type": "string", "max_unseen_share": 0.01},
    },
}


def _make(path: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(7)
    names = [pa.array([f"c{j}-value-{k}" for k in range(size)]) for j, size in enumerate(CATEGORIES)]

    def numeric(i: int, rows: int) -> pa.Array:
        if i < 4:
            values = rng.integers(0, (2, 10, 1000, 10**9)[i], rows)
        elif i < 12:
            values = rng.normal(i, 1 + i, rows)
        elif i < 16:
            values = rng.exponential(i, rows).astype(np.float32)
        else:
            values = rng.integers(0, 10**6, rows) / 100
        return pa.array(values, mask=rng.random(rows) < 0.02 if i % 3 == 2 else None)

    def text(j: int, rows: int) -> pa.Array:
        size = CATEGORIES[j]
        codes = rng.integers(0, size, rows) if size > 10_000 else (rng.random(rows) ** 2 * size).astype(np.int64)
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), names[j]).cast(pa.string())

    writer = None
    unfinished = path.with_suffix(".tmp")
    for begin in range(0, ROWS, GROUP):
        rows = min(GROUP, ROWS - begin)
        columns = {f"n{i}": numeric(i, rows) for i in range(20)} | {f"c{j}": text(j, rows) for j in range(10)}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(unfinished, table.schema)
        writer.write_table(table, row_group_size=GROUP)
    if writer is not None:
        writer.close()
    unfinished.replace(path)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _measure(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
