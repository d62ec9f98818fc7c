"""Another server by URL: a real one that speaks V2, one that says whatever it is told to, and `mlflow models serve`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.serving.models.upstream import Place, UpstreamModel, invocation, place_of, predictions
from holdfast.serving.payload import Payload, tensor
from holdfast.serving.protocol import v2
from holdfast.serving.served import BadInput, ModelFault, ModelSpec, TensorSpec
from tests.serving.models.conftest import numbers, run

SPEC = ModelSpec("numpy", (TensorSpec("x", "FP64", (-1,)),), (TensorSpec("y", "FP64", (-1,)),))
Handler = Callable[[str, str, dict[str, str], bytes], Awaitable[bytes | None]]


def http(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


class Server:
    """An HTTP server in this event loop; `handler` gives the raw answer, None closes the connection."""

    def __init__(self, handler: Handler) -> None:
        self.handler, self.connections, self.requests = handler, 0, 0
        self.paths: list[str] = []
        self.open: set[asyncio.StreamWriter] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = first.split()
                self.requests += 1
                self.paths.append(path)
                answer = await self.handler(method, path, headers, body)
                if answer is None:
                    break
                writer.write(answer)
        writer.close()
        self.open.discard(writer)

    def hang_up(self) -> None:
        for writer in list(self.open):
            writer.close()


@contextlib.asynccontextmanager
async def serving(handler: Handler, port: int = 0) -> AsyncIterator[tuple[Server, str]]:
    server = Server(handler)
    listening = await asyncio.start_server(server, "127.0.0.1", port)
    try:
        yield server, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        server.hang_up()


def v2_server(*, binary: bool = True) -> Handler:
    """The model `m`, which doubles, behind our own side of the protocol."""

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        if path == "/v2":
            document = json.loads(v2.server_metadata("1"))
            return http(200, json.dumps({**document, "extensions": document["extensions"] if binary else []}).encode())
        if path == "/v2/models/m":
            return http(200, v2.model_metadata("m", ["1"], SPEC))
        if path == "/v2/models/m/ready":
            return http(200, v2.ready(True, "m"))
        assert path == "/v2/models/m/infer" and method == "POST"
        try:
            request = v2.parse(body, headers)
        except BadInput as error:
            return http(400, v2.error(str(error)))
        assert (b"binary_data_size" in body) is binary
        doubled = tuple(array * 2 if array.dtype != object else array for array in request.payload.arrays)
        outputs = Payload(request.payload.kind, request.payload.names, doubled)
        given, content = v2.answer(request, outputs, "m", "1")
        return http(200, content, *(f"{name.decode()}: {value.decode()}" for name, value in given))

    return handle


@pytest.mark.parametrize("binary", [True, False])
def test_the_v2_protocol_with_and_without_bytes(binary: bool) -> None:
    async def work() -> None:
        async with serving(v2_server(binary=binary)) as (server, url):
            model = await UpstreamModel.start("1", url, "v2", "m")
            assert model.spec == SPEC and model.is_alive
            answers = await asyncio.gather(*(model.infer(numbers(n, n + 1), 5) for n in range(200)))
            assert [a.arrays[0].tolist() for a in answers] == [[2.0 * n, 2.0 * n + 2] for n in range(200)]
            frame = Payload("frame", ("a", "w"), (np.array([1, 2]), np.array(["x", "ü"], dtype=object)))
            answer = await model.infer(frame, 5)
            assert answer.kind == "frame" and [a.tolist() for a in answer.arrays] == [[2, 4], ["x", "ü"]]
            assert server.connections <= 64 and server.requests >= 201
            assert model.waiting == 0
            await model.close()

    run(work())


def test_a_connection_that_the_server_let_go_of_is_replaced() -> None:
    async def work() -> None:
        async with serving(v2_server()) as (server, url):
            model = await UpstreamModel.start("1", url, "v2", "m")
            for number in range(3):
                assert (await model.infer(numbers(number), 5)).arrays[0].tolist() == [2.0 * number]
                server.hang_up()
            assert model.is_alive
            await model.close()

    run(work())


@pytest.mark.parametrize(
    ("answer", "fault", "said"),
    [
        (http(500, b'{"error": "boom"}'), "raised", "answered 500: boom"),
        (http(503, b""), "overloaded", "answered 503: nothing"),
        (http(429, b"later"), "overloaded", "answered 429: later"),
        (http(400, b'{"error": "Model m is not ready yet."}'), "overloaded", "answered 400: Model m is not ready"),
        (http(302, b"", "location: http://127.0.0.1:1/"), "raised", "answered 302"),
        (http(404, b'{"error": "no such model"}'), "raised", "answered 404: no such model"),
        (http(401, b""), "raised", "answered 401"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "nonsense", "no HTTP"),
        (http(200, b"<html>"), "nonsense", "no answer of its protocol"),
        (http(200, b'{"outputs": []}'), "nonsense", "no answer of its protocol"),
        (
            http(200, b'{"outputs": [{"name": "y", "datatype": "FP64", "shape": [9], "data": [1]}]}'),
            "nonsense",
            "no answer of its protocol",
        ),
        (b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\nhalf", "timed_out", "did not answer within 0.3 s"),
        (None, "unreachable", "closed the connection"),
    ],
)
def test_whatever_a_server_says_is_a_fault_in_one_sentence(answer: bytes | None, fault: str, said: str) -> None:
    ready = v2_server()

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        return answer if path.endswith("/infer") else await ready(method, path, headers, body)

    async def work() -> None:
        async with serving(handle) as (server, url):
            model = await UpstreamModel.start("1", url, "v2", "m")
            with pytest.raises(ModelFault, match=said) as caught:
                await model.infer(numbers(1), 0.3)
            assert caught.value.fault == fault and "\n" not in str(caught.value)
            assert all(path.startswith("/v2") for path in server.paths)
            await model.close()

    run(work())


@pytest.mark.parametrize(
    ("status", "said", "body"),
    [
        (400, "unexpected shape", b'{"error": "unexpected shape"}'),
        (422, "unexpected shape", b'{"error": "unexpected shape"}'),
        (
            422,
            "^body.inputs: not a list$",
            b'{"detail": [{"loc": ["body", "inputs"], "msg": "not a list", "input": 5}]}',
        ),
        (422, "^no$", b'{"detail": "no"}'),
        (422, "detail", b'{"detail": {"a": 1}}'),
    ],
)
def test_a_refused_input_is_the_clients_mistake(status: int, said: str, body: bytes) -> None:
    ready = v2_server()

    async def handle(method: str, path: str, headers: dict[str, str], content: bytes) -> bytes:
        if path.endswith("/infer"):
            return http(status, body)
        return await ready(method, path, headers, content) or b""

    async def work() -> None:
        async with serving(handle) as (_, url):
            model = await UpstreamModel.start("1", url, "v2", "m")
            with pytest.raises(BadInput, match=said):
                await model.infer(numbers(1), 5)
            await model.close()

    run(work())


def test_a_server_that_goes_away_and_comes_back() -> None:
    async def work() -> None:
        async with serving(v2_server()) as (_, url):
            model = await UpstreamModel.start("1", url, "v2", "m")
            await model.infer(numbers(1), 5)
        with pytest.raises(ModelFault) as caught:
            await model.infer(numbers(1), 5)
        assert caught.value.fault == "unreachable" and not model.is_alive
        with pytest.raises(ModelFault, match="looked for again"):
            await model.infer(numbers(1), 5)
        async with serving(v2_server(), int(url.rpartition(":")[2])), asyncio.timeout(10):
            while not model.is_alive:
                await asyncio.sleep(0.02)
            assert (await model.infer(numbers(1), 5)).arrays[0].tolist() == [2.0]
        await model.close()

    run(work())


def test_a_cancelled_call_takes_its_connection_with_it() -> None:
    """What is answered late must not be read as the next call's answer."""
    ready = v2_server()

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        answer = await ready(method, path, headers, body)
        if path.endswith("/infer") and (b"slow" in body):
            await asyncio.sleep(0.2)
        return answer

    async def work() -> None:
        async with serving(handle) as (_, url):
            model = await UpstreamModel.start("1", url, "v2", "m")
            slow = Payload("frame", ("slow",), (np.array([5.0]),))
            with pytest.raises(ModelFault, match="did not answer"):
                await model.infer(slow, 0.05)
            call = asyncio.create_task(model.infer(slow, 5))
            await asyncio.sleep(0.05)
            call.cancel()
            for number in range(5):
                assert (await model.infer(numbers(number), 5)).arrays[0].tolist() == [2.0 * number]
                await asyncio.sleep(0.06)
            await model.close()

    run(work())


