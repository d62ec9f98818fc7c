"""A real process killed at random moments under load: no acknowledged record is missing, no file is unreadable."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from holdfast.serving.log.segments import damaged, read_payloads, seal_orphans, sealed, unsealed
from tests.serving.log import killed

STREAM = "predictions"


def run_and_kill(folder: Path, clients: int, first: int, mode: str, seconds: float) -> set[int]:
    """The numbers that were acknowledged until the kill, `seconds` after the first of them."""
    command = [sys.executable, killed.__file__, str(folder), str(clients), str(first), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout is not None
        begun = process.stdout.readline()
        assert begun
        threading.Thread(target=lambda: (time.sleep(seconds), process.kill()), daemon=True).start()
        told = begun + process.stdout.read()
    return {int(line) for line in told.split(b"\n")[:-1]}


def kill_often(folder: Path, kills: int, mode: str) -> int:
    """How many were acknowledged, after as many kills, all of them found again."""
    draws = random.Random(7)
    acknowledged: set[int] = set()
    logged: set[int] = set()
    for turn in range(kills):
        clients = draws.choice([1, 8, 64, 256])
        told = run_and_kill(folder, clients, turn * 10_000_000, mode, draws.uniform(0.0, 0.08))
        seal_orphans(folder, STREAM)
        for path in sealed(folder, STREAM):
            found = [int(payload.rstrip(b".")) for payload in read_payloads(path)[0]]
            assert logged.isdisjoint(found), "written twice"
            logged.update(found)
            path.unlink()
        assert unsealed(folder, STREAM) == damaged(folder, STREAM) == []
        assert told - logged == set(), f"kill {turn}: {len(told - logged)} acknowledged records are missing"
        acknowledged |= told
    return len(acknowledged)


@pytest.mark.parametrize("mode", ["durable", "written"])
def test_kills(tmp_path: Path, mode: str) -> None:
    assert kill_often(tmp_path, 6, mode) > 100


@pytest.mark.slow
def test_many_kills(tmp_path: Path) -> None:
    found = kill_often(tmp_path, 300, "durable")
    print(f"300 kills, {found} acknowledged records, 0 missing")
    assert found > 10_000
