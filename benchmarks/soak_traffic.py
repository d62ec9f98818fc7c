"""Traffic that does not end: requests of regulars and of ever new visitors at a fixed rate, and outcomes of some of them."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import load

REGULARS = 20_000
CONNECTIONS = 16
OUTCOMES_OF = 10  # one answer in so many has an outcome
BODIES = [json.dumps({"dataframe_split": {"columns": ["x"], "data": [[k / 499]]}}).encode() for k in range(499)]


@dataclass(frozen=True)
class Minute:
    """Answers of one minute, failures among them, and quantiles in milliseconds from when each request was due."""

    answers: int
    failures: int
    p50: float
    p99: float
    longest: float


@dataclass
class Told:
    """All that was answered and accepted: what the log must have."""

    answers: int = 0
    failures: int = 0
    outcomes: int = 0
    refused_posts: int = 0
    statuses: dict[int, int] = field(default_factory=dict)


def request(number: int) -> bytes:
    """Every other request is of somebody who was never here before and asks three times."""
    unit = f"new-{number // 6}" if number % 2 else f"regular-{number * 7919 % REGULARS}"
    return load.post("/invocations", BODIES[number % len(BODIES)], {"x-holdfast-unit": unit})


def send(port: int, rate: float, minutes: int, told: Any) -> None:
    """`told` gets a `Minute` each minute, and at the end a `Told`."""
    import uvloop

    uvloop.run(Traffic(port, rate, 60 * minutes).run(told))


class Client(load.Client):
    """Keeps the id of the last answer."""

    prediction_id: str | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-holdfast-prediction-id":
            self.prediction_id = value.decode()


class Traffic:
    """Requests are sent when they are due, whether or not the server keeps up, and their time counts from then."""

    def __init__(self, port: int, rate: float, seconds: float) -> None:
        self.port, self.rate, self.seconds = port, rate, seconds
        self.total = Told()
        self._due = itertools.count()
        self._begun = 0.0
        self._times: list[float] = []
        self._failures = 0
        self._clicked: list[str] = []

    async def run(self, told: Any) -> None:
        self._begun = time.perf_counter()
        others = [asyncio.create_task(self._report(told)), asyncio.create_task(self._outcomes())]
        await asyncio.gather(*(self._connection() for _ in range(CONNECTIONS)))
        await asyncio.gather(*others)
        told.send(self.total)

    async def _connection(self) -> None:
        client: Client | None = None
        for number in self._due:
            due = self._begun + number / self.rate
            if due - self._begun >= self.seconds:
                return
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            client, status = await self._asked(client, request(number))
            self._count(status, time.perf_counter() - due)
            if status == 200 and client is not None and number % OUTCOMES_OF == 0 and client.prediction_id is not None:
                self._clicked.append(client.prediction_id)

    async def _asked(self, client: Client | None, content: bytes) -> tuple[Client | None, int]:
        """The connection for the next request, and the status; 0 where no answer came."""
        loop = asyncio.get_running_loop()
        try:
            if client is None or not client.is_open:
                _, client = await loop.create_connection(Client, "127.0.0.1", self.port)
            return client, await asyncio.wait_for(client.send(content, loop), load.PATIENCE)
        except OSError:  # a timeout is one
            return None, 0

    def _count(self, status: int, seconds: float) -> None:
        self._times.append(seconds)
        self.total.statuses[status] = self.total.statuses.get(status, 0) + 1
        if status == 200:
            self.total.answers += 1
        else:
            self.total.failures += 1
            self._failures += 1

    async def _report(self, told: Any) -> None:
        for minute in range(1, round(self.seconds / 60) + 1):
            await asyncio.sleep(max(0.0, self._begun + 60 * minute - time.perf_counter()))
            times, self._times = np.sort(np.array(self._times or [np.nan])) * 1000, []
            failures, self._failures = self._failures, 0
            p50, p99 = (float(times[int(len(times) * part)]) for part in (0.5, 0.99))
            told.send(Minute(len(times) - failures, failures, p50, p99, float(times[-1])))

    async def _outcomes(self) -> None:
        """What was clicked in the last second, once a second and once more at the end."""
        client: Client | None = None
        is_over = False
        while not is_over:
            await asyncio.sleep(1)
            is_over = time.perf_counter() - self._begun >= self.seconds + 1
            clicked, self._clicked = self._clicked, []
            entries = [
                {"prediction_id": name, "name": "click", "value": random.random() < 0.3, "event_id": f"click-{name}"}
                for name in clicked
            ]
            client, status = await self._asked(client, load.post("/outcomes", json.dumps(entries).encode()))
            if status == 200:
                self.total.outcomes += len(entries)
            else:
                self.total.refused_posts += 1
