"""What live evidence and the profile of inputs cost a request, all threads together, beside the same with pandas.

Each row is a process of its own: requests of one row are observed one by one, a tenth of them gets an outcome, and each second
is flushed as a replica does, into a folder. CPU is that of the whole process, without the making of the traffic. The peer keeps
the same requests and makes, each second, sums by variant and bucket of users and counts between the same edges.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SECONDS = int(os.environ.get("HOLDFAST_BENCH_SECONDS", "15"))
WARM = 5  # seconds that do not count
RUNS = 3
COLUMNS, RATES = (1, 10, 30), (1_000, 5_000)
TARGET = 20.0
USERS = 50_000


def main() -> None:
    """Print microseconds a request, and for how long a flush holds up the event loop."""
    names = ("on the loop", "evidence", "profile", "together", "pandas")
    print(f"  µs of CPU a request, best of {RUNS}{'':<13}" + "".join(f"{name:>13}" for name in names))
    for rate in RATES:
        for columns in COLUMNS:
            runs, peer = [_run("holdfast", rate, columns) for _ in range(RUNS)], _run("pandas", rate, columns)
            ours = min(runs, key=_whole)
            whole = _whole(ours)
            parts = (ours["observe"], ours["evidence"], ours["profile"], whole, peer["whole"])
            met = "met" if whole < TARGET else "MISSED"
            print(
                f"  {rate:>5,}/s, {columns:>2} columns{'':<23}"
                + "".join(f"{part:>13.1f}" for part in parts)
                + f"  < {TARGET:g}: {met}; a summary of {ours['size']:,} bytes",
                flush=True,
            )
    waits = _run("waits", RATES[0], COLUMNS[-1])
    print(
        f"  an event loop beside it ({RATES[0]:,}/s, {COLUMNS[-1]} columns) is late by {waits['median']:.2f} ms in the median, "
        f"99 % below {waits['p99']:.2f} ms, most {waits['most']:.1f} ms (without it {waits['p99 alone']:.2f} ms and "
        f"{waits['most alone']:.1f} ms)"
    )


def _whole(run: dict[str, Any]) -> float:
    return float(run["observe"] + run["evidence"] + run["profile"])


def _run(mode: str, rate: int, columns: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.live_evidence", mode, str(rate), str(columns)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


class Traffic:
    """Requests of one row with `columns` inputs, three of four numbers, and the clock that they come by."""

    def __init__(self, rate: int, columns: int) -> None:
        import numpy as np

        from holdfast.release.routing import Routing

        self.rng, self.rate = np.random.default_rng(0), rate
        self.now = self.begin = datetime(2026, 3, 1, tzinfo=UTC)
        self.names = tuple(f"c{number}" for number in range(columns))
        self.texts = np.array([f"value-{number}" for number in range(40)], object)
        self.is_text = [number % 4 == 3 for number in range(columns)]
        routing = Routing(model="m", epoch=7, champion="1", canary="2", share=0.05, release="r1")
        self.users = [f"user-{number:06d}" for number in range(USERS)]
        self.variants = [routing.variant_of(user) for user in self.users]
        self.count = 0

    def columns(self, rows: int) -> dict[str, Any]:
        """Columns of `rows` requests."""
        rng = self.rng
        return {
            name: self.texts[rng.integers(0, 40, rows)] if text else rng.normal(size=rows)
            for name, text in zip(self.names, self.is_text, strict=True)
        }

    def second(self) -> list[tuple[Any, Any]]:
        """The records and payloads of a second."""
        from holdfast.evidence.own import Mark
        from holdfast.serving.payload import Payload
        from holdfast.serving.records import Record

        mark, start = Mark.of("a").text, round(self.now.timestamp() * 1e6)
        users, times = self.rng.integers(0, USERS, self.rate), sorted(self.rng.integers(0, 10**6, self.rate).tolist())
        latencies, columns = self.rng.gamma(9.0, 3.0, self.rate).tolist(), list(self.columns(self.rate).values())
        found = []
        for number, (user, time_, latency) in enumerate(zip(users.tolist(), times, latencies, strict=True)):
            self.count += 1
            record = Record(
                prediction_id=f"{mark}-{self.count:026d}", time=start + time_, model="m", version="1",
                variant=self.variants[user], served_by="1", unit=self.users[user], latency_ms=latency, fault=None,
                outputs=[0.5], release="r1", epoch=7, share=0.05,
            )  # fmt: skip
            arrays = tuple(column[number : number + 1].copy() for column in columns)
            found.append((record, Payload("frame", self.names, arrays)))
        self.now += timedelta(seconds=1)
        return found


def _reference(traffic: Traffic) -> Any:
    """The profile of a training table."""
    import pyarrow as pa

    from holdfast.data.profile import Profile, ProfileBuilder

    table = pa.table(traffic.columns(50_000))
    builder = ProfileBuilder(table.schema)
    for batch in table.to_batches():
        builder.add(batch)
    return Profile.from_json(json.loads(json.dumps(builder.finish().to_json())))


def _live(traffic: Traffic, folder: Path) -> tuple[Any, Any]:
    """A replica in a running canary with four guardrails, and the common log."""
    import pyarrow as pa

    from holdfast.config.schema import ReleaseConfig
    from holdfast.evidence.log import MemoryLog
    from holdfast.release.attempt import Attempt, Status
    from holdfast.release.canary.planning import canary_plan
    from holdfast.serving.live import LiveEvidence, LiveProfile
    from holdfast.store import open_store
    from holdfast.verdict import utc_text

    guardrails = {"click": {"max_drop": 0.01, "absent": "zero", "delay": "10m"}, "error": {"max_rise": 0.01}}
    declared = {"canary": {"steps": [{"share": 0.05}]}, "guardrails": {**guardrails, "latency_p99_ms": {"max_rise": 9}}}
    plan = canary_plan(ReleaseConfig.model_validate(declared), slow_ms=60.0, rate=100.0)
    since = utc_text(traffic.begin)
    attempt = Attempt(
        id="r1", candidate="2", champion="1", plan=plan, started=since, status=Status.RUNNING, share=0.05, shifted=7,
        since=since, began=since,
    )  # fmt: skip
    empty = pa.schema(
        [
            ("prediction_id", pa.string()),
            ("time", pa.timestamp("us", "UTC")),
            ("variant", pa.string()),
            ("unit", pa.string()),
        ]
    )
    log, store = MemoryLog(empty.empty_table()), open_store(folder)
    profile = LiveProfile("a", store, "m", _reference(traffic), "sha256:x")
    live = LiveEvidence("a", store, "m", log, profile=profile, clock=lambda: traffic.now)
    live.tell(None)
    live.tell(attempt)
    return live, log


def _clicks(records: list[tuple[Any, Any]]) -> Any:
    """An outcome of a tenth of the requests, a moment later."""
    import pyarrow as pa

    chosen = [record for record, _ in records[::10]]
    return pa.table(
        {
            "prediction_id": [record.prediction_id for record in chosen],
            "time": pa.array([record.time + 1000 for record in chosen], pa.timestamp("us", "UTC")),
            "name": ["click"] * len(chosen),
            "value": [1.0] * len(chosen),
        }
    )


def _holdfast(rate: int, columns: int) -> dict[str, Any]:
    traffic, spent = Traffic(rate, columns), {"observe": 0.0, "evidence": 0.0, "profile": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        live, log = _live(traffic, Path(folder))
        profile = live.profile
        for second in range(WARM + SECONDS):
            records = traffic.second()
            clicks = _clicks(records)
            begun = time.process_time()
            for record, payload in records:
                live.observe(record, payload)
            observed = time.process_time()
            log.append(None, clicks)
            live.profile = None
            live.flush()
            flushed = time.process_time()
            live.profile = profile
            profile.flush(round(traffic.now.timestamp() * 1e6))
            if second >= WARM:
                spent["observe"] += observed - begun
                spent["evidence"] += flushed - observed
                spent["profile"] += time.process_time() - flushed
        assert live.counts.failed == live.lost == profile.lost == 0, live.counts
        size = max(path.stat().st_size for path in Path(folder).rglob("r1-7/a"))
    return {name: 1e6 * seconds / (SECONDS * rate) for name, seconds in spent.items()} | {"size": size}


def _pandas(rate: int, columns: int) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    traffic, spent = Traffic(rate, columns), 0.0
    reference = _reference(traffic)
    edges = {n: np.unique(c.baseline.edges) for n, c in reference.columns.items() if c.kind == "numeric"}
    counts: dict[tuple[str, str], Any] = {}
    sums, seen = pd.DataFrame(), pd.DataFrame()
    for second in range(WARM + SECONDS):
        records = traffic.second()
        clicks = _clicks(records).to_pandas()
        begun = time.process_time()
        kept = [(r.prediction_id, r.time, r.variant, r.unit, r.latency_ms, r.fault, p) for r, p in records]
        frame = pd.DataFrame(kept, columns=["id", "time", "variant", "unit", "latency", "fault", "inputs"])
        inputs = frame.pop("inputs")
        frame["bucket"] = pd.util.hash_array(frame.unit.to_numpy()) % 512
        frame["error"], frame["slow"] = frame.fault.notna().astype(float), (frame.latency > 60).astype(float)
        first = clicks.drop_duplicates("prediction_id").set_index("prediction_id").value
        frame["click"] = frame.id.map(first).fillna(0.0)
        added = frame.groupby(["variant", "bucket"])[["click", "error", "slow"]].agg(["sum", "count"])
        sums = added if sums.empty else sums.add(added, fill_value=0)
        seen = pd.concat([seen, frame[["unit", "variant"]]]).drop_duplicates()
        rows = pd.DataFrame({n: np.concatenate([p.arrays[k] for p in inputs]) for k, n in enumerate(traffic.names)})
        for variant, part in rows.groupby(frame.variant):
            for name in traffic.names:
                column = part[name]
                if name in edges:
                    found = pd.cut(column, [-np.inf, *edges[name], np.inf]).value_counts(sort=False)
                else:
                    found = column.value_counts(dropna=False)
                counts[variant, name] = found.add(counts.get((variant, name), 0), fill_value=0)
        if second >= WARM:
            spent += time.process_time() - begun
    return {"whole": 1e6 * spent / (SECONDS * rate)}


def _waits(rate: int, columns: int) -> dict[str, Any]:
    """How late an event loop wakes that wants to wake each millisecond, while a second's requests are flushed each second."""
    import numpy as np

    traffic, late = Traffic(rate, columns), {}
    batches = [traffic.second() for _ in range(12)]
    with tempfile.TemporaryDirectory() as folder:
        live, _ = _live(traffic, Path(folder))

        async def wakes(batches: list[Any]) -> list[float]:
            found = []
            for batch in batches:
                for record, payload in batch:
                    live.observe(record, payload)
                end = time.perf_counter() + 1.0
                while (begun := time.perf_counter()) < end:
                    await asyncio.sleep(0.001)
                    found.append(1000 * (time.perf_counter() - begun) - 1)
            return found

        late["alone"] = asyncio.run(wakes([[]] * len(batches)))
        live.start()
        late["beside"] = asyncio.run(wakes(batches))
        live.close()
    quantiles = {name: np.quantile(np.maximum(found, 0), [0.5, 0.99, 1]).tolist() for name, found in late.items()}
    median, p99, most = quantiles["beside"]
    return {
        "median": median,
        "p99": p99,
        "most": most,
        "p99 alone": quantiles["alone"][1],
        "most alone": quantiles["alone"][2],
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        modes = {"holdfast": _holdfast, "pandas": _pandas, "waits": _waits}
        print(json.dumps(modes[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
