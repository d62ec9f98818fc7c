"""Train the classifier and log it to MLflow. Holdfast hands over the table, the seed and HOLDFAST_PARAM_ROUNDS."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

import mlflow
import pandas as pd

from flight_delays.model import Delays

logging.getLogger("mlflow").setLevel(logging.ERROR)
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{ROOT / 'mlflow.db'}")
EXPERIMENT = "flight-delays"


def main() -> None:
    data = os.environ.get("HOLDFAST_TRAIN_DATA", str(ROOT / "data" / "train.parquet"))
    rows = pd.read_parquet(data)
    rounds, seed = int(os.environ.get("HOLDFAST_PARAM_ROUNDS", "120")), int(os.environ.get("HOLDFAST_SEED", "0"))
    print(f"training on {len(rows):,} flights from {data}", flush=True)
    model = Delays.fit(rows, rounds, seed)
    if mlflow.get_tracking_uri().startswith("sqlite:") and mlflow.get_experiment_by_name(EXPERIMENT) is None:
        mlflow.create_experiment(EXPERIMENT, artifact_location=(ROOT / "mlruns").as_uri())
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run() as run, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "delays"
        model.save(folder)
        mlflow.log_params({"rounds": rounds, "seed": seed})
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(ROOT / "src" / "flight_delays" / "model_code.py"),
            artifacts={"delays": str(folder)},
            code_paths=[str(ROOT / "src" / "flight_delays")],
            pip_requirements=["lightgbm", "numpy", "pandas"],
        )
    if target := os.environ.get("HOLDFAST_RUN_FILE"):
        Path(target).write_text(json.dumps({"run_id": run.info.run_id, "train_data": data}), "utf-8")
    print(f"run_id={run.info.run_id}")


if __name__ == "__main__":
    main()
