"""From the user's command to a run with its lineage, in a registry in memory and in the real MLflow."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.config.schema import TrainConfig
from holdfast.errors import OutsideError, UserError
from holdfast.registry import open_registry
from holdfast.training import TrainingResult, train

TAGS = {"holdfast.commit": "c0ffee", "holdfast.data": "sha256:1", "holdfast.environment": "sha256:2"}


class MemoryRegistry:
    """The part of a registry that training uses; `logged` are the runs since the start, `models` can be fetched."""

    uri = "memory://"

    def __init__(self, logged: list[str], models: list[str]) -> None:
        self.logged, self.models = logged, models
        self.tags: dict[str, dict[str, str]] = {}
        self.asked: list[datetime] = []

    def runs_since(self, moment: datetime) -> list[str]:
        self.asked.append(moment)
        return self.logged

    def set_run_tags(self, run_id: str, tags: dict[str, str]) -> None:
        self.tags[run_id] = tags

    def download(self, uri: str, folder: Path) -> Path:
        if uri not in self.models:
            raise OutsideError(f"there is nothing at {uri}.")
        return folder


def trained(
    folder: Path, script: str, registry: Any, *, tags: dict[str, str] = TAGS, echo: Any = lambda _: None, **config: Any
) -> TrainingResult:
    (folder / "train.py").write_text(script)
    (folder / "rows.parquet").touch()
    return train(
        TrainConfig(run=shlex.join([sys.executable, "train.py"]), **config),
        model_name="ranker",
        train_data=folder / "rows.parquet",
        cwd=folder,
        registry=registry,
        tags=tags,
        echo=echo,
    )


RUN_FILE = "open(os.environ['HOLDFAST_RUN_FILE'], 'w').write('file')"
GITHUB = "open(os.environ['GITHUB_OUTPUT'], 'a').write('run_id=github\\nauc=0.9\\n')"
PRINTED = "print('run_id=early'); print('INFO run_id: printed')"


@pytest.mark.parametrize(
    ("script", "logged", "expected"),
    [
        (f"import os; {RUN_FILE}; {GITHUB}; {PRINTED}", ["mlflow"], "file"),
        (f"import os; {GITHUB}; {PRINTED}", ["mlflow"], "github"),
        (PRINTED, ["mlflow"], "printed"),
        ("print('nothing to say')", ["mlflow"], "mlflow"),
    ],
)
def test_the_run_is_found_and_tagged(script: str, logged: list[str], expected: str, tmp_path: Path) -> None:
    registry = MemoryRegistry(logged, [f"runs:/{expected}/model"])
    before = datetime.now(UTC)
    result = trained(tmp_path, script, registry)
    assert (result.run_id, result.candidate_uri) == (expected, f"runs:/{expected}/model")
    assert registry.tags == {expected: TAGS}
    assert result.seconds > 0
    assert all(before <= moment <= datetime.now(UTC) for moment in registry.asked)
    assert bool(registry.asked) == (expected == "mlflow")


def test_what_the_command_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    script = """
import json, os
names = [n for n in os.environ if n.startswith("HOLDFAST_") or n == "MLFLOW_TRACKING_URI"]
json.dump({n: os.environ[n] for n in names}, open("seen.json", "w"))
json.dump({"run_id": "r1", "train_data": os.environ["HOLDFAST_TRAIN_DATA"]}, open(os.environ["HOLDFAST_RUN_FILE"], "w"))
"""
    parameters = {"learning-rate": 0.1, "deep": True, "name": "x y", "sizes": [1, 2]}
    registry = MemoryRegistry([], ["runs:/r1/ranker"])
    result = trained(tmp_path, script, registry, seed=7, parameters=parameters, model_path="ranker")
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen.pop("HOLDFAST_RUN_FILE")
    assert {name: value for name, value in seen.items() if name != "HOLDFAST_DATA"} == {
        "HOLDFAST_TRAIN_DATA": str(tmp_path / "rows.parquet"),
        "HOLDFAST_SEED": "7",
        "HOLDFAST_MODEL": "ranker",
        "HOLDFAST_GIT_COMMIT": "c0ffee",
        "HOLDFAST_PARAM_LEARNING_RATE": "0.1",
        "HOLDFAST_PARAM_DEEP": "true",
        "HOLDFAST_PARAM_NAME": "x y",
        "HOLDFAST_PARAM_SIZES": "[1, 2]",
        "MLFLOW_TRACKING_URI": "memory://",
    }
    assert result.outputs == {"run_id": "r1", "train_data": str(tmp_path / "rows.parquet")}
    assert result.candidate_uri == "runs:/r1/ranker"


def test_lines_for_github_are_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = tmp_path / "outer"
    outer.write_text("step=1\nrun_id=of-another-step\n")
    monkeypatch.setenv("GITHUB_OUTPUT", str(outer))
    registry = MemoryRegistry([], ["runs:/github/model"])
    lines: list[str] = []
    result = trained(tmp_path, f"import os; {GITHUB}; print('live')", registry, echo=lines.append)
    assert outer.read_text() == "step=1\nrun_id=of-another-step\nrun_id=github\nauc=0.9\n"
    assert result.outputs == {"run_id": "github", "auc": "0.9"}
    assert lines == ["live"]


def test_a_model_of_another_tracker_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "MLmodel").touch()
    script = "import os; open(os.environ['GITHUB_OUTPUT'], 'a').write('run_id=wandb-1\\nmodel_uri=saved\\n')"
    registry = MemoryRegistry([], [])
    assert trained(tmp_path, script, registry).candidate_uri == "saved"
    assert registry.tags == {}


@pytest.mark.parametrize(
    ("script", "logged", "sentence", "reason"),
    [
        (
            "print('one'); raise SystemExit(3)",
            [],
            r"ended with exit status 3; its last lines:\n  one",
            "training_failed",
        ),
        ("raise ValueError('bad data')", [], r"exit status 1.*ValueError: bad data", "training_failed"),
        ("import os; os.kill(os.getpid(), 9)", [], r"ended with signal 9 and printed nothing", "training_failed"),
        ("", [], "named no run and logged none", "no_run"),
        ("", ["a", "b"], r"logged 2 MLflow runs \(a, b\)", "many_runs"),
        ("print('run_id=x')", [], r"run x has no model at runs:/x/model: there is nothing", "no_model"),
        ("import time; time.sleep(60)", [], "did not end within 1 s", "training_timed_out"),
    ],
)
def test_trainings_that_fail(script: str, logged: list[str], sentence: str, reason: str, tmp_path: Path) -> None:
    registry = MemoryRegistry(logged, [])
    timeout = timedelta(seconds=1 if reason == "training_timed_out" else 60)
    with pytest.raises(OutsideError, match=f"(?s){sentence}") as caught:
        trained(tmp_path, script, registry, timeout=timeout)
    assert caught.value.reason_code == reason


def test_a_run_file_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="HOLDFAST_RUN_FILE should hold a run id"):
        trained(tmp_path, "import os; open(os.environ['HOLDFAST_RUN_FILE'], 'w').write('[]')", MemoryRegistry([], []))


MLFLOW = """
import mlflow
mlflow.set_experiment("ranking")
class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [1.0] * len(model_input)
with mlflow.start_run():
    mlflow.pyfunc.log_model(name="model", python_model=Model(), pip_requirements=[])
"""


@pytest.mark.filterwarnings("ignore:.*noload:Warning")
def test_a_run_of_the_real_mlflow(tmp_path: Path) -> None:
    registry = open_registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    result = trained(tmp_path, MLFLOW, registry)
    assert result.outputs == {"run_id": result.run_id}
    from mlflow import MlflowClient

    run = MlflowClient(registry.uri).get_run(result.run_id)
    assert {name: run.data.tags[name] for name in TAGS} == TAGS
    assert (registry.download(result.candidate_uri, tmp_path / "models") / "MLmodel").is_file()