def test_a_server_that_is_never_ready() -> None:
    async def work() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(
                OutsideError, match=rf"version 1 was not ready at {url} within 0\.4 s: Connect call failed"
            ):
                await UpstreamModel.start("1", url, "v2", "m", load_timeout=0.4)

        async def absent(*_: object) -> bytes:
            return http(404, b'{"error": "no such model"}')

        async with serving(absent) as (_, url):
            with pytest.raises(OutsideError, match=r"0\.4 s: /v2/models/m/ready answered 404: no such model"):
                await UpstreamModel.start("1", url, "v2", "m", load_timeout=0.4)

    run(work())


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://h:8080/v2/models/m/versions/{version}/", Place("h", 8080, False, "/v2/models/m/versions/7")),
        ("https://m-v{version}.example.org", Place("m-v7.example.org", 443, True, "")),
        ("http://[::1]:80", Place("::1", 80, False, "")),
    ],
)
def test_places(url: str, place: Place) -> None:
    assert place_of(url, "7") == place


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/x",
        "//h/x",
        "h:80",
        "http://",
        "http://user:word@h/",
        "http://h/?a=b",
        "http://h/#a",
        "http://h/a b",
        "http://h/a\r\nx: y",
        "http://h:99999/",
        "http://h/../admin",
        "http://h\\@other/",
        "http://h/ü",
    ],
)
def test_no_places(url: str) -> None:
    with pytest.raises(UserError, match="upstream"):
        place_of(url, "7")


