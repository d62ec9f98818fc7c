"""Train the ranker and log it to MLflow.

    python scripts/train.py --experiment-name search-ranking --run-name nightly --git-commit $(git rev-parse HEAD)

Without Holdfast it trains on `data/train.parquet`. Holdfast hands it the training part in HOLDFAST_TRAIN_DATA, a seed
in HOLDFAST_SEED, and parameters as HOLDFAST_PARAM_ROUNDS, _LEARNING_RATE, _FEATURES (fuzzy, lexical or all), _SHUFFLE_LABELS.
HOLDFAST_PARAM_TRAIN_ON trains on another table than the one handed over, and says so.
"""

from __future__ import annotations

import argparse
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

from search_ranking.pipelines import TrainingPipeline

logging.getLogger("mlflow").setLevel(logging.ERROR)
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{ROOT / 'mlflow.db'}")
SOURCE = ROOT / "src" / "search_ranking"
REQUIREMENTS = ["lightgbm", "nltk", "numpy", "pandas", "rapidfuzz"]


def parameter(name: str, default: str) -> str:
    return os.environ.get(f"HOLDFAST_PARAM_{name}", default)


def pipeline() -> TrainingPipeline:
    return TrainingPipeline(
        rounds=int(parameter("ROUNDS", str(TrainingPipeline.rounds))),
        learning_rate=float(parameter("LEARNING_RATE", str(TrainingPipeline.learning_rate))),
        features=parameter("FEATURES", TrainingPipeline.features),
        tie_break=float(parameter("TIE_BREAK", str(TrainingPipeline.tie_break))),
        shuffle_labels=parameter("SHUFFLE_LABELS", "false").lower() == "true",
        seed=int(os.environ.get("HOLDFAST_SEED", "0")),
    )


def train(experiment: str, run_name: str, commit: str | None) -> tuple[str, str]:
    """The run's id and the table it was trained on."""
    handed = os.environ.get("HOLDFAST_TRAIN_DATA", str(ROOT / "data" / "train.parquet"))
    data = str(Path(parameter("TRAIN_ON", handed)).resolve())
    rows = pd.read_parquet(data)
    settings = pipeline()
    print(f"training on {len(rows):,} rows of {rows['query_id'].nunique()} queries from {data}", flush=True)
    ranker = settings.fit(rows)
    choose_experiment(experiment)
    with mlflow.start_run(run_name=run_name) as run, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "ranker"  # its name becomes part of the model, so it is always the same
        ranker.save(folder)
        mlflow.log_params(vars(settings))
        mlflow.set_tags({"git_commit": commit or "unknown", "train_data": data, "queries": rows["query_id"].nunique()})
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SOURCE / "model_code.py"),
            artifacts={"ranker": str(folder)},
            code_paths=[str(SOURCE)],
            pip_requirements=REQUIREMENTS,
        )
    return run.info.run_id, data


def choose_experiment(name: str) -> None:
    """Log to this experiment; beside a local database its artifacts stand in `mlruns/`, a server keeps its own."""
    if mlflow.get_tracking_uri().startswith("sqlite:") and mlflow.get_experiment_by_name(name) is None:
        mlflow.create_experiment(name, artifact_location=(ROOT / "mlruns").as_uri())
    mlflow.set_experiment(name)


def tell(run_id: str, data: str) -> None:
    """Say which run it was to whoever asked: Holdfast, GitHub, a person."""
    if target := os.environ.get("HOLDFAST_RUN_FILE"):
        Path(target).write_text(json.dumps({"run_id": run_id, "train_data": data}), "utf-8")
    if target := os.environ.get("GITHUB_OUTPUT"):
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(f"run_id={run_id}\n")
    print(f"run_id={run_id}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the search ranker.")
    parser.add_argument("--experiment-name", default="search-ranking")
    parser.add_argument("--run-name", default="train")
    parser.add_argument("--git-commit", default=os.environ.get("HOLDFAST_GIT_COMMIT"))
    given = parser.parse_args()
    tell(*train(given.experiment_name, given.run_name, given.git_commit))


if __name__ == "__main__":
    main()
