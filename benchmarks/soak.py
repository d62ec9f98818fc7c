"""Minutes or hours of a real `holdfast serve` at half of what it can do: failures, latency, memory, log, files, threads.

    python -m benchmarks.soak --minutes 60 [--rate 400] [--mode environment]

A project with a champion and a canary at 10 %, a controller that steers it, the durable log and its compaction, live
evidence, the profile of inputs, outcomes. Memory grows at first by design: evidence keeps the requests of the longest delay and
of 15 minutes, so a short run has no verdict on memory. Exit status 1 for a failed request, a record that is not in the log, or
memory that clearly grows after that.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.project import PROGRAM, document, holdfast, make_project, search_path
from tests.served import Served, stage_second

from benchmarks import load, soak_traffic
from benchmarks.soak_traffic import Minute, Told
from holdfast.evidence.delta import existing_tables
from holdfast.pipeline.workspace import Workspace
from holdfast.serving.log.segments import place, sealed, unsealed

SETTINGS = """
release:
  router: "gateway:"
  canary: {{steps: [{{share: 0.1}}], min_hours: 24, max_hours: 49, unit: user, unit_window: 6h}}
  guardrails: {{click: {{max_drop: 0.05, absent: zero, delay: 1m}}, error: {{max_rise: 0.02}}}}
serving: {{mode: {mode}, allow_other_environment: {allowed}, port: 0, admin_port: 0, log: {{inputs: all}}}}
"""
LEAK = 5.0  # MB an hour: a slope whose lower bound is above it is a leak
WARM_UP = 18  # minutes until evidence holds as much as it ever will


@dataclass(frozen=True)
class Seen:
    """The gateway from outside: megabytes of it and of its children, seconds that the oldest waiting record is old."""

    memory: float
    children: float
    lag: float
    segments: int
    files: int
    threads: int


def main(minutes: int = 3, rate: float | None = None, mode: str = "in_process", warm_up: int = WARM_UP) -> bool:
    """A line a minute, then the slope of memory and what of all that was answered is in the log. Whether all was well."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir=Path.cwd()))  # a real disk: /tmp may be memory
    try:
        with gateway(folder / "project", mode) as served:
            rate = rate or capacity(served) / 2
            print(f"{rate:.0f} requests a second, a canary at 10 %, versions run {mode.replace('_', ' ')}", flush=True)
            before = rows(served.folder)
            seen, minutes_of, told = soak(served, rate, minutes)
            steady = told_of(seen, minutes_of, warm_up)
            ended = served.end()
        return kept(folder / "project", told, before, ended) and steady
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def gateway(folder: Path, mode: str) -> Iterator[Served]:
    """`holdfast serve` with a canary that `holdfast release control` keeps at its first step."""
    os.environ.setdefault("HOLDFAST_ADMIN_TOKEN", "a test's token")
    holdfast(make_project(folder), "run")
    holdfast(folder, "release", "promote")
    stage_second(folder, SETTINGS.format(mode=mode, allowed='["1", "2"]' if mode == "in_process" else "[]"))
    served = Served(folder)
    controller: subprocess.Popen[bytes] | None = None
    try:
        served.wait(lambda: served.ask("GET", "/v2/health/ready")[0] == 200, 600)
        workspace = Workspace.open(folder / "holdfast.yaml")
        served.wait(lambda: existing_tables(workspace.store, workspace.model) is not None)
        holdfast(folder, "release", "drill")
        holdfast(folder, "release", "start", "--override", "a benchmark has no traffic of yesterday")
        with (folder / "control.log").open("w") as log:
            environ = {**os.environ, "PATH": search_path()}
            controller = subprocess.Popen([PROGRAM, "release", "control"], cwd=folder, env=environ, stdout=log)
        served.wait(lambda: (served.status()["serves"] or {}).get("share") == 0.1, 600)
        yield served
    finally:
        for process in (controller, served.process):
            if process is not None:
                process.kill()
                process.wait()


def capacity(served: Served) -> float:
    """Answers a second over 32 connections, as fast as it can."""
    requests = [soak_traffic.request(-number) for number in range(1, 500)]
    load.apart("127.0.0.1", served.told["port"], requests, 8, 2.0)
    found = load.apart("127.0.0.1", served.told["port"], requests, 32, 8.0)
    print(f"capacity {found}", flush=True)
    return found.rate


