"""The gateway's face to clients: the V2 protocol, MLflow's `/invocations`, outcomes."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from holdfast import __version__
from holdfast.serving.admission import Overloaded
from holdfast.serving.aside import LARGE_BODY
from holdfast.serving.gateway import Answered, Asked, Gateway, NotReady, NotServing, Unanswered
from holdfast.serving.http import (
    JSON,
    TEXT,
    Headers,
    HttpError,
    Request,
    Response,
    Route,
    Routes,
    busy,
    json_response,
)
from holdfast.serving.limits import Limits
from holdfast.serving.log.writer import LogUnavailable
from holdfast.serving.payload import Payload
from holdfast.serving.protocol import invocations, v2
from holdfast.serving.protocol.compression import decoded
from holdfast.serving.protocol.units import answer_headers, override_of, unit_of
from holdfast.serving.served import BadInput, ServedModel

log = logging.getLogger(__name__)
_MODEL, _VERSION = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
_AWAY = ("died", "unreachable", "overloaded")  # faults of a version that may be over soon

_PREDICTIONS = frozenset({f"{_MODEL}/infer", f"{_VERSION}/infer", "/invocations"})

Written = tuple[Headers, bytes]
Outcomes = Callable[[Sequence[Any]], Awaitable[Mapping[str, Any]]]


class App:
    """The application around a gateway. `outcomes` takes the entries of a POST and gives counts to tell the client."""

    def __init__(self, gateway: Gateway, limits: Limits, outcomes: Outcomes | None = None) -> None:
        self.gateway, self.limits = gateway, limits
        self.tracing = gateway.tracing
        self.routes = self._routes(outcomes)
        self._outcomes = outcomes

    def _routes(self, outcomes: Outcomes | None) -> Routes:
        told = () if outcomes is None else (Route("/outcomes", {"POST": self._take_outcomes}),)
        return Routes(
            Route("/invocations", {"POST": self._invocations}),
            Route("/v2", {"GET": self._server}),
            Route("/v2/health/live", {"GET": self._live}),
            Route("/v2/health/ready", {"GET": self._ready}),
            Route(_MODEL, {"GET": self._metadata}),
            Route(_VERSION, {"GET": self._metadata}),
            Route(f"{_MODEL}/ready", {"GET": self._ready}),
            Route(f"{_VERSION}/ready", {"GET": self._ready}),
            Route(f"{_MODEL}/infer", {"POST": self._infer}),
            Route(f"{_VERSION}/infer", {"POST": self._infer}),
            Route("/ping", {"GET": self._ping}),
            Route("/health", {"GET": self._ping}),
            Route("/version", {"GET": self._version}),
            *told,
        )

    def admit(self, request: Request) -> Response | None:
        try:
            request.found = self.routes.find(request.method, request.path)
            request.check_head(self.limits.body)
            if self.gateway.admission.is_full and request.found.path in _PREDICTIONS:
                self.gateway.admission.refused += 1
                raise busy("this replica has as many requests under way as it takes.")
        except HttpError as error:
            return self.refusal(request, error)
        return None

    async def answer(self, request: Request) -> Response:
        if self.tracing is None:
            return await self._handled(request)
        with self.tracing.request(request.method, request.found.path, request.headers) as span:
            response = await self._handled(request)
            span.set_attribute("http.response.status_code", response.status)
            for name, value in response.headers:
                if name.startswith(b"x-holdfast-"):
                    span.set_attribute(name.decode().replace("x-holdfast-", "holdfast."), value.decode())
            return response

    async def _handled(self, request: Request) -> Response:
        """The response to any request; whatever goes wrong is one too."""
        try:
            return await request.found.handler(request, **request.found.parts)
        except Exception as error:  # noqa: BLE001 - nothing that a client sends may end in a broken connection
            if isinstance(error, Unanswered):
                return self._refusal(request, _as_http(error), error.variant, error.version)
            return self.refusal(request, _as_http(error))

    def refusal(self, request: Request, error: HttpError) -> Response:
        return self._refusal(request, error)

    def _refusal(self, request: Request, error: HttpError, variant: str = "", version: str = "") -> Response:
        if request.found.path in _PREDICTIONS:
            self.gateway.metrics.refused(variant, version, error.status)
        return Response(error.status, [JSON, *error.headers], _error_body(request.path, error))

    # Predictions

    async def _infer(self, request: Request, name: str | None = None, version: str | None = None) -> Response:
        if name is not None:
            self._known(name)
        begun = time.perf_counter()
        headers = request.headers
        asked = await self.gateway.aside(_is_large(request), v2.parse, request.body, headers, self.limits.body)

        def write(outputs: Payload, version: str) -> Written:
            return v2.answer(asked, outputs, self.gateway.model, version)

        unit = unit_of(headers, asked.unit)
        answered = await self.gateway.answer(Asked(asked.payload, write, unit, override_of(headers), version))
        return self._told(answered, begun)

    async def _invocations(self, request: Request) -> Response:
        begun = time.perf_counter()
        headers = request.headers
        payload = await self.gateway.aside(_is_large(request), self._invocation, request)

        def write(outputs: Payload, version: str) -> Written:  # noqa: ARG001 - this protocol has no place for it
            return [JSON], invocations.answer(outputs)

        answered = await self.gateway.answer(Asked(payload, write, unit_of(headers), override_of(headers)))
        return self._told(answered, begun)

    def _invocation(self, request: Request) -> Payload:
        headers = request.headers
        return invocations.parse(decoded(request.body, headers, self.limits.body), headers.get("content-type"))

    def _told(self, answered: Answered, begun: float) -> Response:
        headers, body = answered.content
        variant, version = answered.variant, answered.version
        self.gateway.metrics.answered(variant, version, 200, time.perf_counter() - begun)
        return Response(200, [*headers, *answer_headers(answered.prediction_id, variant, version)], body)

    # What is here

    async def _server(self, _: Request) -> Response:
        return Response(200, [JSON], v2.server_metadata(__version__))

    async def _live(self, _: Request) -> Response:
        return Response(200, [JSON], v2.live(is_live=True))

    async def _ready(self, _: Request, name: str | None = None, version: str | None = None) -> Response:
        ready = self.gateway.is_ready
        if name is not None:
            self._known(name)
        if version is not None:
            ready = ready and self._serving(version).is_alive
        return Response(200 if ready else 503, [JSON], v2.ready(ready, name))

    async def _metadata(self, _: Request, name: str, version: str | None = None) -> Response:
        self._known(name)
        table = self.gateway.table
        if table is None:
            raise busy("no version is loaded yet.")
        model = table.champion if version is None else self._serving(version)
        versions = [found.version for found in (table.champion, table.canary) if found is not None]
        return Response(200, [JSON], v2.model_metadata(name, versions, model.spec))

    async def _ping(self, _: Request) -> Response:
        return Response(200 if self.gateway.is_ready else 503, [JSON], b"\n")

    async def _version(self, _: Request) -> Response:
        return Response(200, [TEXT], __version__.encode())

    def _known(self, name: str) -> None:
        if name != self.gateway.model:
            raise HttpError(404, f"expected the model {self.gateway.model}, found {name[:200]!r}.")

    def _serving(self, version: str) -> ServedModel:
        model = self.gateway.serving(version)
        if model is None:
            raise HttpError(404, f"version {version[:200]!r} of {self.gateway.model} is not serving here.")
        return model

    # Outcomes

    async def _take_outcomes(self, request: Request) -> Response:
        if self._outcomes is None:
            raise HttpError(404, "outcomes are not taken here.")
        try:
            found = await self.gateway.aside(_is_large(request), orjson.loads, request.body)
        except orjson.JSONDecodeError as error:
            raise HttpError(400, f"expected outcomes as JSON: {error}.") from None
        entries = found.get("outcomes", [found]) if isinstance(found, dict) else found
        if not isinstance(entries, list):
            raise HttpError(400, "expected a list of objects with prediction_id, name and value.")
        said = await self._outcomes(entries)
        is_taken = not entries or said.get("accepted") or said.get("repeated")
        return json_response(said, 200 if is_taken else 400)


def _is_large(request: Request) -> bool:
    """Whether reading it would hold up others; what a compressed body comes to is not known before."""
    return len(request.body) > LARGE_BODY or "content-encoding" in request.headers


def _as_http(error: Exception) -> HttpError:
    match error:
        case HttpError():
            return error
        case BadInput():
            return HttpError(400, str(error))
        case NotServing():
            return HttpError(404, str(error))
        case Unanswered() if error.fault not in _AWAY:
            return HttpError(504 if error.fault == "timed_out" else 502, str(error))
        case Overloaded() | NotReady() | Unanswered():
            found = str(error)
        case LogUnavailable():
            found = "the log cannot be written now, and this project answers nothing without its record."
        case _:
            log.error("internal error", exc_info=error)
            return HttpError(500, "something in the gateway went wrong; its log says what.")
    return busy(found)


def _error_body(path: str, failed: HttpError) -> bytes:
    """As each protocol's clients look for it."""
    if path == "/invocations":
        code = "BAD_REQUEST" if failed.status < 500 else "INTERNAL_ERROR"
        return orjson.dumps({"error_code": code, "message": failed.message})
    return v2.error(failed.message)
