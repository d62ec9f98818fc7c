"""`holdfast serve` as a user runs it: a real process, real clients, a canary steered by the real controller, and its log."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from holdfast.pipeline.canary import Canary
from holdfast.pipeline.workspace import Workspace
from holdfast.release.routing import drawn
from tests.cli.conftest import Type
from tests.project import search_path
from tests.served import SERVE, SERVED, TOKEN, Served

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own


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


def test_a_name_is_one_process_s(served: Served) -> None:
    beside = Served(served.folder)
    assert beside.told["replica"] != served.told["replica"], "on one folder the second takes another name"
    beside.process.kill()
    beside.process.communicate()

    shutil.copytree(served.folder / ".holdfast/serving", served.folder / "copied")  # as a copied disk would be
    text = (served.folder / "holdfast.yaml").read_text().replace("inputs: all", "inputs: all, folder: copied")
    (served.folder / "copied.yaml").write_text(text)
    refused = subprocess.run(
        [*SERVE, "-c", "copied.yaml"], cwd=served.folder, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 4
    assert f"the only process that is replica {served.told['replica']}" in refused.stderr
    assert served.ask("GET", "/v2/health/ready")[0] == 200
