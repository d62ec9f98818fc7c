"""HTTP/1.1 to one host, as much of it as asking a model server needs: keep-alive connections, bounded in number and size."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import httptools

LARGEST_ANSWER = 256 << 20
MOST_CONNECTIONS = 64


class BrokenAnswer(Exception):
    """The server's answer is no HTTP, or too large."""


class _Stale(Exception):
    """A kept connection was closed before its first byte of this answer: the server had let go of it."""


@dataclass(slots=True)
class Answer:
    """A response; header names are lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._has_begun = False
        self._new_answer()

    def _new_answer(self) -> None:
        self._answer = Answer()
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> Answer:
        """The answer to the bytes of a request. Raises BrokenAnswer, OSError where the connection ends before it."""
        self._new_answer()
        self._has_begun = False
        self._waiter = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            raise _Stale
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            return self.close()  # nothing was asked
        self._has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(BrokenAnswer(f"its answer is no HTTP: {error}"))
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._has_begun:
            self._fail(_Stale())
        else:
            self._fail(exc if isinstance(exc, OSError) else ConnectionResetError("it closed the connection in between"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.close()

    # --- httptools ---

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._answer.body += data
        if len(self._answer.body) > LARGEST_ANSWER:
            self._fail(BrokenAnswer(f"its answer is larger than {LARGEST_ANSWER >> 20} MiB"))

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # a word in between, such as 100
            return
        self._answer.status = status
        if not self._parser.should_keep_alive():
            self.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._answer)


class HttpClient:
    """Requests to one host and port and to no other: redirects are answers like any other."""

    def __init__(self, host: str, port: int, *, is_tls: bool = False, connections: int = MOST_CONNECTIONS) -> None:
        self._host, self._port = host, port
        self._tls = ssl.create_default_context() if is_tls else None
        shown = f"[{host}]" if ":" in host else host
        self._authority = shown if port == (443 if is_tls else 80) else f"{shown}:{port}"
        self._room = asyncio.Semaphore(connections)
        self._idle: list[Connection] = []
        self._is_closed = False

    async def request(
        self, method: str, path: str, timeout: float, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The whole answer within `timeout` seconds, waiting for a connection included.

        Raises TimeoutError, OSError where the host cannot be reached, BrokenAnswer. A kept connection that turns out to be
        closed is replaced once; the request must bear being sent twice, as a prediction does.
        """
        data = self._bytes(method, path, body, headers or {})
        async with asyncio.timeout(timeout), self._room:
            if (kept := self._kept()) is not None:
                with contextlib.suppress(_Stale):
                    return await self._ask(kept, data)
            try:
                return await self._ask(await self._made(), data)
            except _Stale:
                raise ConnectionResetError("it closed the connection without an answer") from None

    def close(self) -> None:
        """Close every connection; requests under way fail."""
        self._is_closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _ask(self, connection: Connection, data: bytes) -> Answer:
        try:
            answer = await connection.ask(data)
        except BaseException:
            connection.close()
            raise
        if connection.is_open and not self._is_closed:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _made(self) -> Connection:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, self._host, self._port, ssl=self._tls))[1]

    def _bytes(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._authority}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + body
