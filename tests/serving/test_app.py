"""The routes over real HTTP."""

from __future__ import annotations

import gzip
import http.client
import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast import __version__
from holdfast.serving.http import HttpError, Route, Routes
from holdfast.serving.log.writer import LogUnavailable
from holdfast.serving.outcomes import OutcomeIntake
from tests.serving.gateways import (
    MODEL,
    FunctionModel,
    MemorySink,
    Running,
    body_of,
    raising,
    running,
    slow,
    table_with,
)

INFER = f"/v2/models/{MODEL}/infer"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(table_with(FunctionModel("1"), FunctionModel("2"), 0.5)) as found:
        yield found


GETS: list[tuple[str, int, Any]] = [
    ("/v2", 200, {"name": "holdfast", "version": __version__, "extensions": ["binary_tensor_data"]}),
    ("/v2/health/live", 200, {"live": True}),
    ("/v2/health/ready", 200, {"ready": True}),
    (f"/v2/models/{MODEL}", 200, None),
    (f"/v2/models/{MODEL}/ready", 200, None),
    (f"/v2/models/{MODEL}/versions/2", 200, None),
    (f"/v2/models/{MODEL}/versions/2/ready", 200, None),
    (f"/v2/models/{MODEL}/versions/2/ready?verbose=1", 200, None),
    ("/v2/models/c%75t", 200, None),
    (f"/v2/models/{MODEL}/versions/9", 404, None),
    (f"/v2/models/{MODEL}/versions/9/ready", 404, None),
    ("/v2/models/other", 404, None),
    ("/v2/models/other/ready", 404, None),
    (f"/v2/models/{MODEL}/versions/", 404, None),
    ("/v2/models/", 404, None),
    ("/ping", 200, None),
    ("/health", 200, None),
    ("/version", 200, None),
    ("/metrics", 404, None),
    ("/status", 404, None),
    ("/outcomes", 404, None),
    ("/", 404, None),
    ("/%00", 404, None),
    (f"/v2/models/{MODEL}/../../../../etc/passwd", 404, None),
]


@pytest.mark.parametrize(("path", "status", "says"), GETS)
def test_what_is_here(server: Running, path: str, status: int, says: Any) -> None:
    found = server.request("GET", path)
    assert found.status == status
    if says is not None:
        assert found.json == says
    head = server.request("HEAD", path)
    assert (head.status, head.body) == (status, b"")
    assert head.headers["content-length"] == str(len(found.body))


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", INFER, "POST"),
        ("PUT", "/invocations", "POST"),
        ("POST", "/v2/health/live", "GET, HEAD"),
        ("DELETE", f"/v2/models/{MODEL}", "GET, HEAD"),
        ("OPTIONS", "/ping", "GET, HEAD"),
    ],
)
def test_another_method_is_told_which_ones_there_are(server: Running, method: str, path: str, allow: str) -> None:
    found = server.request(method, path)
    assert (found.status, found.headers["allow"]) == (405, allow)


def test_a_prediction_says_who_answered_and_is_the_row_of_the_log(server: Running) -> None:
    found = server.infer([[1.0, 2.0], [3.0, 4.0]], unit="ü-1".encode().decode("latin-1"))
    assert found.status == 200
    assert found.json["outputs"][0]["data"] == [3.0, 7.0]
    said = {name: found.headers[f"x-holdfast-{name}"] for name in ("prediction-id", "variant", "version")}
    rows = [row for row in server.sink.rows if row["prediction_id"] == said["prediction-id"]]
    assert [(row["row"], row["output"], row["unit"]) for row in rows] == [(0, "3.0", "ü-1"), (1, "7.0", "ü-1")]
    assert {(row["variant"], row["version"]) for row in rows} == {(said["variant"], said["version"])}
    assert found.json["model_version"] == said["version"]


def test_the_unit_may_stand_in_the_parameters(server: Running) -> None:
    body = {**body_of([[1.0]]), "parameters": {"unit": "u7"}}
    one, other = server.request("POST", INFER, body, JSON), server.infer([[1.0]], unit="u7")
    assert one.headers["x-holdfast-variant"] == other.headers["x-holdfast-variant"]


@pytest.mark.parametrize("variant", ["champion", "canary"])
def test_a_testers_header_chooses_and_is_marked(server: Running, variant: str) -> None:
    found = server.infer(unit="u1", x_holdfast_variant=variant)
    assert found.headers["x-holdfast-variant"] == variant
    assert server.sink.rows[-1]["override"] is True


@pytest.mark.parametrize(("version", "status"), [("1", 200), ("2", 200), ("9", 404), ("1%0d%0a", 404)])
def test_a_version_by_its_path(server: Running, version: str, status: int) -> None:
    found = server.request("POST", f"/v2/models/{MODEL}/versions/{version}/infer", body_of([[1.0]]), JSON)
    assert found.status == status
    assert found.headers.get("x-holdfast-version", version) == version


def test_invocations(server: Running) -> None:
    found = server.request("POST", "/invocations", {"inputs": [[1.0, 2.0]]}, JSON)
    assert (found.status, found.json) == (200, {"predictions": [3.0]})
    assert "x-holdfast-prediction-id" in found.headers
    wrong = server.request("POST", "/invocations", "{", JSON)
    assert wrong.status == 400 and set(wrong.json) == {"error_code", "message"}


