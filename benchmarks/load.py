"""Load on an HTTP server from another process over keep-alive connections, as fast as it answers or at a fixed rate."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httptools
import numpy as np

PATIENCE = 30.0  # seconds until a request that has no answer is a failure


@dataclass(frozen=True)
class Result:
    """Of `count` answers in `seconds`, `failures` were not 2xx or did not come; quantiles are milliseconds of all answers."""

    count: int
    failures: int
    seconds: float
    p50: float
    p99: float
    longest: float
    statuses: Mapping[int, int]  # 0: the connection broke

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.count / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.rate:8.0f}/s  p50 {self.p50:7.2f} ms  p99 {self.p99:7.2f} ms  longest {self.longest:7.1f} ms  "
            f"{self.count} answers, {self.failures} failures"
        )


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None, host: str = "localhost") -> bytes:
    """A whole POST request with a JSON body."""
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def v2(model: str, values: Any, headers: Mapping[str, str] | None = None) -> bytes:
    """An inference request of the V2 protocol with one FP64 tensor of shape (n, k)."""
    array = np.asarray(values, dtype=np.float64)
    tensor = {"name": "x", "datatype": "FP64", "shape": list(array.shape), "data": array.ravel().tolist()}
    return post(f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode(), headers)


def run(
    host: str, port: int, requests: Sequence[bytes], concurrency: int, seconds: float, rate: float | None = None
) -> Result:
    """Send `requests` round and round over `concurrency` connections for `seconds`.

    Each connection sends its next request when it has its answer; with `rate` requests a second are sent when they are due, and
    their time counts from then, so that a server which stands still is not spared.
    """
    import uvloop

    return uvloop.run(_load(host, port, requests, concurrency, seconds, rate))


def apart(*args: Any, **kwargs: Any) -> Result:
    """`run` in a process of its own, so that it takes nothing from a server in this one but its share of the machine."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, *args, **kwargs).result()


@contextmanager
def server(target: Callable[..., None], *given: Any) -> Iterator[tuple[int, int]]:
    """`target(*given, told)` in a process of its own: the port that it sends into `told`, and the process's number."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*given, theirs))
    process.start()
    try:
        yield ours.recv(), process.pid or 0
    finally:
        process.terminate()
        process.join(10)


class Client(asyncio.Protocol):
    """One connection; `answer` is resolved with the status of the response to what was sent, 0 where the connection broke."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[int] | None = None
        self.transport: Any = None
        self._parser = httptools.HttpResponseParser(self)
        self._stays = True

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._stays = self._parser.should_keep_alive()
        self._resolve(self._parser.get_status_code())

    def connection_lost(self, _: Exception | None) -> None:
        self._stays = False
        self._resolve(0)

    @property
    def is_open(self) -> bool:
        return self._stays and self.transport is not None and not self.transport.is_closing()

    def send(self, request: bytes, loop: asyncio.AbstractEventLoop) -> asyncio.Future[int]:
        self.answer = loop.create_future()
        self.transport.write(request)
        return self.answer

    def _resolve(self, status: int) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(status)


async def _load(
    host: str, port: int, requests: Sequence[bytes], concurrency: int, seconds: float, rate: float | None
) -> Result:
    times: list[float] = []
    statuses: Counter[int] = Counter()
    due = itertools.count() if rate else None
    begun = time.perf_counter()
    await asyncio.gather(
        *(
            _connection(host, port, requests[number:] + requests[:number], begun, seconds, times, statuses, due, rate)
            for number in range(concurrency)
        )
    )
    return _result(times, statuses, time.perf_counter() - begun)


async def _connection(
    host: str,
    port: int,
    requests: Sequence[bytes],
    begun: float,
    seconds: float,
    times: list[float],
    statuses: Counter[int],
    due: Iterator[int] | None,
    rate: float | None,
) -> None:
    loop = asyncio.get_running_loop()
    client: Client | None = None
    for request in itertools.cycle(requests):
        sent = time.perf_counter()
        if due is not None and rate is not None:
            sent = begun + next(due) / rate
            await asyncio.sleep(max(0.0, sent - time.perf_counter()))
        if sent - begun > seconds:
            break
        if client is None or not client.is_open:
            try:
                _, client = await loop.create_connection(Client, host, port)
            except OSError:
                statuses[0] += 1
                await asyncio.sleep(0.01)
                continue
        try:
            status = (
                await asyncio.wait_for(client.send(request, loop), PATIENCE)
                if due
                else await client.send(request, loop)
            )
        except TimeoutError:
            status = 0
        statuses[status] += 1
        times.append(time.perf_counter() - sent)
    if client is not None:
        client.transport.close()


def _result(times: Sequence[float], statuses: Counter[int], seconds: float) -> Result:
    found = np.sort(np.array(times or [math.nan])) * 1000
    failures = sum(count for status, count in statuses.items() if not 200 <= status < 300)
    p50, p99 = (float(found[min(int(len(found) * part), len(found) - 1)]) for part in (0.5, 0.99))
    return Result(sum(statuses.values()), failures, seconds, p50, p99, float(found[-1]), dict(statuses))
