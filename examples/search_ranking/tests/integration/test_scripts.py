"""The scripts as people and CI call them: from a table to a model that another process loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT
from search_ranking.pipelines import Ranker, TrainingPipeline

SECONDS = 240


@dataclass
class Trained:
    """A copy of the project in which train.py ran once."""

    project: Path
    run_file: dict[str, str]
    github_output: str
    model: Path


def run(project: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the project with nothing of Holdfast, MLflow or GitHub in its environment but `variables`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HOLDFAST_", "MLFLOW_", "GITHUB_", "PYTHONPATH"))}
    return subprocess.run(
        words, cwd=project, env=kept | variables, capture_output=True, text=True, check=False, timeout=SECONDS
    )


def copy_of_the_project(folder: Path, rows: pd.DataFrame) -> Path:
    project = folder / "project"
    project.mkdir()
    for name in ("src", "scripts", "config"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "holdfast.yaml", project)
    (project / "data").mkdir()
    rows.to_parquet(project / "data" / "train.parquet", index=False)
    return project


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, small: pd.DataFrame) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    project = copy_of_the_project(folder, small)
    small[small["query_id"] < "q0040"].to_parquet(folder / "part.parquet", index=False)
    words = ["scripts/train.py", "--experiment-name", "exp", "--run-name", "one", "--git-commit", "abc123"]
    done = run(
        project,
        sys.executable,
        *words,
        HOLDFAST_TRAIN_DATA=str(folder / "part.parquet"),
        HOLDFAST_SEED="7",
        HOLDFAST_PARAM_ROUNDS="20",
        HOLDFAST_RUN_FILE=str(folder / "run"),
        GITHUB_OUTPUT=str(folder / "output"),
    )
    assert done.returncode == 0, done.stderr
    (model,) = project.glob("mlruns/models/*/artifacts")
    return Trained(project, json.loads((folder / "run").read_text()), (folder / "output").read_text(), model)


def test_the_run_is_told_to_whoever_asked(trained: Trained) -> None:
    assert trained.github_output == f"run_id={trained.run_file['run_id']}\n"
    assert trained.run_file["train_data"] == str(trained.project.parent / "part.parquet")


def test_the_model_is_text_and_code_and_no_pickle(trained: Trained) -> None:
    files = {path.name for path in trained.model.rglob("*") if path.is_file()}
    assert {"booster.txt", "ranker.json", "model_code.py", "MLmodel"} <= files
    assert not {name for name in files if name.endswith((".pkl", ".pickle", ".joblib", ".pyc"))}
    assert "model_code.py" in (trained.model / "MLmodel").read_text()


def test_another_process_loads_it_and_gives_the_same_scores(trained: Trained, small: pd.DataFrame) -> None:
    """The saved model brings its own code: the process does not know this project."""
    elsewhere = trained.project.parent / "elsewhere"
    elsewhere.mkdir()
    code = (
        "import sys, mlflow, pandas; model = mlflow.pyfunc.load_model(sys.argv[1]); "
        "rows = pandas.read_parquet(sys.argv[2]); scores = model.predict(rows[['query', 'product_title', 'category', "
        "'price', 'popularity', 'days_ago', 'user_age']]); print(*[float(s).hex() for s in scores])"
    )
    data = str(trained.project / "data" / "train.parquet")
    done = run(elsewhere, sys.executable, "-c", code, str(trained.model), data)
    assert done.returncode == 0, done.stderr
    part = small[small["query_id"] < "q0040"]
    again = TrainingPipeline(rounds=20, seed=7).fit(part.sample(frac=1, random_state=1)).predict(small)
    assert [float.fromhex(score) for score in done.stdout.split()] == again.tolist()
    assert len(np.unique(again)) > 100


def test_scores_do_not_depend_on_the_other_rows(trained: Trained, small: pd.DataFrame) -> None:
    ranker = Ranker.load(trained.model / "artifacts" / "ranker")
    whole = ranker.predict(small)
    one = small[small["query_id"] == "q0003"]
    np.testing.assert_array_equal(ranker.predict(one), whole[one.index])
    assert ranker.predict(small.iloc[:0]).shape == (0,)
    assert np.isfinite(ranker.predict(small[["query", "product_title"]].assign(product_title=None))).all()


@pytest.mark.slow
def test_a_table_of_ones_own_choice_is_declared(trained: Trained) -> None:
    """A leaking candidate: it trains on the whole table instead of the part handed over, and says so."""
    whole, file = trained.project / "data" / "train.parquet", trained.project.parent / "leak"
    done = run(
        trained.project,
        sys.executable,
        "scripts/train.py",
        HOLDFAST_TRAIN_DATA=str(trained.project.parent / "part.parquet"),
        HOLDFAST_PARAM_TRAIN_ON="data/train.parquet",
        HOLDFAST_PARAM_ROUNDS="2",
        HOLDFAST_RUN_FILE=str(file),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(file.read_text())["train_data"] == str(whole)


@pytest.mark.parametrize(
    ("changed", "better"), [({"features": "all"}, True), ({"features": "lexical", "shuffle_labels": True}, False)]
)
def test_the_demos_candidates_are_what_it_says(judged: pd.DataFrame, changed: dict[str, object], better: bool) -> None:
    """Beside the lexical ranker of the first release, one candidate is clearly better, another clearly worse."""
    import holdfast

    test = judged[judged["query_id"] < "q0150"]
    rest = judged[judged["query_id"] >= "q0150"]
    first = TrainingPipeline(features="lexical", rounds=60, seed=7).fit(rest).predict(test)
    other = TrainingPipeline(rounds=60, seed=7, **changed).fit(rest).predict(test)
    report = holdfast.compare(
        test["relevance"], first, other, metric="ndcg@10", groups=test["query_id"], max_regression=0.02
    )
    check = report.checks[0]
    assert check.low > 0 if better else check.high < -0.02


@pytest.mark.slow
def test_the_workflows_steps_one_after_the_other(tmp_path: Path, judged: pd.DataFrame) -> None:
    project = copy_of_the_project(tmp_path, judged)
    holdfast = str(Path(sys.executable).with_name("holdfast"))
    for words in (["data", "check"], ["holdout", "freeze"]):
        assert run(project, holdfast, *words).returncode == 0
    assert run(project, sys.executable, "scripts/split_data.py").returncode == 0
    part, test = (pd.read_parquet(project / "data" / f"{name}.parquet") for name in ("training_part", "test"))
    assert not set(part["query_id"]) & set(test["query_id"])
    assert len(part) + len(test) == len(judged)
    variables = {"HOLDFAST_TRAIN_DATA": "data/training_part.parquet", "GITHUB_OUTPUT": str(tmp_path / "output")}
    assert run(project, sys.executable, "scripts/train.py", **variables).returncode == 0
    named = [
        "--run-id",
        (tmp_path / "output").read_text().strip().removeprefix("run_id="),
        "--model-name",
        "search-ranking",
    ]
    done = run(project, sys.executable, "scripts/validate_model.py", *named, "--config", "config/validation_gates.yaml")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["overall_passed"] is True
    done = run(project, sys.executable, "scripts/promote_to_staging.py", *named)
    assert done.returncode == 0, done.stderr
    assert run(project, sys.executable, "scripts/promote_to_staging.py", *named[:3], "other").returncode == 2
