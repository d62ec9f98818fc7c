"""The shop's front: asks the gateway for every search, shows what it ranks, and tells it later what was clicked.

HTTP from the standard library: connections that stay open, several at once. Whether a click came is decided in `shoppers.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self

from search_ranking.clock import FastClock
from search_ranking.shoppers import Query, Search, Shoppers

CONNECTIONS = 8
TELL_SECONDS = 0.2  # between two posts of clicks
AWAY_SECONDS = 0.3  # between two attempts while nobody answers

Headers = dict[str, str]


class Connection:
    """One connection that is opened when it is needed and stays open."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes, **headers: str) -> tuple[int, Headers, bytes]:
        """Status, headers and body of the answer. OSError or EOFError where there was none."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self._streams
            writer.write(_request(path, body, headers) + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            told = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            return int(head[0].split()[1]), told, await reader.readexactly(int(told["content-length"]))
        except (OSError, EOFError):
            self.close()
            raise

    def close(self) -> None:
        """Let go; the next request opens it again."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def _request(path: str, body: bytes, headers: Headers) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: shop", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def body_of(query: Query) -> bytes:
    """A search as the gateway is asked for it: a table with `query` and `product_title`."""
    rows = [[query.text, title] for title in query.titles]
    return json.dumps({"dataframe_split": {"columns": ["query", "product_title"], "data": rows}}).encode()


def ranked(scores: Iterable[float]) -> list[int]:
    """Places from the highest score to the lowest; equal ones stay in their order."""
    values = list(scores)
    return sorted(range(len(values)), key=lambda place: -values[place])


@dataclass
class Storefront:
    """Sends the traffic of `shoppers` to the gateway at `port` while it is open (`with`), in a thread of its own.

    `answered` has the id of every answer and its variant; `counts` what became of searches (`answered`, `failed`, `lost`) and
    of clicks (`clicks`). `loses` may be set while it is open: whether the search of a shopper never reaches the gateway.
    """

    shoppers: Shoppers
    clock: FastClock
    port: int
    hours: float = 240.0
    loses: Callable[[str], bool] | None = None
    answered: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Self:
        self.begun = self.clock.hours  # what is earlier is over
        self._bodies = [body_of(query) for query in self.shoppers.queries]
        self._clicks: list[tuple[float, str]] = []  # when (hours), of which prediction: a heap
        self._closing = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._open()), name="storefront", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(30)

    async def _open(self) -> None:
        """Until it is closed; then all searches under way are answered and all clicks are told."""
        waiting: asyncio.Queue[Search] = asyncio.Queue()
        customers = [asyncio.create_task(self._serve(waiting)) for _ in range(CONNECTIONS)]
        teller = asyncio.create_task(self._tell_clicks())
        for search in self.shoppers.searches(self.hours):
            if search.at < self.begun:
                continue
            while search.at > self.clock.hours and not self._closing.is_set():
                await asyncio.sleep(min(self.clock.seconds(search.at - self.clock.hours), 0.05))
            if self._closing.is_set():
                break
            waiting.put_nowait(search)
        await waiting.join()
        for customer in customers:
            customer.cancel()
        await teller

    async def _serve(self, waiting: asyncio.Queue[Search]) -> None:
        """Answer one search after the other."""
        connection = Connection(self.port)
        with contextlib.closing(connection):
            while True:
                search = await waiting.get()
                try:
                    await self._answer(connection, search)
                except (OSError, EOFError):
                    self.counts["failed"] += 1  # the shopper sees an error and goes on
                    await asyncio.sleep(AWAY_SECONDS)
                finally:
                    waiting.task_done()

    async def _answer(self, connection: Connection, search: Search) -> None:
        if self.loses is not None and self.loses(search.shopper):
            self.counts["lost"] += 1
            return
        body = self._bodies[search.query]
        status, told, answer = await connection.post("/invocations", body, x_holdfast_unit=search.shopper)
        if status != 200:
            self.counts["failed"] += 1
            return
        self.counts["answered"] += 1
        name = told["x-holdfast-prediction-id"]
        self.answered[name] = told["x-holdfast-variant"]
        if self.shoppers.is_clicked(search, ranked(json.loads(answer)["predictions"])):
            heapq.heappush(self._clicks, (self.clock.hours + self.shoppers.click_hours(search), name))

    async def _tell_clicks(self) -> None:
        """Post the clicks that have happened, again and again until the gateway has them."""
        connection, due = Connection(self.port), []
        with contextlib.closing(connection):
            while self._clicks or due or not self._closing.is_set():
                await asyncio.sleep(TELL_SECONDS)
                while self._clicks and self._clicks[0][0] <= self.clock.hours:
                    due.append(self._click(*heapq.heappop(self._clicks)))
                with contextlib.suppress(OSError, EOFError):
                    if due and (await connection.post("/outcomes", json.dumps(due).encode()))[0] < 300:
                        self.counts["clicks"] += len(due)
                        due = []

    def _click(self, hours: float, name: str) -> dict[str, Any]:
        time = self.clock() + timedelta(hours=hours - self.clock.hours)
        return {"prediction_id": name, "name": "click", "value": 1, "time": time.isoformat()}
