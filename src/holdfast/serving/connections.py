"""One client's connection: HTTP/1.1 parsed by llhttp (httptools), with bounds on how long and how much a client may send.

A request is a task only when it is whole, so a slow client holds a socket and its bytes, and nothing else. Requests of one
connection are answered one after the other, in their order. Why not uvicorn: half of the time of a request would be its, it has
no time limit for heads, and its limits are none of ours.

`deadline` is when the connection has waited for its client for too long; a sweep a few times a second looks at all of them,
because a timer for each request would cost more than its routing.
"""

from __future__ import annotations

import asyncio
import http
import math
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import httptools

from holdfast.serving.http import TEXT, Application, Request, Response, busy, too_large
from holdfast.serving.limits import FREE_BODY, BodyBudget, Limits

MOST_HEADERS = 200
MOST_PIPELINED = 64  # requests of one connection that wait for their turn
_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_FRAMING = (b"content-length", b"transfer-encoding")
_WRONG = {
    400: b"this is no HTTP/1.1 request.",
    408: b"the request did not arrive in time.",
    431: b"the head of the request is too large.",
}


@dataclass(slots=True)
class Port:
    """What the connections of one port share. `date` is a line of every answer, `now` the loop's time at the last sweep."""

    app: Application
    limits: Limits
    budget: BodyBudget
    connections: set[Connection] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    date: bytes = b""
    now: float = 0.0


class _Beyond(Exception):
    """A client sends more than it may; stops the parser."""


