"""A small real project for tests: a table, a training script that logs to MLflow, a project file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from holdfast.cli.app import app

PROGRAM = Path(sys.executable).with_name("holdfast")

MODEL = """
import json, pathlib
import mlflow
class Threshold(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.cut = json.loads(pathlib.Path(context.artifacts["cut"]).read_text())
    def predict(self, context, model_input, params=None):
        return (model_input["x"].to_numpy() > self.cut).astype(int)
mlflow.models.set_model(Threshold())
"""

TRAIN = """
import json, logging, os, pathlib, sys, tempfile, time
import mlflow, pandas as pd
logging.getLogger("mlflow").setLevel(logging.ERROR)
mode = os.environ.get("HOLDFAST_PARAM_MODE", "good")
if mode == "crash":
    sys.exit("the training broke")
if mode == "sleep":
    print("sleeping", flush=True); time.sleep(600)
data = os.environ["HOLDFAST_TRAIN_DATA"]
if mode == "leak":
    data = str(pathlib.Path("train.parquet").resolve())
rows = pd.read_parquet(data)
cut = float(rows["x"][rows["y"] == 1].min()) if mode != "bad" else 0.9
cut += float(os.environ.get("HOLDFAST_PARAM_SHIFT", "0"))
if mlflow.get_experiment_by_name("t") is None:
    mlflow.create_experiment("t", artifact_location=pathlib.Path("mlruns").resolve().as_uri())
mlflow.set_experiment("t")
with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / "cut.json"
    file.write_text(json.dumps(cut))
    mlflow.pyfunc.log_model(name="model", python_model="model.py", artifacts={"cut": str(file)}, pip_requirements=["pandas"])
pathlib.Path(os.environ["HOLDFAST_RUN_FILE"]).write_text(json.dumps({"run_id": run.info.run_id, "train_data": data}))
print("trained", cut)
"""

CONFIG = """
version: 1
model: cut
registry: sqlite:///mlflow.db
store: {store}
data:
  train: train.parquet
  label: y
  key: [id]
  columns: {{x: {{type: float, min: 0, max: 1, max_null_share: 0}}}}
holdout: {{share: 0.3}}
train:
  run: "python train.py"
  inputs: [train.py, model.py]
  timeout: 2m
  parameters: {{mode: good}}
gates:
  metrics:
    accuracy: {{min: 0.8, max_regression: 0.02}}
retraining: {{drift: 0.15, every_days: 7, cooldown_hours: 12}}
"""


def table(rows: int = 3000, *, seed: int = 0, shift: float = 0.0) -> pa.Table:
    """x uniform, y = x > 0.5 with 3 % of labels flipped."""
    rng = np.random.default_rng(seed)
    x = np.clip(rng.random(rows) + shift, 0, 1)
    y = np.where(rng.random(rows) < 0.03, x <= 0.5, x > 0.5).astype(int)
    clean = np.where((y == 1) & (x <= 0.5), 0, y)  # the smallest positive x is the true cut
    return pa.table({"id": np.arange(rows) + 1_000_000 * seed, "x": x, "y": clean})


def make_project(folder: Path, store: str = ".holdfast") -> Path:
    """Write the project into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(), folder / "train.parquet")
    (folder / "train.py").write_text(TRAIN)
    (folder / "model.py").write_text(MODEL)
    (folder / "holdfast.yaml").write_text(CONFIG.format(store=store))
    return folder


def set_parameters(folder: Path, text: str) -> None:
    """Change `train: {parameters: …}`."""
    file = folder / "holdfast.yaml"
    lines = [f"  parameters: {{{text}}}" if "parameters:" in line else line for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines) + "\n")


def holdfast(folder: Path, *words: str, status: int | None = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    """Type `holdfast WORDS` in `folder`, in a process of its own; asserts the exit status and that nothing is a traceback."""
    done = subprocess.run(
        [PROGRAM, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "PATH": search_path(), **environ},
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert status is None or done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def typed(folder: Path, *words: str, status: int | None = 0) -> Result:
    """The same in this process, which has imported already what a command needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PATH", search_path())
        result = CliRunner().invoke(app, list(words), prog_name="holdfast")
    assert "Traceback" not in result.output
    assert status is None or result.exit_code == status, f"{result.exit_code}\n{result.output}"
    return result


def search_path() -> str:
    """PATH with this environment's programs first, as an activated one has it."""
    return f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"


def document(folder: Path, *words: str, status: int | None = 0) -> dict[str, Any]:
    """The one JSON document of a command typed in this process."""
    return dict(json.loads(typed(folder, *words, "--json", status=status).stdout))