def test_compressed_bodies(server: Running) -> None:
    body = gzip.compress(json.dumps(body_of([[1.0, 2.0]])).encode())
    assert server.request("POST", INFER, body, {**JSON, "content-encoding": "gzip"}).status == 200
    assert server.request("POST", INFER, body, {**JSON, "content-encoding": "br"}).status == 415
    assert server.request("POST", "/invocations", body, {**JSON, "content-encoding": "zstd"}).status == 415
    assert server.request("POST", INFER, b"no gzip", {**JSON, "content-encoding": "gzip"}).status == 400


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({}, b"\xff\xfe"),
        ({}, b"[]"),
        ({}, b'{"inputs": 5}'),
        ({}, b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1], "data": [1]}]}'),
        ({"inference-header-content-length": "abc"}, b"{}"),
        ({"x-holdfast-variant": "root"}, json.dumps(body_of([[1.0]])).encode()),
        ({"x-holdfast-unit": "a\tb"}, json.dumps(body_of([[1.0]])).encode()),
        ({"x-holdfast-unit": "u" * 2000}, json.dumps(body_of([[1.0]])).encode()),
        ({"x-holdfast-unit": "\xff\xfe"}, json.dumps(body_of([[1.0]])).encode()),
    ],
)
def test_what_is_wrong_is_a_400_with_a_sentence(server: Running, headers: Mapping[str, str], body: bytes) -> None:
    found = server.request("POST", INFER, body, headers)
    assert found.status == 400
    assert isinstance(found.json["error"], str) and found.json["error"]


def test_units_with_line_ends_in_them_reach_neither_headers_nor_log(server: Running) -> None:
    body = {**body_of([[1.0]]), "parameters": {"unit": "u\r\nx-holdfast-variant: canary"}}
    found = server.request("POST", INFER, body, JSON)
    assert found.status == 400
    assert not any("x-holdfast-variant" in str(row["unit"]) for row in server.sink.rows)


@pytest.mark.parametrize(("champion", "status"), [(raising, 502), (slow(5.0), 504), (None, 503)])
def test_a_champion_without_an_answer(champion: Any, status: int) -> None:
    model = FunctionModel("1", champion) if champion else FunctionModel("1")
    model.is_alive = champion is not None
    with running(table_with(model), timeout="50ms") as server:
        found = server.infer()
        assert found.status == status and "version 1" in found.json["error"]
        assert ("retry-after" in found.headers) is (status == 503)
        assert f'code="{status}",variant="champion",version="1"' in server.admin("GET", "/metrics").body.decode()


def test_before_the_first_version_is_loaded() -> None:
    with running(None) as server:
        assert server.request("GET", "/v2/health/live").status == 200
        for path in ("/v2/health/ready", f"/v2/models/{MODEL}/ready", "/ping", f"/v2/models/{MODEL}"):
            assert server.request("GET", path).status == 503
        assert server.infer().status == 503


def test_a_log_that_is_away_refuses() -> None:
    async def refuse() -> None:
        raise LogUnavailable("the disk is full")

    with running(table_with(FunctionModel("1")), sink=MemorySink(before=refuse)) as server:
        found = server.infer()
        assert found.status == 503 and found.headers["retry-after"] == "1"
        assert "disk" not in found.json["error"], "what is wrong inside is not for clients"


def test_a_mistake_of_ours_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> None:
        raise KeyError("secret")

    with running(table_with(FunctionModel("1")), sink=MemorySink(before=broken)) as server:
        with caplog.at_level(logging.ERROR):
            found = server.infer()
        assert found.status == 500 and "secret" not in found.body.decode()
        assert server.request("GET", "/ping").status == 200
        assert server.gateway.admission.under_way == 0


def test_outcomes_are_taken_one_by_one() -> None:
    kept: list[bytes] = []

    async def append(payload: bytes) -> None:
        kept.append(payload)

    intake = OutcomeIntake(append, lambda: datetime.now(UTC))
    entry = {"prediction_id": "p", "name": "click", "value": 1}
    cases: list[tuple[Any, int, int, int]] = [
        (entry, 200, 1, 0),
        ([entry, entry], 200, 2, 0),
        ({"outcomes": [entry, 5, {}]}, 200, 1, 2),
        ([], 200, 0, 0),
        ([5], 400, 0, 1),
        ({"a": 1}, 400, 0, 1),
    ]
    with running(table_with(FunctionModel("1")), more={"outcomes": intake}) as server:
        for body, status, accepted, refused in cases:
            found = server.request("POST", "/outcomes", body, JSON)
            assert (found.status, found.json["accepted"], found.json["refused"]) == (status, accepted, refused)
        for wrong in (b"", b"5", b'{"outcomes": {"a": 1}}', b"\xff"):
            assert server.request("POST", "/outcomes", wrong, JSON).status == 400
    assert len(kept) == 4


def test_one_connection_serves_many_requests(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for method, path, body in [
        ("POST", INFER, "{"),
        ("GET", "/v2", None),
        ("POST", "/nope", "x"),
        ("GET", "/ping", None),
    ] * 5:
        connection.request(method, path, body)
        found = connection.getresponse()
        found.read()
        assert found.headers.get("connection") is None and found.headers["date"]
    connection.close()


def test_routes() -> None:
    async def handler() -> Any: ...

    routes = Routes(Route("/a/{b}", {"GET": handler}), Route("/a/c", {"POST": handler}))
    assert routes.find("GET", "/a/b").parts == {"b": "b"}
    assert routes.find("POST", "/a/c").parts == {}
    for method, path, status in [
        ("GET", "/a/", 404),
        ("GET", "/a/b/c", 404),
        ("GET", "/a/c", 405),
        ("GET", "/a/b\n", 200),
    ]:
        if status == 200:
            assert routes.find(method, path).parts == {"b": "b\n"}
            continue
        with pytest.raises(HttpError) as found:
            routes.find(method, path)
        assert found.value.status == status