class Connection(asyncio.Protocol):
    """See the module."""

    def __init__(self, port: Port, loop: asyncio.AbstractEventLoop) -> None:
        self.port, self.loop, self.limits = port, loop, port.limits
        self.deadline = math.inf
        self.transport: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, Response | None, int]] = deque()
        self._is_busy = self._is_blocked = self._is_last = False
        self._task: Any = None
        self._stuck_since: float | None = None
        # of the request that arrives; `_request` None while its head does, `_wanted` until it was refused
        self._begun = self._wanted = False
        self._request: Request | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._silent = 0  # bytes since the last that was body: all of a head, of trailers, of chunk extensions
        self._failed = 0
        self._is_told = False  # while a new parser is told what is known already

    # The socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.port.connections.add(self)
        self._wait(self.limits.request_seconds)
        if len(self.port.connections) > self.limits.connections:
            self.transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self.port.connections.discard(self)
        while self._waiting:
            self.port.budget.give(self._waiting.popleft()[2])
        self._forget()

    def eof_received(self) -> bool:
        """The client sends no more; what it sent is answered."""
        self._is_last = True
        return self._is_busy

    def pause_writing(self) -> None:
        self._is_blocked = True

    def resume_writing(self) -> None:
        self._is_blocked, self._stuck_since = False, None
        self._next()

    def data_received(self, data: bytes) -> None:
        self._silent += len(data)
        while data and not self._failed and not self.transport.is_closing():
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._stay()
            except httptools.HttpParserError:
                return self._fail(self._failed or 400)
        if self._silent > self.limits.head and not self._failed:
            self._fail(431)
        return None

    def _stay(self) -> None:
        """Go on with HTTP/1.1 where the client offers another protocol, as Java's always does.

        llhttp stops there, and takes a body for the other protocol. So a new parser is told how long it is, and reads it.
        """
        self._parser = httptools.HttpRequestParser(self)
        if self._begun:
            length = [b"%s: %s\r\n" % header for header in self._headers if header[0].lower() in _FRAMING]
            self._is_told = True
            self._parser.feed_data(b"".join((b"POST / HTTP/1.1\r\n", *length, b"\r\n")))
            self._is_told = False

    # The parser

    def on_message_begin(self) -> None:
        if self._is_told:
            return
        self._begun, self._request, self._wanted = True, None, True
        self._url, self._headers = b"", []
        self._wait(self.limits.request_seconds)

    def on_url(self, url: bytes) -> None:
        if not self._is_told:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._request is not None:  # behind a chunked body they come too late to be believed
            return
        self._headers.append((name, value))
        if len(self._headers) > MOST_HEADERS:
            self._stop(431)

    def on_headers_complete(self) -> None:
        if self._is_told:
            return
        if self._silent > self.limits.head and self._head_bytes() > self.limits.head:
            self._stop(431)
        parser = self._parser
        version = parser.get_http_version()
        if len(self._waiting) >= MOST_PIPELINED or version not in ("1.1", "1.0"):
            self._stop(400)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._headers}
        keep = version == "1.1" and parser.should_keep_alive()
        request = self._request = Request(parser.get_method().decode(), path_of(self._url), headers, keep_alive=keep)
        refusal = self.port.app.admit(request)
        if refusal is not None:
            self._refuse(refusal)
        elif "expect" in headers and not self._is_busy:
            self.transport.write(_CONTINUE)

    def _head_bytes(self) -> int:
        return len(self._url) + sum(len(name) + len(value) for name, value in self._headers)

    def on_body(self, body: bytes) -> None:
        self._silent = 0
        request = self._request
        if not self._wanted or request is None:
            return
        size = self._size + len(body)
        if size > self.limits.body:
            self._refuse(self.port.app.refusal(request, too_large(self.limits.body)))
        elif size > FREE_BODY and not self.port.budget.take(self._size, size):
            busy_now = busy("too many large requests are under way on this replica.")
            self._refuse(self.port.app.refusal(request, busy_now))
        else:
            self._size = size
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        request = self._request
        if request is not None and self._parser.should_upgrade() and request.has_body:
            return  # as llhttp has it; the body is still to come
        self._begun, self._silent, self.deadline = False, 0, math.inf
        if self._wanted and request is not None:
            request.body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self._enqueue(request, None)
        elif not self._is_busy:
            self._wait(self.limits.keep_alive)

    def _stop(self, status: int) -> None:
        self._failed = status
        raise _Beyond

    # Requests in their order

    def _refuse(self, response: Response) -> None:
        """Answer without the body, of which the rest is read and forgotten."""
        request = self._request
        if request is None:
            return
        self._wanted = False
        if "expect" in request.headers:  # nobody can tell whether the body comes, so nor what comes next
            request.keep_alive = False
        self.port.budget.give(self._size)
        self._size = 0
        self._enqueue(request, response)

    def _enqueue(self, request: Request, response: Response | None) -> None:
        self._waiting.append((request, response, self._size))
        self._chunks, self._size = [], 0
        if self._is_busy or self._is_blocked:
            self.transport.pause_reading()
        else:
            self._next()

    def _next(self) -> None:
        """Begin with the request that waits longest, where there is one and the client takes its answers."""
        if self._is_busy or self._is_blocked or not self._waiting:
            return
        request, response, size = self._waiting.popleft()
        self._is_busy = True
        if response is not None:
            self._finish(request, response, size)
            return
        self._task = self.loop.create_task(self._answer(request, size))
        self.port.tasks.add(self._task)

    async def _answer(self, request: Request, size: int) -> None:
        try:
            response = await self.port.app.answer(request)
        finally:
            self.port.tasks.discard(self._task)
        self._finish(request, response, size)

    def _finish(self, request: Request, response: Response, size: int) -> None:
        self._is_busy = False
        if size > FREE_BODY:
            self.port.budget.give(size)
        if self.transport.is_closing():
            return
        stays = request.keep_alive and (not (self._is_last or self._failed) or bool(self._waiting))
        self._write(response, stays=stays, with_body=request.method != "HEAD")
        if not stays:
            self.transport.close()
        elif self._waiting:
            self._next()
        else:
            self.transport.resume_reading()
            if not self._begun:
                self._wait(self.limits.keep_alive)

    def _write(self, response: Response, *, stays: bool, with_body: bool) -> None:
        parts = [_STATUS[response.status], self.port.date]
        for name, value in response.headers:
            parts += (name, b": ", value, b"\r\n")
        if not stays:
            parts.append(b"connection: close\r\n")
        parts.append(b"content-length: %d\r\n\r\n" % len(response.body))
        if with_body:
            parts.append(response.body)
        self.transport.write(b"".join(parts))

    def _fail(self, status: int) -> None:
        """End the connection, after the answers to the whole requests before the one that failed."""
        self._failed = status
        self._forget()
        if self._is_busy or self._waiting:
            self.transport.pause_reading()
            return
        if self._wanted or not self._begun:  # else this request has its answer already
            self._write(Response(status, [TEXT], _WRONG[status]), stays=False, with_body=True)
        self.transport.close()

    def _forget(self) -> None:
        """Let go of the request that arrives."""
        self.port.budget.give(self._size)
        self._chunks, self._size = [], 0

    # Time

    def _wait(self, seconds: float) -> None:
        self.deadline = self.port.now + seconds

    def sweep(self, now: float) -> None:
        """End what has waited for its client for too long; `now` is the loop's time."""
        if self.transport.is_closing() or self._is_blocked:
            if self._stuck_since is None:
                self._stuck_since = now
            elif now - self._stuck_since > self.limits.request_seconds:
                self.transport.abort()
        elif now > self.deadline:
            self._expire()

    def _expire(self) -> None:
        if self._is_busy or self._waiting:  # reading is paused: the client may have sent it all
            self._wait(self.limits.request_seconds)
        elif self._begun:
            self._fail(408)
        else:
            self.transport.close()

    def last(self) -> None:
        """Answer what was begun, or else the request that may be on its way, and tell the client to leave."""
        self._is_last = True

    def shutdown(self) -> None:
        """Answer what was begun; close at once where nothing was."""
        self._is_last = True
        if not (self._is_busy or self._waiting or self._begun):
            self.transport.close()


@lru_cache(maxsize=256)
def path_of(url: bytes) -> str:
    """The decoded path of a request's target. Raises HttpParserInvalidURLError, or UnicodeDecodeError."""
    if url[:1] != b"/" or b"?" in url or b"#" in url:
        url = httptools.parse_url(url).path or b"/"
    path = url.decode("ascii")
    return unquote(path) if "%" in path else path
