"""A large request costs its sender time, and nobody else."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from holdfast.serving.aside import LARGE_BODY, MANY_VALUES, Aside, is_large
from holdfast.serving.outcomes import OutcomeIntake
from holdfast.serving.payload import Payload, tensor
from tests.serving.gateways import MODEL, FunctionModel, Infer, row_sums, running, table_with

ROWS = 200_000
CSV = ("/invocations", b"a\n" + b"1\n" * ROWS, {"content-type": "text/csv"})
JSON = ("/invocations", b'{"inputs":[NaN' + b",1" * (8 * ROWS) + b"]}", {"content-type": "application/json"})
V2 = (
    f"/v2/models/{MODEL}/infer",
    b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[%d],"data":["x"%s]}]}' % (ROWS, b',"y"' * (ROWS - 1)),
    {},
)
OUTCOMES = ("/outcomes", json.dumps([{"prediction_id": "p", "name": "n", "value": 1}] * 40_000).encode(), {})
REFUSED = ("/outcomes", b"[" + b"1," * (4 * ROWS) + b"1]", {})


@pytest.fixture(autouse=True)
def _turns_for_clients() -> Iterator[None]:
    """They share the interpreter with the server here, and would wait five milliseconds for each of their steps."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    yield
    sys.setswitchinterval(before)


def of_text(payload: Payload) -> Payload:
    return tensor(payload.arrays[0])


@pytest.mark.parametrize(
    ("sent", "function", "status"),
    [
        (CSV, row_sums, 200),
        (JSON, row_sums, 502),
        (V2, of_text, 200),
        (OUTCOMES, row_sums, 200),
        (REFUSED, row_sums, 400),
    ],
    ids=["csv", "json", "v2", "outcomes", "refused outcomes"],
)
def test_others_are_answered_while_a_large_request_is_worked_on(
    sent: tuple[str, bytes, dict[str, str]], function: Infer, status: int
) -> None:
    async def append(_: bytes) -> None:
        await asyncio.sleep(0)

    intake = OutcomeIntake(append, lambda: datetime.now(UTC))
    with running(table_with(FunctionModel("1", function)), timeout="60s", more={"outcomes": intake}) as server:
        large = Large(server.port, *sent)
        large.start()
        moments = [time.monotonic()]
        while large.is_alive():
            assert server.request("GET", "/ping").status == 200
            moments.append(time.monotonic())
        assert large.status == status
    longest = max(after - before for before, after in itertools.pairwise(moments))
    assert longest < (moments[-1] - moments[0]) / 2, "the loop had its turns"


class Large(threading.Thread):
    def __init__(self, port: int, path: str, body: bytes, headers: dict[str, str]) -> None:
        super().__init__()
        self.port, self.given, self.status = port, (path, body, headers), 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("POST", *self.given)
        self.status = connection.getresponse().status
        connection.close()


def test_what_is_small_is_done_here_and_now_and_what_is_large_in_its_turn() -> None:
    def where(*_: object) -> int:
        return threading.get_ident()

    under_way: list[int] = []

    def alone(number: int) -> int:
        under_way.append(number)
        assert len(under_way) == 1
        under_way.clear()
        return number

    async def work() -> None:
        aside = Aside()
        assert await aside(False, where) == threading.get_ident() != await aside(True, where)
        assert await asyncio.gather(*(aside(True, alone, n) for n in range(50))) == list(range(50))
        for is_large_ in (False, True):
            with pytest.raises(ValueError, match="invalid literal"):
                await aside(is_large_, int, "x")
        aside.close()

    asyncio.run(work())


def test_what_is_large() -> None:
    assert not is_large(tensor(np.zeros(MANY_VALUES)))
    assert is_large(tensor(np.zeros((MANY_VALUES // 2, 3))))
    assert is_large(Payload("frame", ("a", "b"), (np.zeros(MANY_VALUES - 1), np.zeros(MANY_VALUES - 1))))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_large_once_it_is_unpacked(encoding: str) -> None:
    """100 MB in a hundred kilobytes: refused, whatever the protocol."""
    import zlib

    packer = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    body = packer.compress(b" " * (100 << 20)) + packer.flush()
    assert len(body) > LARGE_BODY
    with running(table_with(FunctionModel("1"))) as server:
        for path in (f"/v2/models/{MODEL}/infer", "/invocations"):
            found = server.request("POST", path, body, {"content-encoding": encoding})
            assert found.status in (400, 413), found.body
            assert b"16777216" in found.body or b"large" in found.body, found.body


def test_a_hundred_megabytes_where_they_are_allowed() -> None:
    """As binary tensors, with a log that keeps each of 100,000 rows."""
    from tritonclient.http import InferenceServerClient, InferInput

    rows = np.arange(13_000_000, dtype=np.float64).reshape(100_000, 130)
    with running(table_with(FunctionModel("1")), max_body=128 << 20, timeout="60s", body_timeout="100s") as server:
        client = InferenceServerClient(f"127.0.0.1:{server.port}", network_timeout=120, connection_timeout=120)
        given = InferInput("x", list(rows.shape), "FP64")
        given.set_data_from_numpy(rows)
        answer = client.infer(MODEL, [given])
        client.close()
        assert np.allclose(answer.as_numpy("y"), rows.sum(axis=1))
        assert len(server.sink.rows) == len(rows)
