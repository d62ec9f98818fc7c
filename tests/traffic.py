"""Logs of traffic for tests: predictions and their clicks as Parquet files of a folder, as a gateway would write them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from holdfast.release.routing import Routing


def write_traffic(
    folder: Path,
    begin: datetime,
    seconds: float,
    requests: int,
    users: int,
    *,
    routing: Routing | None = None,
    clicks: tuple[float, float] = (0.1, 0.1),
    seed: int = 0,
    latency: tuple[float, float] = (30.0, 30.0),
    faults: tuple[float, float] = (0.0, 0.0),
) -> int:
    """One file of each table: `users` make `requests` from `begin` on; each is the canary's where `routing` says so.

    Means are the champion's and the canary's. Returns how many requests were the canary's.
    """
    rng = np.random.default_rng(seed)
    names = np.array([f"u{seed}-{n}" for n in range(users)])
    mine = np.array([routing is not None and routing.variant_of(name) == "canary" for name in names])
    who = rng.integers(0, users, requests)
    arm = mine[who].astype(int)
    start = round(begin.timestamp() * 1e6)
    micros = np.sort(rng.integers(start, start + round(seconds * 1e6), requests))
    ids = np.array([f"{seed}-{n}" for n in range(requests)])
    known: dict[str, Any] = {} if routing is None else {"release": [routing.release] * requests}
    table = {
        "prediction_id": ids,
        "time": pa.array(micros, pa.timestamp("us", "UTC")),
        "model": ["cut"] * requests,
        "version": np.where(arm == 1, "2", "1"),
        "variant": np.where(arm == 1, "canary", "champion"),
        "served_by": np.where(arm == 1, "canary", "champion"),
        "unit": names[who],
        "latency_ms": rng.gamma(9.0, np.array(latency)[arm] / 9.0),
        "fault": pa.array(
            [None if f else "timeout" for f in rng.random(requests) >= np.array(faults)[arm]], pa.string()
        ),
        "output": rng.random(requests),
        **known,
        **({} if routing is None else {"epoch": [routing.epoch] * requests}),
    }
    clicked = rng.random(requests) < np.array(clicks)[arm]
    outcomes = {
        "prediction_id": ids[clicked],
        "time": pa.array(micros[clicked] + 100_000, pa.timestamp("us", "UTC")),
        "name": ["click"] * int(clicked.sum()),
        "value": np.ones(int(clicked.sum())),
    }
    for name, columns in (("predictions", table), ("outcomes", outcomes)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        part = folder / name / f"part-{seed:06d}.parquet"
        pq.write_table(pa.table(columns), part.with_suffix(".writing"))
        part.with_suffix(".writing").rename(part)
    return int(arm.sum())
