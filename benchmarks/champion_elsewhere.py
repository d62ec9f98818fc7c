"""`snapshot check` of 500 inputs × 4 functions, and what the environment gate adds to the predictions of 100,000 rows."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from holdfast.config.schema import DataConfig, GatesConfig, MetricGate, SliceGates, SnapshotFunction, SnapshotsConfig
from holdfast.data.tables import open_table
from holdfast.gates.environment import judge_environment
from holdfast.gates.evidence import Contender, Rows
from holdfast.snapshots import Place, check, record
from holdfast.stats import get_metric
from holdfast.store import open_store

CODE = """
import re, unicodedata
def words(text): return re.findall(r"\\w+|[^\\w\\s]", (text or "").lower())
def folded(text): return unicodedata.normalize("NFKC", text or "").casefold()
def length(text): return float(len(text or ""))
def both(text, number): return {"words": words(text), "number": number}
"""
ROWS = 100_000


def snapshots() -> None:
    """Four functions, about 500 inputs each, twice, in two processes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "code_of_user.py").write_text(CODE)
        rng = np.random.default_rng(0)
        letters = [chr(c) for c in (*range(97, 123), 8212, 8220, 8221, 233, 26085)]
        texts = ["".join(rng.choice(letters, 40)) for _ in range(5_000)]
        pq.write_table(pa.table({"text": texts, "number": rng.random(5_000), "y": [0] * 5_000}), root / "t.parquet")
        inputs = {"words": ["text"], "folded": ["text"], "length": ["text"], "both": ["text", "number"]}
        functions = {n: SnapshotFunction(function=f"code_of_user:{n}", input=columns) for n, columns in inputs.items()}
        config, data = SnapshotsConfig(functions=functions, rows=415), DataConfig(train="t.parquet", label="y")
        store, where = open_store(root / "store"), Place(Path(sys.executable), root)
        snapshot = record(config, data, open_table(root / "t.parquet"), where, store, model="m", environment="e")
        begin = time.perf_counter()
        checks = check(config, snapshot, where, store)
        seconds = time.perf_counter() - begin
        assert all(result.verdict.value == "pass" for result in checks)
        print(
            f"snapshot check, {checks[0].n} inputs × {len(checks)} functions: {seconds:.2f} s with its processes, target < 2 s"
        )


def gate() -> None:
    """Paired metrics and slices on 100,000 rows, beside predictions that are there already."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, ROWS)
    before = np.clip(labels * 0.3 + rng.random(ROWS) * 0.7, 0, 1)
    after = np.where(rng.random(ROWS) < 0.2, rng.random(ROWS), before)
    rows = Rows(labels=labels, slices={"region": rng.choice(list("abcdefghijkl"), ROWS).astype(object)})
    names = ("roc_auc", "log_loss")
    gates = GatesConfig(
        metrics={name: MetricGate(max_regression=0.01) for name in names},
        slices=SliceGates(by=["region"], max_regression=0.05),
    )
    recorded, here = Contender(name="recorded", predictions=before), Contender(name="here", predictions=after)
    metrics = {name: get_metric(name) for name in names}
    begin = time.perf_counter()
    checks = judge_environment(rows, recorded, here, gates, metrics)
    seconds = time.perf_counter() - begin
    print(
        f"environment gate, {ROWS:,} rows, {len(checks)} checks: {seconds:.2f} s beyond the predictions, target < 1 s"
    )


def main() -> None:
    """Both."""
    snapshots()
    gate()


if __name__ == "__main__":
    main()
