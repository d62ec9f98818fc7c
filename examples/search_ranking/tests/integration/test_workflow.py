"""The CI workflow, read as data: what GitHub would do with it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from conftest import ROOT

WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows/ml-pipeline.yml").read_text("utf-8"))
TEST, TRAIN = WORKFLOW["jobs"]["test"], WORKFLOW["jobs"]["train-and-gate"]
STEPS = [*TEST["steps"], *TRAIN["steps"]]


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step.get("run", "") for step in job["steps"])


def test_tests_run_on_every_push_and_pull_request() -> None:
    on = WORKFLOW[True]  # YAML 1.1 reads the key `on` as true
    assert set(on) == {"push", "pull_request"}
    assert not any(on.values())
    assert "if" not in TEST
    assert "pytest tests/unit tests/integration" in commands(TEST)


def test_training_runs_on_main_only_and_on_our_own_gpu() -> None:
    assert TRAIN["if"] == "github.event_name == 'push' && github.ref == 'refs/heads/main'"
    assert TRAIN["runs-on"] == ["self-hosted", "gpu"]
    assert TRAIN["needs"] == "test"
    assert "secrets." not in str(TEST)


def test_every_action_is_pinned() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action) for action in used)


def test_no_expression_stands_in_a_shell_line() -> None:
    assert not [step["run"] for step in STEPS if "${{" in step.get("run", "")]


def test_the_run_id_goes_from_training_to_gates_and_staging() -> None:
    ids = [step.get("id") for step in TRAIN["steps"]]
    after = TRAIN["steps"][ids.index("train") + 1 :]
    assert [step["env"]["RUN_ID"] for step in after] == ["${{ steps.train.outputs.run_id }}"] * 2
    assert all('--run-id "$RUN_ID"' in step["run"] for step in after)


def test_training_gets_the_training_part_only() -> None:
    run = commands(TRAIN)
    assert run.index("holdfast holdout freeze") < run.index("scripts/split_data.py") < run.index("scripts/train.py")
    step = next(step for step in TRAIN["steps"] if step.get("id") == "train")
    assert step["env"]["HOLDFAST_TRAIN_DATA"] == "data/training_part.parquet"


@pytest.mark.parametrize("job", [TEST, TRAIN])
def test_every_script_it_calls_exists(job: dict[str, Any]) -> None:
    for script in re.findall(r"scripts/\w+\.py|config/\S+\.yaml", commands(job)):
        assert (ROOT / script).is_file(), script


def test_the_thresholds_of_both_ways_agree() -> None:
    project = yaml.safe_load((ROOT / "holdfast.yaml").read_text("utf-8"))["gates"]
    thresholds = yaml.safe_load((ROOT / "config/validation_gates.yaml").read_text("utf-8"))
    gate = project["metrics"]["ndcg@10"]
    assert thresholds["metrics"]["ndcg@10"] == {name: gate[name] for name in ("min", "max_regression")}
    assert thresholds["max_latency_p99_ms"] == project["latency"]["p99_ms"]
    assert thresholds["max_latency_regression_pct"] == project["latency"]["max_regression_pct"]


def test_requirements_are_exact() -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    packages = [line for line in lines if line and not line.startswith(("#", "holdfast"))]
    assert packages
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in packages)
