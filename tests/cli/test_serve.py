"""`holdfast serve` as a user runs it: a real process, real clients, a canary steered by the real controller, and its log."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.pipeline.canary import Canary
from holdfast.pipeline.workspace import Workspace
from holdfast.release.routing import drawn
from tests.cli.conftest import Type
from tests.project import search_path

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

TOKEN = "a test's token"
SERVED = """
release:
  router: "gateway:"
  canary: {steps: [{share: 0.5}], min_hours: 24, max_hours: 49, unit: user, unit_window: 6h}
  guardrails: {click: {max_drop: 0.05, absent: zero, delay: 1s}, error: {max_rise: 0.02}}
serving:
  mode: in_process
  allow_other_environment: ["1", "2"]
  port: 0
  admin_port: 0
  poll: 100ms
  log: {compact_every: 500ms, inputs: all}
"""


class Served:
    """A running `holdfast serve`, and what can be asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-c", "from holdfast.cli import main; main()", "serve", "--json"]
        environ = {**os.environ, "PATH": search_path(), "HOLDFAST_ADMIN_TOKEN": TOKEN}
        with (folder / "serve.log").open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        text = b""
        while not text.endswith(b"}\n"):
            line = self.process.stdout.readline()
            assert line, (folder / "serve.log").read_text()
            text += line
        self.told = json.loads(text)

    def ask(
        self, method: str, path: str, body: Any = None, *, admin: bool = False, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        port = self.told["admin_port" if admin else "port"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        is_json = "json" in found.get("content-type", "") and content.strip()
        return answer.status, found, json.loads(content) if is_json else content.decode()

    def status(self) -> dict[str, Any]:
        return dict(self.ask("GET", "/status", admin=True, authorization=f"Bearer {TOKEN}")[2])

    def predict(self, x: float, unit: str) -> tuple[int, dict[str, str], Any]:
        body = {"dataframe_split": {"columns": ["x"], "data": [[x]]}}
        return self.ask("POST", "/invocations", body, content_type="application/json", x_holdfast_unit=unit)

    def wait(self, what: Any, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, (self.folder / "serve.log").read_text()
            assert time.monotonic() < until, f"{self.status()}\n{(self.folder / 'serve.log').read_text()}"
            time.sleep(0.1)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def served_once(trained_again: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 is champion, version 2 is staged, and the gateway is declared."""
    folder = tmp_path_factory.mktemp("served") / "project"
    shutil.copytree(trained_again, folder)
    file = folder / "holdfast.yaml"
    file.write_text(file.read_text() + SERVED)
    return folder


@pytest.fixture
def served(served_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    folder = tmp_path / "project"
    shutil.copytree(served_once, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", search_path())
    monkeypatch.setenv("HOLDFAST_ADMIN_TOKEN", TOKEN)
    found = Served(folder)
    try:
        found.wait(lambda: found.ask("GET", "/v2/health/ready")[0] == 200)
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


def test_a_day_of_the_gateway(served: Served, type_: Type) -> None:
    status, headers, found = served.predict(0.9, "u1")
    assert (status, found, headers["x-holdfast-variant"], headers["x-holdfast-version"]) == (
        200,
        {"predictions": [1]},
        "champion",
        "1",
    )
    known_clients(served)

    type_("release", "drill")
    type_("release", "start", "--override", "a test has no traffic of yesterday")
    canary = Canary(Workspace.open(served.folder / "holdfast.yaml"))
    controller = canary.controller()
    served.wait(lambda: controller.tick() and (served.status()["serves"] or {}).get("share") == 0.5)
    release = served.status()["serves"]["release"]
    ids: dict[str, str] = {}
    for number in range(60):
        unit = f"user {number}"
        _, headers, found = served.predict(number / 60, unit)
        expected = "canary" if drawn(release, unit) < 0.5 else "champion"
        assert headers["x-holdfast-variant"] == expected
        assert headers["x-holdfast-version"] == {"canary": "2", "champion": "1"}[expected]
        ids[headers["x-holdfast-prediction-id"]] = expected
    clicks = [{"prediction_id": name, "name": "click", "value": 1} for name in list(ids)[:20]]
    status, _, counted = served.ask("POST", "/outcomes", [*clicks, {"prediction_id": "x", "name": "click"}])
    assert (status, counted["accepted"], counted["refused"]) == (200, 20, 1)

    type_("release", "abort", "--reason", "enough")
    served.wait(lambda: controller.tick() and served.status()["serves"]["canary"] is None)
    assert {served.predict(0.5, f"user {number}")[1]["x-holdfast-version"] for number in range(30)} == {"1"}

    assert served.end() == 0
    shown = json.loads(type_("log", "show", "--json").stdout)
    assert (shown["predictions"]["rows"], shown["waiting"]["records"]) == (1 + 2 + 2 + 60 + 30, 0)
    outcomes = json.loads(type_("outcomes", "show", "--json").stdout)["outcomes"]
    assert [(found["name"], found["received"], found["joined"]) for found in outcomes] == [("click", 20, 20)]


def known_clients(served: Served) -> None:
    """MLflow's own client and Triton's, as they are."""
    import pandas as pd
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient
    from tritonclient.http import InferenceServerClient, InferInput

    port = served.told["port"]
    found = ScoringServerClient("127.0.0.1", port).invoke(pd.DataFrame({"x": [0.01, 0.99]})).get_predictions()
    assert found.iloc[:, 0].tolist() == [0, 1]
    client = InferenceServerClient(f"127.0.0.1:{port}")
    assert client.is_server_ready()
    assert client.is_model_ready("cut")
    assert client.get_model_metadata("cut")["versions"] == ["1"]
    given = InferInput("x", [2], "FP64")
    given.set_data_from_numpy(np.array([0.01, 0.99]))
    answer = client.infer("cut", [given], parameters={"content_type": "pd", "unit": "u1"})
    client.close()
    name = answer.get_response()["outputs"][0]["name"]
    assert answer.as_numpy(name).tolist() == [0, 1]


def test_the_operators_port_wants_its_token(served: Served) -> None:
    assert served.ask("GET", "/metrics", admin=True)[0] == 401
    served.predict(0.5, "u")
    status, _, text = served.ask("GET", "/metrics", admin=True, authorization=f"Bearer {TOKEN}")
    assert status == 200
    assert 'holdfast_requests_total{code="200",variant="champion",version="1"}' in text


def test_what_was_answered_outlives_a_kill(served: Served, type_: Type) -> None:
    answered = {served.predict(0.5, f"u{number}")[1]["x-holdfast-prediction-id"] for number in range(50)}
    served.end(signal.SIGKILL)
    type_("log", "compact")
    from holdfast.evidence.delta import open_tables

    workspace = Workspace.open(served.folder / "holdfast.yaml")
    table = open_tables(workspace.store, workspace.model).predictions
    kept = {name for file in table.files() for name in table.read(file)["prediction_id"].to_pylist()}
    assert answered <= kept
