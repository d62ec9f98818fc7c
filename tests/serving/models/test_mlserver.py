"""A real MLServer by URL and behind the gateway: what it reads and writes, its faults, its health, its versions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from holdfast.errors import OutsideError
from holdfast.serving.models.upstream import UpstreamModel
from holdfast.serving.payload import Payload, tensor
from holdfast.serving.served import BadInput, ModelFault
from tests.fixtures.fetching import environment
from tests.serving.gateways import MODEL, running, table_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
# What MLServer 1.7.1 runs with: its workers do not start with a later uvloop, its codecs do not know pandas 3
PACKAGES = ("mlserver==1.7.1", "uvloop<0.22", "pandas<3")
BEHAVING = '''
import asyncio, os, pathlib, time
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyRequestCodec
from mlserver.errors import InferenceError

class Behaving(MLModel):
    """Doubles numbers, gives frames back as they came, and does what the name of an input says."""

    async def load(self):
        while pathlib.Path(os.environ["HOLD"]).exists():
            await asyncio.sleep(0.1)
        return True

    async def predict(self, payload):
        given = self.decode_request(payload, default_codec=NumpyRequestCodec)
        name = payload.inputs[0].name
        if name == "raises":
            raise ValueError("no such thing")
        if name == "refuses":
            raise InferenceError("expected three columns")
        if name == "exits":
            os._exit(9)
        if name == "sleeps":
            time.sleep(float(given.ravel()[0]))
        if name == "nan":
            given = given * float("nan")
        if not isinstance(given, np.ndarray):
            for column in given.select_dtypes("object"):
                given[column] = given[column].fillna("nothing")  # its codec cannot write text that is missing
        answer = self.encode_response(given * 2 if isinstance(given, np.ndarray) and given.dtype.kind != "U" else given)
        if name == "lies":
            answer.model_version = "1"
        return answer
'''


@dataclass
class MLServer:
    """Versions 1 and 2 of the model, each asked by its path."""

    programs: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2/models/{MODEL}/versions/{{version}}"

    @property
    def hold(self) -> Path:
        """While this file is there, no version ends to load."""
        return self.folder / "hold"

    def start(self) -> None:
        environ = {**os.environ, "PYTHONPATH": str(self.folder), "HOLD": str(self.hold)}
        self.process = subprocess.Popen(
            [self.programs / "mlserver", "start", str(self.folder)],
            cwd=self.folder,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLServer]:
    """With one worker process, as it is started by default."""
    folder = tmp_path_factory.mktemp("mlserver")
    with contextlib.ExitStack() as free:
        sockets = [free.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    found = MLServer(environment(folder / "environment", *PACKAGES), folder / "models", ports[0])
    found.folder.mkdir()
    (found.folder / "behaving.py").write_text(BEHAVING)
    named = dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    (found.folder / "settings.json").write_text(json.dumps({**named, "host": "127.0.0.1", "debug": False}))
    outputs = [{"name": "output-1", "datatype": "FP64", "shape": [-1]}]
    for version in ("1", "2"):
        place = found.folder / f"version-{version}"
        place.mkdir()
        about = {"name": MODEL, "implementation": "behaving.Behaving", "parameters": {"version": version}}
        (place / "model-settings.json").write_text(json.dumps({**about, "outputs": outputs}))
    found.start()
    try:
        yield found
    finally:
        found.kill()


async def asked(server: MLServer, version: str = "1") -> UpstreamModel:
    return await UpstreamModel.start(version, server.url, "v2", MODEL, load_timeout=400)


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 500))


async def fault_of(model: UpstreamModel) -> ModelFault:
    with pytest.raises(ModelFault) as caught:
        await model.infer(tensor(np.ones((1, 1))), 5)
    return caught.value


async def is_live(model: UpstreamModel) -> bool:
    try:
        return (await model._http.request("GET", "/v2/health/live", 5)).status == 200
    except OSError:
        return False


def words(*values: str | None) -> Any:
    return np.array(values, dtype=object)


def test_what_it_reads_and_writes(server: MLServer) -> None:
    async def work() -> None:
        model = await asked(server)
        for dtype in ("f2", "f4", "f8", "i1", "i4", "i8", "u1", "u8"):
            matrix = np.arange(6).reshape(2, 3).astype(dtype)
            answer = (await model.infer(tensor(matrix), 10)).arrays[0]
            assert (answer.dtype, answer.tolist()) == (np.dtype(dtype), (matrix * 2).tolist())
        missing = (await model.infer(Payload("frame", ("a",), (np.array([1.5, np.nan]),)), 10)).arrays[0]
        assert missing[0] == 1.5 and np.isnan(missing[1]), "its JSON knows no NaN; null is one to it, both ways"
        columns = (np.array([1, 2]), np.array([0.5, 1.5]), words("x", "ü\n"), words("y", None), np.array([True, False]))
        frame = Payload("frame", tuple("abcde"), columns)
        answer = await model.infer(frame, 10)
        assert (answer.kind, answer.names) == ("frame", frame.names)
        expected = [[1, 2], [0.5, 1.5], ["x", "ü\n"], ["y", "nothing"], [True, False]]
        assert [array.tolist() for array in answer.arrays] == expected
        answers = await asyncio.gather(*(model.infer(tensor(np.full((3, 2), n)), 30) for n in range(100)))
        assert [found.arrays[0].ravel().tolist() for found in answers] == [[2 * n] * 6 for n in range(100)]
        with pytest.raises(BadInput, match="holds an infinity"):
            await model.infer(tensor(np.array([np.inf])), 10)
        with pytest.raises(BadInput, match="holds bytes that are no text"):
            await model.infer(tensor(words(b"\xff")), 10)  # type: ignore[arg-type]
        await model.close()

    run(work())


@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        ("raises", "raised", "answered 500: builtins.ValueError: no such thing"),
        ("sleeps", "timed_out", "did not answer within 0.5 s"),
        ("lies", "nonsense", "version '1' answered"),
        ("exits", "raised", "Worker process stopped unexpectedly"),
    ],
)
def test_its_faults_are_told_in_one_sentence_and_pass(server: MLServer, name: str, fault: str, said: str) -> None:
    async def work() -> None:
        model = await asked(server, "2")
        with pytest.raises(ModelFault, match=said) as caught:
            await model.infer(tensor(np.array([2.0]), name), 0.5 if name == "sleeps" else 10)
        assert caught.value.fault == fault and model.is_alive
        async with asyncio.timeout(200):
            while True:  # its next worker takes some seconds, and a call that was given up on is worked on all the same
                with contextlib.suppress(ModelFault):
                    assert (await model.infer(tensor(np.ones((1, 1))), 5)).arrays[0].tolist() == [[2.0]]
                    break
                await asyncio.sleep(0.2)
        await model.close()

    run(work())


def test_what_it_refuses_is_the_clients_mistake(server: MLServer) -> None:
    async def work() -> None:
        model = await asked(server)
        with pytest.raises(BadInput, match="InferenceError: expected three columns"):
            await model.infer(tensor(np.ones(1), "refuses"), 10)
        with pytest.raises(BadInput, match="only supports a single input tensor"):
            await model.infer(Payload("tensors", ("a", "b"), (np.ones((1, 2)), np.ones((1, 2)))), 10)
        model._http._authority = "x"  # any host will do
        refused = await model._http.request("POST", f"{model._base}/infer", 10, b'{"inputs": 5}')
        with pytest.raises(BadInput, match=r"^body\.inputs: Input should be a valid list$"):
            model._outputs(refused)
        await model.close()

    run(work())


def test_a_version_that_it_does_not_have_is_never_ready_and_why_is_told(server: MLServer) -> None:
    async def work() -> None:
        await (await asked(server)).close()
        with pytest.raises(OutsideError, match=rf"answered 404: Model {MODEL} with version 3 not found"):
            await UpstreamModel.start("3", server.url, "v2", MODEL, load_timeout=1)

    run(work())


def test_the_gateway_in_front_of_it(server: MLServer) -> None:
    """Clients send binary tensors and get them, though it has JSON only; a canary's faults are the champion's answers."""
    versions: list[UpstreamModel] = []

    async def start() -> list[UpstreamModel]:
        return [await asked(server, version) for version in ("1", "2")]

    with running(None, timeout="10s") as gateway:
        versions += asyncio.run_coroutine_threadsafe(start(), gateway.loop).result(400)
        gateway.do(lambda: gateway.gateway.route(table_with(*versions, share=1.0)))  # type: ignore[arg-type]
        client = InferenceServerClient(f"127.0.0.1:{gateway.port}")
        for name, version in (("x", "2"), ("lies", "1"), ("nan", "2")):
            given = InferInput(name, [2, 1], "FP64")
            given.set_data_from_numpy(np.array([[1.5], [-2.5]]), binary_data=True)
            wanted = [InferRequestedOutput("output-1", binary_data=True)]
            if name == "nan":
                with pytest.raises(Exception, match="not finite"):
                    client.infer(MODEL, [given], outputs=wanted, parameters={"unit": "u"})
                continue
            answer = client.infer(MODEL, [given], outputs=wanted, parameters={"unit": "u"})
            assert answer.as_numpy("output-1").tolist() == [[3.0], [-5.0]]
            assert gateway.sink.rows[-1]["served_by"] == version
        assert [row["fault"] for row in gateway.sink.rows] == [None] * 2 + ["nonsense"] * 4
        client.close()
        for model in versions:
            asyncio.run_coroutine_threadsafe(model.close(), gateway.loop).result(10)


def test_it_is_killed_and_comes_back_and_is_ready_when_its_model_is(server: MLServer) -> None:
    async def work() -> None:
        one, two = await asked(server), await asked(server, "2")
        server.kill()
        with pytest.raises(ModelFault, match="cannot be reached") as caught:
            await one.infer(tensor(np.ones(1)), 5)
        assert caught.value.fault == "unreachable" and not one.is_alive
        server.hold.touch()
        server.start()
        async with asyncio.timeout(400):
            while not await is_live(two):
                await asyncio.sleep(0.2)
            while "is not ready yet" not in str(said := await fault_of(two)):  # not registered at first
                assert said.fault == "raised", "no mistake of the client's"
                await asyncio.sleep(0.2)
            assert said.fault == "overloaded" and not one.is_alive
            server.hold.unlink()
            while not (one.is_alive and two.is_alive):
                await asyncio.sleep(0.1)
        for model in (one, two):
            assert (await model.infer(tensor(np.ones((1, 1))), 10)).arrays[0].tolist() == [[2.0]]
            await model.close()

    run(work())
