"""One worker at concurrency 32, the same saved model: the gateway with routing and durable log, MLflow's server, MLServer."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.gateway_road import processor_seconds

MODEL = "linear"
SECONDS = 5.0
ROW = [1.0, 2.0, 3.0, 4.0]
INVOCATIONS = [
    load.post("/invocations", json.dumps({"inputs": [ROW]}).encode(), {"x-holdfast-unit": f"user-{number}"})
    for number in range(499)
]
V2 = [load.v2(MODEL, [ROW], {"x-holdfast-unit": f"user-{number}"}) for number in range(499)]
MODEL_CODE = """
import numpy as np
import mlflow

class Linear(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.weights = np.array([0.5, -1.0, 2.0, 0.25])

    def predict(self, context, model_input, params=None):
        return np.asarray(model_input) @ self.weights

mlflow.models.set_model(Linear())
"""
MLSERVER_CODE = """
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, NumpyRequestCodec

class Linear(MLModel):
    async def load(self):
        self.weights = np.array([0.5, -1.0, 2.0, 0.25])
        return True

    async def predict(self, payload):
        given = NumpyCodec.decode_input(payload.inputs[0])
        return NumpyRequestCodec.encode_response(self.name, given @ self.weights)
"""


def main() -> None:
    """Throughput and latency of each, and the ratios that are promised."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir=Path.cwd()))  # a real disk: /tmp may be memory
    try:
        saved = save_model(folder / "model")
        ours = {}
        for kind, requests in (("/invocations", INVOCATIONS), ("V2", V2)):
            served = load.server(serve, saved, folder / f"log-{len(ours)}")
            ours[kind] = measured(f"holdfast {kind}", served, requests)
        mlflow = measured("mlflow models serve", mlflow_serve(saved), INVOCATIONS)
        print(f"holdfast / mlflow {ours['/invocations'].rate / mlflow.rate:.1f}, target 5")
        try:
            mlserver = measured("MLServer", mlserver_serve(folder), V2)
        except (subprocess.CalledProcessError, OSError, TimeoutError) as error:
            print(f"MLServer could not be measured: {error}")
            return
        print(f"holdfast / MLServer {ours['V2'].rate / mlserver.rate:.1f}, target 2.5")
        print(f"p99 {ours['V2'].p99:.1f} ms against {mlserver.p99:.1f} ms")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measured(name: str, server: Any, requests: Sequence[bytes]) -> load.Result:
    with server as (port, process):
        load.apart("127.0.0.1", port, requests, 8, 1.0)
        before = processor_seconds(process)
        found = load.apart("127.0.0.1", port, requests, 32, SECONDS)
        micros = (processor_seconds(process) - before) / max(found.count, 1) * 1e6
    print(f"{name:24} {found}, {micros:.0f} µs of a processor each", flush=True)
    return found


def save_model(folder: Path) -> Path:
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    code = folder.parent / "linear.py"
    code.write_text(MODEL_CODE)
    mlflow.pyfunc.save_model(str(folder), python_model=str(code), pip_requirements=["numpy"])
    return folder


def serve(saved: Path, folder: Path, told: Any) -> None:
    """The gateway with the saved model in its process, a canary with a tenth of the users, and the durable log."""
    from tests.serving.gateways import settings, table_with

    from holdfast.serving import server
    from holdfast.serving.app import App
    from holdfast.serving.gateway import Gateway
    from holdfast.serving.limits import Limits
    from holdfast.serving.log.writer import LogWriter
    from holdfast.serving.models.in_process import InProcessModel
    from holdfast.serving.models.running import LoadRequest

    async def listen() -> None:
        request = LoadRequest(saved, folder.parent, name="the model", predict="predict", allow_pickle=())
        versions = [await InProcessModel.start(number, request, None, load_timeout=60.0) for number in ("1", "2")]
        made = Gateway(MODEL, settings(), LogWriter(folder))
        made.route(table_with(*versions, 0.1))
        listener = server.Listener(App(made, Limits()), "127.0.0.1", 0, Limits())
        await server.serve([listener], started=lambda: told.send(listener.port))

    server.run(listen())


@contextmanager
def mlflow_serve(saved: Path) -> Iterator[tuple[int, int]]:
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(saved), "-p", str(port)]
    with started([*command, "-w", "1", "--env-manager", "local"], port, "/ping") as process:
        yield port, worker_of(process)


@contextmanager
def mlserver_serve(folder: Path) -> Iterator[tuple[int, int]]:
    """MLServer in an environment of its own, with the model written against its own API and no worker processes."""
    environment, root = folder / "mlserver-env", folder / "mlserver"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(environment)], check=True)
    subprocess.run(
        [uv, "pip", "install", "-q", "--python", str(environment / "bin" / "python"), "mlserver"], check=True
    )
    root.mkdir()
    port = free_port()
    (root / "linear.py").write_text(MLSERVER_CODE)
    model = {"name": MODEL, "implementation": "linear.Linear"}
    (root / "model-settings.json").write_text(json.dumps(model))
    whole = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0}
    (root / "settings.json").write_text(json.dumps({**whole, "debug": False}))
    with started(
        [str(environment / "bin" / "mlserver"), "start", str(root)], port, f"/v2/models/{MODEL}/ready", cwd=root
    ) as process:
        yield port, worker_of(process)


@contextmanager
def started(
    command: Sequence[str], port: int, ready: str, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers at `ready`. TimeoutError where it does not within a minute."""
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(cwd or ""), "PATH": path}
    process = subprocess.Popen(
        command, cwd=cwd, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until = time.monotonic() + 60
        while not answers(port, ready):
            if time.monotonic() > until or process.poll() is not None:
                raise TimeoutError(f"{command[0]} did not answer at {ready}")
            time.sleep(0.2)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(20)


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def worker_of(process: subprocess.Popen[bytes]) -> int:
    """The process that answers: the last of those that the command started, itself where there is none."""
    found = process.pid
    while children := Path(f"/proc/{found}/task/{found}/children").read_text().split():
        found = int(children[-1])
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    main()
