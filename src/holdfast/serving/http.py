"""The little of HTTP that the gateway needs: a request, a response, a table of routes. Pure."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import orjson

Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
RETRY_AFTER = (b"retry-after", b"1")
_ENCODINGS = {"", "identity", "gzip", "x-gzip", "deflate"}


class HttpError(Exception):
    """A request that is answered with `status` and one sentence."""

    def __init__(self, status: int, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or []


def busy(message: str) -> HttpError:
    """503 with Retry-After."""
    return HttpError(503, message, [RETRY_AFTER])


@dataclass(slots=True)
class Response:
    """Status, headers without the length, body."""

    status: int
    headers: Headers
    body: bytes


def json_response(value: Any, status: int = 200) -> Response:
    return Response(status, [JSON], orjson.dumps(value))


Handler = Callable[..., Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Found:
    """Where a request goes: the route's path (for names of spans), its handler, and the parts of the path."""

    path: str
    handler: Handler
    parts: Mapping[str, str]


async def _nowhere(request: Request) -> Response:
    raise HttpError(404, f"there is nothing at {request.path[:200]!r}.")


NOWHERE = Found("", _nowhere, {})


class Request:
    """One request. `headers` are by lower-case name, of a name that comes twice the last; `body` is there when it is whole.

    `found` is where it goes, once its head is admitted.
    """

    __slots__ = ("body", "found", "headers", "keep_alive", "method", "path")

    def __init__(self, method: str, path: str, headers: dict[str, str], *, keep_alive: bool = True) -> None:
        self.method, self.path, self.headers, self.keep_alive = method, path, headers, keep_alive
        self.body = b""
        self.found = NOWHERE

    @property
    def has_body(self) -> bool:
        """Whether the head announces one."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"

    def check_head(self, limit: int) -> None:
        """Raises HttpError for a body that will not be taken: 413 or 415."""
        if self.headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
            raise HttpError(415, "expected a body with the content-encoding gzip or deflate, or none.")
        if int(self.headers.get("content-length", 0)) > limit:
            raise too_large(limit)


def too_large(limit: int) -> HttpError:
    return HttpError(413, f"expected a body of at most {limit} bytes (serving.max_body).")


class Application(Protocol):
    """What stands behind a port. Neither method raises."""

    def admit(self, request: Request) -> Response | None:
        """From the head alone: the response where the body is not wanted, None where it is."""
        ...

    async def answer(self, request: Request) -> Response:
        """The response to a whole request that was admitted."""
        ...

    def refusal(self, request: Request, error: HttpError) -> Response:
        """How a request is told what is wrong with it."""
        ...


@dataclass(frozen=True)
class Route:
    """Handlers by method of the paths like `path`, which has {names} of parts."""

    path: str
    methods: Mapping[str, Handler]
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.path))
        object.__setattr__(self, "pattern", re.compile(pattern))

    @property
    def allow(self) -> str:
        """The methods, for the header Allow."""
        return ", ".join(sorted({*self.methods, *({"HEAD"} if "GET" in self.methods else ())}))


class Routes:
    """One table of routes. HEAD is answered as GET; the connection leaves the body out."""

    def __init__(self, *routes: Route) -> None:
        self.routes = routes
        self._plain = {route.path: route for route in routes if "{" not in route.path}
        self.find = lru_cache(maxsize=256)(self._find)  # clients ask for the same few paths again and again

    def _find(self, method: str, path: str) -> Found:
        """Raises HttpError 404 or 405."""
        route, parts = self._route(path)
        if route is None:
            raise HttpError(404, f"there is nothing at {path[:200]!r}.")
        handler = route.methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allow = [(b"allow", route.allow.encode())]
            raise HttpError(405, f"expected {route.allow} for {route.path}, found {method}.", allow)
        return Found(route.path, handler, parts)

    def _route(self, path: str) -> tuple[Route | None, Mapping[str, str]]:
        plain = self._plain.get(path)
        if plain is not None:
            return plain, {}
        for route in self.routes:
            match = route.pattern.fullmatch(path)
            if match is not None:
                return route, match.groupdict()
        return None, {}