def test_a_version_cannot_change_the_host() -> None:
    with pytest.raises(UserError, match="cannot be part"):
        place_of("http://{version}.example.org", "evil.org/")


def test_mlflows_forms() -> None:
    frame = Payload("frame", ("a", "w"), (np.array([1, 2]), np.array(["x", None], dtype=object)))
    assert json.loads(invocation(frame)) == {"dataframe_split": {"columns": ["a", "w"], "data": [[1, "x"], [2, None]]}}
    frame.params = {"k": 2}
    assert json.loads(invocation(frame))["params"] == {"k": 2}
    assert json.loads(invocation(tensor(np.ones((1, 2))))) == {"inputs": [[1.0, 1.0]]}
    named = Payload("tensors", ("a", "b"), (np.ones(1), np.zeros((1, 1))))
    assert json.loads(invocation(named)) == {"inputs": {"a": [1.0], "b": [[0.0]]}}
    assert predictions({"predictions": [1.5, 2.5]}).arrays[0].tolist() == [1.5, 2.5]
    records = predictions({"predictions": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]})
    assert records.kind == "frame" and records.names == ("a", "b") and records.arrays[1].tolist() == ["x", "y"]
    assert predictions({"predictions": {"a": [1.0], "b": [[2.0]]}}).kind == "tensors"
    for wrong in ([], {"predictions": []}, {"predictions": 3}, None, {"predictions": {"a": 1}}):
        with pytest.raises(BadInput):
            predictions(wrong)


SAVE = """
import warnings; warnings.simplefilter("ignore")
import mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression
frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=list("abc"))
model = LinearRegression().fit(frame, frame.to_numpy() @ [1.0, 2.0, 3.0])
mlflow.sklearn.save_model(model, "linear", serialization_format="skops", signature=infer_signature(frame, model.predict(frame)))
"""


@pytest.mark.slow
def test_the_real_mlflow_server(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SAVE], cwd=tmp_path, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "linear", "--env-manager", "local"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    server = subprocess.Popen(
        [*words, "-p", str(port)], cwd=tmp_path, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )

    async def work() -> None:
        url = f"http://127.0.0.1:{port}"
        model = await UpstreamModel.start("1", url, "invocations", "m", load_timeout=200)
        frame = Payload("frame", ("a", "b", "c"), tuple(np.array(column) for column in ([1, 0], [2, 1], [3, 0])))
        answers = await asyncio.gather(*(model.infer(frame, 30) for _ in range(20)))
        assert all(np.allclose(answer.arrays[0], [14.0, 2.0]) for answer in answers)
        with pytest.raises(BadInput, match=r"enforce|missing"):
            await model.infer(Payload("frame", ("a",), (np.ones(1),)), 30)
        assert model.is_alive
        await model.close()

    try:
        asyncio.run(asyncio.wait_for(work(), 250))
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
