"""Rollbacks under full load, two replicas with 16 connections each: failed requests, and the bad version's last answer."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from tests.release.world import MODEL
from tests.serving.gateway_checks import Quiet, status_of
from tests.serving.numbered import TOKEN, NumberedWorld, Place, forking, gateways

from benchmarks import load
from holdfast.release.canaries import finish, take_back
from holdfast.release.controller import Controller
from holdfast.release.drill import drill
from holdfast.release.pointing import point

ROUNDS = 12
CONNECTIONS = 16  # of each replica
HOLD = 1.0  # seconds in which the bad version answers
BODY = json.dumps({"dataframe_split": {"columns": ["x"], "data": [[0.5]]}}).encode()
REQUESTS = [load.post("/invocations", BODY, {"x-holdfast-unit": f"user-{number}"}) for number in range(499)]


@dataclass
class Answers:
    """Of one replica: when which version answered last in each hundredth of a second of the wall clock, and all statuses."""

    last: dict[tuple[str, int], float] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)

    def latest(self, version: str, begin: float, end: float) -> float:
        """When `version` gave its last answer in this time; `begin` where it gave none."""
        found = (at for (who, _), at in self.last.items() if who == version and begin < at < end)
        return max(found, default=begin)


def main() -> None:
    """Canaries with half of the users are taken back, and promoted versions rolled back, by turns."""
    os.environ["HOLDFAST_ADMIN_TOKEN"] = TOKEN
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir=Path.cwd()))  # a real disk: /tmp may be memory
    try:
        place = Place.made(folder, "a", "b")
        with gateways(place, forking(), "a", "b") as listening:
            drive = Drive(place, [at.admin_port for at in listening])
            drive.settle()
            with loaded([at.port for at in listening]) as answers:
                time.sleep(1)
                begun = time.time()
                drive.rounds()
                seconds = time.time() - begun
            report(drive, answers, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Drive:
    """Moves the release and remembers each rollback: its kind, the bad version, its event's time, and when all was over."""

    def __init__(self, place: Place, ports: Sequence[int]) -> None:
        self.world: NumberedWorld = place.world()
        self.router, self.ports = place.gateway_router(), ports
        self.controller = Controller(self.world.ledger, self.world.registry, self.router, MODEL, Quiet())
        self.done: list[tuple[str, str, float, float]] = []

    def rounds(self) -> None:
        self.world.stage("two")
        assert self.world.state.candidate is not None
        bad = self.world.state.candidate.version
        for number in range(2 * ROUNDS):
            self._shift(bad)
            if number % 2:
                finish(self.world.ledger, self.world.registry, self.router, MODEL, reason="a benchmark")
                self.settle(lambda routing: routing["champion"] == bad)
            time.sleep(HOLD)
            self._back("promoted" if number % 2 else "canary", bad)

    def _shift(self, bad: str) -> None:
        if self.world.state.candidate is None or self.world.state.candidate.version != bad:
            self.world.stage("two")
        drill(self.world.ledger, self.world.registry, self.router, MODEL)
        self.world.begin_canary(self.router, 0.5)
        self.settle(lambda routing: routing["canary"] == bad and routing["share"] == 0.5)

    def _back(self, kind: str, bad: str) -> None:
        before = len(self.world.events)
        if kind == "canary":
            take_back(self.world.ledger, self.router, MODEL, reason="a benchmark")
        else:
            self.world.rollback(reason="a benchmark")
            point(self.router, self.world.state)
        self.settle(lambda routing: bad not in (routing["champion"], routing["canary"]))
        time.sleep(HOLD)
        event = datetime.fromisoformat(self.world.events[before].time).timestamp()
        self.done.append((kind, bad, event, time.time()))

    def settle(self, is_so: Any = lambda _: True) -> None:
        """Tick until every replica routes so."""
        while True:
            self.controller.tick()
            found = [status_of(port)["serves"] for port in self.ports]
            if all(routing is not None and is_so(routing) for routing in found):
                return
            time.sleep(0.05)


@contextmanager
def loaded(ports: Sequence[int]) -> Iterator[list[Answers]]:
    """Load on each port, each from a process of its own; the answers are there at the end."""
    context = multiprocessing.get_context("spawn")
    pipes, answers = [], []
    for port in ports:
        ours, theirs = context.Pipe()
        process = context.Process(target=send, args=(port, theirs))
        process.start()
        ours.recv()
        pipes.append((process, ours))
    yield answers
    for _, pipe in pipes:
        pipe.send("enough")
    for process, pipe in pipes:
        answers.append(pipe.recv())
        process.join()


def send(port: int, pipe: Any) -> None:
    """As fast as it answers, until told that it is enough."""
    import uvloop

    pipe.send("begun")
    pipe.send(uvloop.run(_load(port, pipe)))


async def _load(port: int, pipe: Any) -> Answers:
    found, stop = Answers(), asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
    await asyncio.gather(*(_connection(port, number, found, stop) for number in range(CONNECTIONS)))
    return found


class Client(load.Client):
    """Keeps which version answered last."""

    version = ""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-holdfast-version":
            self.version = value.decode()


async def _connection(port: int, number: int, found: Answers, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    client: Client | None = None
    while not stop.is_set():
        if client is None or not client.is_open:
            _, client = await loop.create_connection(Client, "127.0.0.1", port)
        status = await client.send(REQUESTS[number % len(REQUESTS)], loop)
        now = time.time()
        found.statuses[status] += 1
        if status == 200:
            found.last[client.version, int(now * 100)] = now
        number += CONNECTIONS


def report(drive: Drive, answers: Sequence[Answers], seconds: float) -> None:
    total = sum((one.statuses for one in answers), Counter[int]())
    failed = sum(count for status, count in total.items() if status != 200)
    print(f"{total.total()} requests in {seconds:.0f} s, {failed} failed; {len(drive.done)} rollbacks")
    worst = 0.0
    for kind in ("canary", "promoted"):
        for number, one in enumerate(answers, 1):
            times = [one.latest(bad, at, end) - at for which, bad, at, end in drive.done if which == kind]
            worst = max(worst, *times)
            p50, last = 1000 * np.median(times), 1000 * max(times)
            print(
                f"  {kind:9} replica {number}: last answer of the bad version p50 {p50:5.0f} ms, longest {last:5.0f} ms"
            )
    print(f"longest {1000 * worst:.0f} ms, target: 1,000 ms; failed requests {failed}, target: 0")


if __name__ == "__main__":
    main()