def soak(served: Served, rate: float, minutes: int) -> tuple[list[Seen], list[Minute], Told]:
    """What was seen at the end of each minute, what clients were told in it, and all that they were told."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    traffic = context.Process(target=soak_traffic.send, args=(served.told["port"], rate, minutes, theirs))
    traffic.start()
    seen, told = [], []
    print(
        "min  answers/s  failed   p50 ms   p99 ms   longest      MB  +children  lag s  segments  files  threads  share"
    )
    try:
        for number in range(1, minutes + 1):
            looks = [look(served)]
            while not ours.poll(5.0):
                looks.append(look(served))
            told.append(ours.recv())
            seen.append(middle(looks))
            print(line(number, seen[-1], told[-1], served.status()), flush=True)
        return seen, told, ours.recv()
    finally:
        traffic.kill()
        traffic.join()


def line(number: int, seen: Seen, told: Minute, status: Any) -> str:
    troubles = [*status["troubles"], status["tables"]["trouble"], status["live"]["trouble"]]
    said = "".join(f"  ! {trouble}" for trouble in troubles if trouble)
    return (
        f"{number:3} {told.answers / 60:10.1f} {told.failures:7} {told.p50:8.2f} {told.p99:8.2f} {told.longest:9.1f} "
        f"{seen.memory:7.1f} {seen.children:10.1f} {seen.lag:6.1f} {seen.segments:9} {seen.files:6} {seen.threads:8} "
        f"{status['serves']['share']:6g}{said}"
    )


def look(served: Served) -> Seen:
    process = served.process.pid
    folder = served.folder / ".holdfast" / "serving"
    segments = [path for stream in ("predictions", "outcomes") for path in sealed(folder, stream)]
    written = [path for stream in ("predictions", "outcomes") for path in unsealed(folder, stream)]
    oldest = min((place(path)[1] for path in [*segments, *written]), default=time.time() * 1000)
    return Seen(
        memory=megabytes(process),
        children=sum(megabytes(child) for child in descendants(process)),
        lag=time.time() - oldest / 1000,
        segments=len(segments),
        files=len(list(Path(f"/proc/{process}/fd").iterdir())),
        threads=len(list(Path(f"/proc/{process}/task").iterdir())),
    )


def middle(looks: Sequence[Seen]) -> Seen:
    """Of a minute: memory's median, since it goes up and down with each compaction; of the others the largest."""
    most = {name: max(getattr(one, name) for one in looks) for name in ("lag", "segments", "files", "threads")}
    memory, children = (statistics.median(getattr(one, name) for one in looks) for name in ("memory", "children"))
    return Seen(memory=memory, children=children, **most)


def megabytes(process: int) -> float:
    """Resident memory; 0 for a process that has just ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def descendants(process: int) -> Iterator[int]:
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            yield child
            yield from descendants(child)


def told_of(seen: Sequence[Seen], told: Sequence[Minute], warm_up: int) -> bool:
    """Print memory's slope, latency then and now, failures; whether nothing failed and memory does not clearly grow."""
    is_long = len(seen) >= warm_up + 5
    begin = warm_up if is_long else len(seen) // 3
    slope, error = sloped([one.memory + one.children for one in seen[begin:]])
    third = max(1, (len(told) - begin) // 3)
    early, late = (statistics.median(one.p99 for one in part) for part in (told[begin:][:third], told[-third:]))
    failures = sum(one.failures for one in told)
    leaks = is_long and slope - 2 * error > LEAK
    said = ", a leak" if leaks else "" if is_long else ", too early to tell"
    print(f"memory after {begin} min: {slope:+.1f} ± {error:.1f} MB an hour{said}")
    print(f"p99, median of minutes: first third {early:.2f} ms, last third {late:.2f} ms; {failures} failures")
    return not failures and not leaks


def sloped(megabytes_by_minute: Sequence[float]) -> tuple[float, float]:
    """Slope by least squares and its standard error, per hour."""
    if len(megabytes_by_minute) < 3:
        return float("nan"), float("nan")
    hours = np.arange(len(megabytes_by_minute)) / 60
    hours -= hours.mean()
    found = np.asarray(megabytes_by_minute)
    slope = hours @ found / (hours @ hours)
    left = found - found.mean() - slope * hours
    return float(slope), float(np.sqrt(left @ left / (len(found) - 2) / (hours @ hours)))


def rows(folder: Path) -> int:
    """Predictions in the tables and in what waits for them."""
    found = document(folder, "log", "show")
    return int(found["predictions"]["rows"]) + int(found["waiting"]["records"])


def kept(folder: Path, told: Told, before: int, status: int) -> bool:
    """Whether the log has what was answered, outcomes too, and the gateway ended well."""
    logged = rows(folder) - before
    outcomes = sum(found["received"] for found in document(folder, "outcomes", "show")["outcomes"])
    print(f"{told.answers} answered, {logged} in the log; {told.outcomes} outcomes accepted, {outcomes} in the log")
    print(
        f"statuses {told.statuses}, {told.refused_posts} posts of outcomes refused, the gateway's exit status {status}"
    )
    lost = told.answers > logged or told.outcomes > outcomes
    return not (lost or told.failures or told.refused_posts or status)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A real gateway for so long")
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, help="requests a second (default: half of what it can do)")
    parser.add_argument("--mode", choices=("in_process", "environment"), default="in_process")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="minutes that do not count for memory")
    given = parser.parse_args()
    sys.exit(0 if main(given.minutes, given.rate, given.mode, given.warm_up) else 1)
