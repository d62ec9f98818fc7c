"""Whatever is sent to the protocol endpoints: never a 500, never silence."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from holdfast.serving.limits import Limits
from tests.serving.gateways import MODEL, FunctionModel, Running, running, table_with
from tests.serving.raw import statuses, until_closed

PATHS = [
    f"/v2/models/{MODEL}/infer",
    f"/v2/models/{MODEL}/versions/2/infer",
    "/invocations",
    "/v2",
    "/v2/health/ready",
    f"/v2/models/{MODEL}",
    f"/v2/models/{MODEL}/versions/1/ready",
    "/ping",
    "/outcomes",
]
DATATYPES = ["FP64", "FP32", "FP16", "INT64", "INT8", "UINT64", "BOOL", "BYTES", "BF16", "fp64", "", "OBJECT"]
MANY = int(os.environ.get("HOLDFAST_FUZZ", "100000"))

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["NaN", "é\u2028", "\ud800", "x" * 300]),
)
trees = st.recursive(
    values, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)
shapes = st.lists(st.integers(-2, 5) | st.sampled_from([2**31, 2**63, 2**70]), max_size=4)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "y", ""]) | values,
        "datatype": st.sampled_from(DATATYPES) | values,
        "shape": shapes | values,
    },
    optional={
        "data": st.lists(values, max_size=8) | st.lists(st.lists(st.floats(-1e9, 1e9), max_size=3), max_size=4) | trees,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "binary_data", "content_type"]), values)
        | values,
    },
)
v2_requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=3) | values},
    optional={
        "id": values,
        "parameters": st.dictionaries(st.sampled_from(["unit", "binary_data_output", "content_type"]), values) | values,
        "outputs": st.lists(st.fixed_dictionaries({"name": values}, optional={"parameters": values}), max_size=2)
        | values,
    },
)
good = st.integers(1, 4).map(
    lambda rows: {"inputs": [{"name": "x", "datatype": "FP64", "shape": [rows, 2], "data": [1.0] * (2 * rows)}]}
)
invocations = st.dictionaries(
    st.sampled_from(["inputs", "instances", "dataframe_split", "dataframe_records", "params", "columns"]),
    trees,
    max_size=3,
)
documents = st.one_of(v2_requests, good, invocations, trees)
bodies = st.one_of(
    documents.map(lambda document: json.dumps(document).encode("utf-8", "surrogatepass")),
    documents.map(lambda document: json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.binary(max_size=200),
    st.lists(st.lists(values.map(str), max_size=4).map(",".join), max_size=5)
    .map("\n".join)
    .map(lambda text: text.encode("utf-8", "surrogatepass")),
)
header_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40)
headers = st.dictionaries(
    st.sampled_from(
        [
            "content-type",
            "content-encoding",
            "inference-header-content-length",
            "x-holdfast-unit",
            "x-holdfast-variant",
            "accept",
            "expect",
            "connection",
            "upgrade",
        ]
    ),
    header_text
    | st.sampled_from(
        ["application/json", "text/csv", "application/octet-stream", "gzip", "deflate", "5", "canary", "close", "h2c"]
    ),
    max_size=4,
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is well formed as HTTP, with anything in it."""
    method = draw(st.sampled_from(["POST"] * 6 + ["GET", "HEAD", "PUT", "OPTIONS", "DELETE"]))
    path, body = draw(st.sampled_from(PATHS)), draw(bodies)
    if draw(st.integers(0, 9)) == 0:
        path = "/" + draw(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20))
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in draw(headers).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    async def outcomes(entries: Any) -> dict[str, int]:
        return {"accepted": len(entries)}

    limits = Limits(body=1 << 20, request_seconds=3.0, keep_alive=3.0)
    table = table_with(FunctionModel("1"), FunctionModel("2"), 0.5)
    with running(table, limits=limits, more={"outcomes": outcomes}) as found:
        yield found


def check(server: Running, sent: list[bytes]) -> None:
    """All at once over one connection: each gets an answer, until one asks to close; none is a 500."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"".join(sent))
        connection.shutdown(socket.SHUT_WR)
        data = until_closed(connection)
    found = [status for status in statuses(data) if status != 100]
    assert found, sent
    assert 500 not in found, (sent, data)
    closes = any(re.search(rb"(?i)\r\n(connection|expect):", request.partition(b"\r\n\r\n")[0]) for request in sent)
    assert len(found) == len(sent) or closes or 400 in found, (sent, data)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(requests(), min_size=1, max_size=6))
def test_a_few_hundred_requests(server: Running, sent: list[bytes]) -> None:
    check(server, sent)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(requests(), min_size=1, max_size=2).map(b"".join), st.data())
def test_requests_with_a_byte_changed(server: Running, sent: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(sent) - 1))
    changed = sent[:place] + data.draw(st.binary(max_size=3)) + sent[place + data.draw(st.integers(0, 2)) :]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(changed)
        connection.shutdown(socket.SHUT_WR)
        assert 500 not in statuses(until_closed(connection)), changed


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_hundred_thousand_requests(server: Running) -> None:
    each = 20

    @settings(
        max_examples=MANY // each,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(requests(), min_size=each, max_size=each))
    def many(sent: list[bytes]) -> None:
        check(server, sent)

    many()
