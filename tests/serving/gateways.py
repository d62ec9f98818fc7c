"""A gateway for tests: versions that are numpy functions, a real server on free ports in a thread, and requests to it."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holdfast.config.serving import ServingConfig
from holdfast.release.routing import Routing
from holdfast.serving import server
from holdfast.serving.admin import Admin
from holdfast.serving.app import App
from holdfast.serving.gateway import Gateway
from holdfast.serving.limits import Limits
from holdfast.serving.log.encoding import table_of
from holdfast.serving.payload import Payload, tensor
from holdfast.serving.served import ModelFault, ModelSpec
from holdfast.serving.table import RoutingTable

TOKEN = "a token for tests"
MODEL = "cut"
Infer = Callable[[Payload], "Payload | Awaitable[Payload]"]


def row_sums(payload: Payload) -> Payload:
    """The sum of each row."""
    array = np.asarray(payload.arrays[0], dtype=np.float64)
    return tensor(array.reshape(len(array), -1).sum(axis=1), "y")


class FunctionModel:
    """A `ServedModel` around a function, plain or async; the timeout is kept as the contract says."""

    def __init__(self, version: str, function: Infer = row_sums, spec: ModelSpec | None = None) -> None:
        self.version, self.function = version, function
        self.spec = spec or ModelSpec()
        self.waiting = 0
        self.calls = 0
        self.is_alive = True

    async def infer(self, payload: Payload, timeout: float) -> Payload:
        self.calls += 1
        self.waiting += 1
        try:
            if not self.is_alive:
                raise ModelFault("died", f"version {self.version} is not there")
            found = self.function(payload)
            if isinstance(found, Payload):
                return found
            async with asyncio.timeout(timeout):
                return await found
        except TimeoutError:
            raise ModelFault("timed_out", f"version {self.version} took longer than {timeout:g} s") from None
        finally:
            self.waiting -= 1

    async def close(self) -> None:
        self.is_alive = False


def slow(seconds: float) -> Infer:
    """`row_sums` after a while."""

    async def infer(payload: Payload) -> Payload:
        await asyncio.sleep(seconds)
        return row_sums(payload)

    return infer


def raising(payload: Payload) -> Payload:
    raise RuntimeError("no such feature")


def table_with(
    champion: FunctionModel,
    canary: FunctionModel | None = None,
    share: float = 0.5,
    epoch: int = 1,
    release: str = "r1",
) -> RoutingTable:
    routing = Routing(
        model=MODEL,
        epoch=epoch,
        champion=champion.version,
        canary=None if canary is None else canary.version,
        share=share if canary else 0.0,
        release=release if canary else None,
    )
    return RoutingTable(routing, champion, canary)


@dataclass
class MemorySink:
    """Keeps records; `before` is awaited first, and may raise."""

    payloads: list[bytes] = field(default_factory=list)
    before: Callable[[], Awaitable[None]] | None = None
    refuses: bool = False

    async def append(self, payload: bytes) -> bool:
        if self.before is not None:
            await self.before()
        self.payloads.append(payload)
        return True

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The log's rows in the order in which they were written."""
        return [] if not self.payloads else table_of(self.payloads).to_pylist()


def settings(**given: Any) -> ServingConfig:
    return ServingConfig.model_validate({"port": 0, "admin_port": 0, "timeout": "500ms", "body_timeout": "1s", **given})


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A server that runs in a thread."""

    gateway: Gateway
    sink: Any
    port: int
    admin_port: int
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    thread: threading.Thread
    listeners: list[server.Listener]

    def do(self, action: Callable[[], Any]) -> Any:
        """Run a function on the server's loop and give what it returns."""

        async def call() -> Any:
            return action()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(30)
        assert not self.thread.is_alive()

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **how: Any
    ) -> Answer:
        content = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        return fetch(how.get("port", self.port), method, path, content, headers)

    def infer(self, rows: Sequence[Sequence[float]] = ((1.0, 2.0),), unit: str | None = None, **headers: str) -> Answer:
        """One V2 request."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if unit is not None:
            told["x-holdfast-unit"] = unit
        return self.request("POST", f"/v2/models/{MODEL}/infer", body_of(rows), told)

    def admin(self, method: str, path: str, token: str | None = TOKEN) -> Answer:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return fetch(self.admin_port, method, path, None, headers)


def body_of(rows: Any) -> dict[str, Any]:
    array = np.asarray(rows, dtype=np.float64)
    data = {"name": "x", "datatype": "FP64", "shape": list(array.shape), "data": array.ravel().tolist()}
    return {"inputs": [data]}


def fetch(port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request(method, path, body, dict(headers or {}))
        found = connection.getresponse()
        return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
    finally:
        connection.close()


@contextmanager
def running(
    table: RoutingTable | None, *, sink: Any = None, limits: Limits | None = None, more: Any = None, **given: Any
) -> Iterator[Running]:
    """A served gateway; `given` are fields of `ServingConfig`, `more` is passed to Gateway, App and Admin by name."""
    config, sink, more = settings(**given), sink or MemorySink(), dict(more or {})
    ready: threading.Event = threading.Event()
    box: dict[str, Any] = {}

    async def main() -> None:
        outcomes, admin = more.pop("outcomes", None), more.pop("admin", {})
        gateway = Gateway(MODEL, config, sink, **more)
        if table is not None:
            gateway.route(table)
        found = limits or Limits.of(config)
        listeners = [
            server.Listener(App(gateway, found, outcomes), config.host, config.port, found),
            server.Listener(Admin(gateway, TOKEN.encode(), **admin), config.admin_host, config.admin_port, found),
        ]
        box.update(gateway=gateway, loop=asyncio.get_running_loop(), stop=asyncio.Event())
        box.update(listeners=listeners, ports=[listener.port for listener in listeners])
        await server.serve(
            listeners, started=ready.set, draining=gateway.drain, closing=gateway.close, stop=box["stop"]
        )

    def work() -> None:
        try:
            server.run(main())
        finally:
            ready.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(10) and "ports" in box
    found = Running(box["gateway"], sink, *box["ports"], box["loop"], box["stop"], thread, box["listeners"])
    try:
        yield found
    finally:
        if thread.is_alive():
            found.end()
