"""The operator's port: metrics, status, a nudge, draining. Nothing answers without the token."""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from holdfast.config.serving import ServingConfig
from holdfast.serving.gateway import Gateway
from holdfast.serving.http import (
    JSON,
    HttpError,
    Request,
    Response,
    Route,
    Routes,
    json_response,
)
from holdfast.serving.metrics import exposition
from holdfast.serving.served import ServedModel

log = logging.getLogger(__name__)
BODY = 64 * 1024


def token_of(config: ServingConfig, environ: Mapping[str, str] = os.environ) -> bytes | None:
    """The token in the environment variable that the project names; None, with a warning, where it is not set."""
    token = environ.get(config.admin_token, "").encode()
    if not token:
        log.warning("admin port closed", extra={"reason": f"{config.admin_token} is not set; nobody can use it"})
    return token or None


class Admin:
    """The application of the admin port.

    Every path, known or not, first wants `Authorization: Bearer TOKEN`; there is no list of exceptions. `nudge` is called
    when the ledger should be looked at now, `status` adds what others know to the gateway's status.
    """

    def __init__(
        self,
        gateway: Gateway,
        token: bytes | None,
        *,
        nudge: Callable[[], None] = lambda: None,
        status: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.gateway = gateway
        self._wanted = None if token is None else b"Bearer " + token
        self._nudge, self._more = nudge, status
        self.routes = Routes(
            Route("/metrics", {"GET": self._metrics}),
            Route("/status", {"GET": self._status}),
            Route("/routing", {"POST": self._routing}),
            Route("/drain", {"POST": self._drain}),
        )

    def admit(self, request: Request) -> Response | None:
        try:
            self._authorize(request)
            request.found = self.routes.find(request.method, request.path)
            request.check_head(BODY)
        except HttpError as error:
            return self.refusal(request, error)
        return None

    async def answer(self, request: Request) -> Response:
        try:
            return await request.found.handler(request)
        except Exception:
            log.exception("internal error")
            return self.refusal(request, HttpError(500, "something went wrong; the gateway's log says what."))

    def refusal(self, request: Request, error: HttpError) -> Response:  # noqa: ARG002 - all are told alike
        return Response(error.status, [JSON, *error.headers], orjson.dumps({"error": error.message}))

    def _authorize(self, request: Request) -> None:
        given = request.headers.get("authorization", "").encode("latin-1")
        wanted = self._wanted or b""
        if not hmac.compare_digest(given, wanted) or not wanted:
            how = [(b"www-authenticate", b"Bearer")]
            raise HttpError(401, "expected the header Authorization: Bearer TOKEN with the admin token.", how)

    async def _metrics(self, request: Request) -> Response:
        content_type, body = exposition(self.gateway.metrics, request.headers.get("accept", ""))
        return Response(200, [(b"content-type", content_type.encode())], body)

    async def _status(self, _: Request) -> Response:
        return json_response({**status_of(self.gateway), **self._more()})

    async def _routing(self, _: Request) -> Response:
        self._nudge()
        return json_response({"nudged": True}, 202)

    async def _drain(self, _: Request) -> Response:
        self.gateway.drain()
        return json_response({"ready": self.gateway.is_ready})


def status_of(gateway: Gateway) -> dict[str, Any]:
    """What the gateway knows of itself, as JSON."""
    table, admission, breaker = gateway.table, gateway.admission, gateway.breaker
    models = {} if table is None else {"champion": table.champion, "canary": table.canary, "previous": table.previous}
    return {
        "schema": 1,
        "model": gateway.model,
        "ready": gateway.is_ready,
        "draining": gateway.is_draining,
        "routing": None if table is None else table.routing.to_json(),
        "versions": {role: _version(model) for role, model in models.items()},
        "queue": {"under_way": admission.under_way, "limit": admission.limit, "refused": admission.refused},
        "shed": gateway.shed,
        "breaker": {"open": breaker.is_open, "release": breaker.release, "reason": breaker.reason},
    }


def _version(model: ServedModel | None) -> dict[str, Any] | None:
    return None if model is None else {"version": model.version, "alive": model.is_alive, "waiting": model.waiting}
