"""Listening, and stopping without losing what was accepted: the clients' port and the admin port on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from typing import Any

from holdfast.errors import OutsideError
from holdfast.serving.connections import Connection, Port
from holdfast.serving.http import Application
from holdfast.serving.limits import BODIES, BodyBudget, Limits

log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
BACKLOG = 2048
SWEEP = 0.25  # seconds
GRACE = 0.5  # seconds of a shutdown in which idle connections may still bring the request that is on its way


class Listener:
    """One port, bound when it is made, and its connections."""

    def __init__(self, app: Application, host: str, port: int, limits: Limits) -> None:
        self.limits = limits
        self._socket = _bound(host, port)
        self._port = Port(app, limits, BodyBudget(BODIES * limits.body))
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that it listens on, also where 0 was asked for."""
        return int(self._socket.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._port.connections)

    @property
    def held(self) -> int:
        """Bytes of large bodies that are held now."""
        return self._port.budget.held

    async def start(self) -> None:
        """Take connections."""
        self.tick()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._port, loop), sock=self._socket, backlog=BACKLOG
        )

    def tick(self) -> None:
        """What is due a few times a second: the date of answers, and clients that take too long."""
        self._port.date = f"date: {formatdate(time.time(), usegmt=True)}\r\n".encode()
        self._port.now = asyncio.get_running_loop().time()
        for connection in list(self._port.connections):
            connection.sweep(self._port.now)

    def close(self) -> None:
        """Take no more connections; those that are there stay."""
        if self._server is not None:
            self._server.close()
        self._socket.close()

    async def drain(self, until: float) -> int:
        """Answer what was begun until `until` (loop time); then cut what is left, and say how many requests that were."""
        loop = asyncio.get_running_loop()
        idle_until = min(loop.time() + GRACE, until)
        while (self._port.connections or self._port.tasks) and loop.time() < until:
            for connection in list(self._port.connections):
                connection.last() if loop.time() < idle_until else connection.shutdown()
            self.tick()
            await asyncio.sleep(0.02)
        left = list(self._port.tasks)
        for connection in list(self._port.connections):
            connection.transport.abort()
        for task in left:
            task.cancel()
        return len(left)


async def serve(
    listeners: Sequence[Listener],
    *,
    started: Callable[[], None] = lambda: None,
    draining: Callable[[], None] = lambda: None,
    closing: Callable[[], Awaitable[None]] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or `stop`; the first listener is the clients'.

    Then `draining` is called (readiness turns false), new connections are refused, what was accepted is answered within
    `drain_seconds`, and `closing` ends the log and the models. The admin port answers until then. A second signal ends the
    process at once.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    with _signals(loop, stop):
        for listener in listeners:
            await listener.start()
        gc.collect()
        gc.freeze()  # what is loaded stays; to look through all of it again and again would show in the p99
        started()
        while not stop.is_set():
            for listener in listeners:
                listener.tick()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), SWEEP)
        draining()
        await _stopped(listeners, loop)
        if closing is not None:
            await closing()


async def _stopped(listeners: Sequence[Listener], loop: asyncio.AbstractEventLoop) -> None:
    clients = listeners[0]
    log.info("draining", extra={"connections": clients.connections})
    until = loop.time() + clients.limits.drain_seconds
    clients.close()
    left = await clients.drain(until)
    if left:
        log.error("requests cut at shutdown", extra={"requests": left})
    for listener in listeners[1:]:
        listener.close()
        await listener.drain(loop.time() + 1.0)


@contextlib.contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> Any:
    """The first signal sets `stop`; the second has its usual effect. Outside of the main thread there are none."""

    def first(number: int) -> None:
        log.info("signal", extra={"signal": signal.Signals(number).name})
        for each in _SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        stop.set()

    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, first, number)
    except (ValueError, RuntimeError):  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def run(main: Awaitable[None]) -> None:
    """Run on uvloop where it is there."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)  # type: ignore[arg-type]
    else:
        uvloop.run(main)  # type: ignore[arg-type]


def _bound(host: str, port: int) -> socket.socket:
    """A socket bound to the address. OutsideError where it is taken or not ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OutsideError(f"the host {host} is not known here: {error}.", reason_code="unknown_host") from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setblocking(False)
        found.bind(address)
    except OSError as error:
        found.close()
        raise OutsideError(
            f"{host}:{port} cannot be listened on: {error.strerror}.",
            hint="Choose another serving.port or serving.admin_port, or stop what has it.",
            reason_code="port_taken",
        ) from None
    return found
