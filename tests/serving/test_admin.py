"""Deny by default: every route of the admin port, without, with a wrong and with the right token."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.serving.admin import Admin, token_of
from holdfast.serving.gateway import Gateway
from tests.serving.gateways import (
    MODEL,
    TOKEN,
    FunctionModel,
    MemorySink,
    Running,
    fetch,
    running,
    settings,
    table_with,
)

ROUTES = [
    (method, route.path)
    for route in Admin(Gateway(MODEL, settings(), MemorySink()), None).routes.routes
    for method in route.methods
]
UNKNOWN = [
    ("GET", "/"),
    ("GET", "/v2"),
    ("POST", "/metrics"),
    ("GET", "/metrics/"),
    ("GET", "//metrics"),
    ("PUT", "/drain"),
]
WRONG: list[dict[str, str]] = [
    {},
    {"authorization": ""},
    {"authorization": "Bearer "},
    {"authorization": "Bearer wrong"},
    {"authorization": f"Bearer {TOKEN}x"},
    {"authorization": f"Bearer {TOKEN[:-1]}"},
    {"authorization": f"bearer {TOKEN}"},
    {"authorization": f"Basic {TOKEN}"},
    {"authorization": TOKEN},
    {"authorization": f"Bearer {TOKEN}", "Authorization": "Bearer wrong"},
    {"authorization": "Bearer \xff\xfe"},
    {"cookie": f"token={TOKEN}"},
]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(table_with(FunctionModel("1"), FunctionModel("2"))) as found:
        yield found


@pytest.mark.parametrize("headers", WRONG)
def test_no_route_answers_without_the_token(server: Running, headers: dict[str, str]) -> None:
    for method, path in ROUTES + UNKNOWN:
        found = fetch(server.admin_port, method, path, None, headers)
        assert found.status == 401, (method, path)
        assert found.headers["www-authenticate"] == "Bearer"
        assert set(found.json) == {"error"}
    assert not server.gateway.is_draining


def test_every_route_answers_with_it(server: Running) -> None:
    assert {path for _, path in ROUTES} == {"/metrics", "/status", "/routing", "/drain"}
    for method, path in ROUTES:
        assert server.admin(method, path).status in (200, 202), (method, path)
    assert [server.admin(method, path).status for method, path in UNKNOWN] == [404, 404, 405, 404, 404, 405]
    assert server.gateway.is_draining


def test_without_a_token_in_the_environment_all_is_denied(caplog: pytest.LogCaptureFixture) -> None:
    config = settings()
    with caplog.at_level(logging.WARNING):
        assert token_of(config, {}) is None
        assert token_of(config, {"HOLDFAST_ADMIN_TOKEN": ""}) is None
    assert "HOLDFAST_ADMIN_TOKEN" in str([vars(record).get("reason") for record in caplog.records])
    assert token_of(config, {"HOLDFAST_ADMIN_TOKEN": "ü"}) == "ü".encode()
    admin = Admin(Gateway(MODEL, settings(), MemorySink()), None)
    from holdfast.serving.http import Request

    for header in ("", "Bearer ", "Bearer", "Bearer None"):
        found = admin.admit(Request("GET", "/metrics", {"authorization": header}))
        assert found is not None and found.status == 401


def test_status_tells_what_is_served() -> None:
    nudges: list[int] = []
    more: dict[str, Any] = {
        "admin": {"nudge": lambda: nudges.append(1), "status": lambda: {"follower": {"ready": True}}}
    }
    with running(table_with(FunctionModel("1"), FunctionModel("2"), 0.25), more=more) as server:
        server.infer()
        found = server.admin("GET", "/status").json
        assert found["routing"]["share"] == 0.25 and found["ready"] and not found["breaker"]["open"]
        assert found["versions"]["canary"] == {"version": "2", "alive": True, "waiting": 0}
        assert found["queue"] == {"under_way": 0, "limit": 256, "refused": 0}
        assert found["follower"] == {"ready": True}
        assert server.admin("POST", "/routing").status == 202 and nudges == [1]
        assert server.admin("POST", "/drain").json == {"ready": False}
        assert server.request("GET", "/v2/health/ready").status == 503
        assert server.infer().status == 200
