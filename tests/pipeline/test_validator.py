"""`ModelValidator` on real MLflow models, in the words of its users."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from holdfast import ModelValidationConfig, ModelValidator
from holdfast.errors import HoldfastError
from holdfast.pipeline.validator import as_mapping
from holdfast.registry import open_registry
from holdfast.verdict import CheckResult, Verdict

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

MODEL = """
import mlflow, numpy as np
class Rule(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        x = model_input["x"].to_numpy()
        return ((x > 0.5) ^ (np.abs(x * 1000 % 10) < WRONG)).astype(int)
mlflow.models.set_model(Rule())
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two logged models in a sqlite registry: version 1 (2 % wrong) is the champion; and a test table."""
    import mlflow

    folder = tmp_path_factory.mktemp("validator")
    open_registry("sqlite:///mlflow.db", folder)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_registry_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.create_experiment("v", artifact_location=(folder / "runs").as_uri())
    mlflow.set_experiment("v")
    for name, wrong in (("good", "0.2"), ("worse", "1.5")):
        code = folder / f"{name}.py"
        code.write_text(MODEL.replace("WRONG", wrong))
        with mlflow.start_run() as run:
            info = mlflow.pyfunc.log_model(name="model", python_model=str(code), pip_requirements=["pandas"])
        version = mlflow.register_model(info.model_uri, name)
        (folder / name).write_text(run.info.run_id)
        if name == "good":
            mlflow.MlflowClient().set_registered_model_alias("good", "champion", str(version.version))
    x = np.random.default_rng(0).random(2000)
    pd.DataFrame({"x": x, "label": (x > 0.5).astype(int)}).to_parquet(folder / "test.parquet", index=False)
    return folder


def validate(place: Path, uri: str, name: str, config: ModelValidationConfig, **more: object) -> dict:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db", f"sqlite:///{place}/mlflow.db")
    return ModelValidator(config, str(place / "test.parquet"), client, **more).validate(uri, name)


NO_LATENCY = ModelValidationConfig(max_latency_p99_ms=None, max_latency_regression_pct=None)


def test_a_first_release_is_judged_by_its_limits(place: Path) -> None:
    result = validate(
        place, f"runs:/{(place / 'good').read_text()}/model", "nobody", ModelValidationConfig(), latency_calls=400
    )
    assert set(result) == {
        "candidate_metrics",
        "accuracy_threshold",
        "f1_threshold",
        "latency_p99",
        "overall_passed",
        "failed_checks",
    }
    assert (result["overall_passed"], result["failed_checks"]) == (True, [])
    threshold = result["accuracy_threshold"]
    assert (threshold["passed"], threshold["threshold"], threshold["n"], threshold["verdict"]) == (
        True,
        0.80,
        2000,
        "pass",
    )
    assert threshold["low"] < threshold["value"] < threshold["high"]
    assert result["candidate_metrics"]["accuracy"] == threshold["value"]
    assert result["latency_p99"]["value_ms"] < result["latency_p99"]["threshold_ms"] == 200.0


def test_a_worse_candidate_fails_against_the_champion(place: Path) -> None:
    result = validate(place, f"runs:/{(place / 'worse').read_text()}/model", "good", NO_LATENCY)
    regression = result["accuracy_regression"]
    assert regression["threshold"] == -0.02
    assert regression["delta"] == pytest.approx(
        result["candidate_metrics"]["accuracy"] - result["production_metrics"]["accuracy"]
    )
    assert (regression["passed"], regression["verdict"]) == (False, "fail")
    assert result["failed_checks"] == ["accuracy_regression"]
    assert result["overall_passed"] is False


def test_the_deprecated_stage_production_is_read_too(place: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db", f"sqlite:///{place}/mlflow.db")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client.transition_model_version_stage("worse", "1", "Production")
    result = validate(place, f"runs:/{(place / 'good').read_text()}/model", "worse", NO_LATENCY)
    assert result["accuracy_regression"]["passed"] is True


def test_thresholds_can_be_switched_off(place: Path) -> None:
    config = ModelValidationConfig(
        min_accuracy=None,
        min_f1=None,
        max_accuracy_regression=None,
        max_latency_p99_ms=None,
        max_latency_regression_pct=None,
        metrics={"roc_auc": {"min": 0.5}},
    )
    result = validate(place, f"runs:/{(place / 'good').read_text()}/model", "nobody", config)
    assert set(result["candidate_metrics"]) == {"roc_auc"}
    assert result["roc_auc_threshold"]["passed"] is True


def test_a_missing_model_is_one_sentence(place: Path) -> None:
    with pytest.raises(HoldfastError):
        validate(place, "runs:/0123456789abcdef/model", "nobody", NO_LATENCY)


@pytest.mark.parametrize(
    ("estimate", "threshold", "direction", "passed"),
    [
        (0.8, 0.8, "higher", True),
        (0.79, 0.8, "higher", False),
        (0.1, 0.1, "lower", True),
        (0.11, 0.1, "lower", False),
        (None, 0.1, "lower", False),
    ],
)
def test_passed_is_the_point_comparison(estimate: float | None, threshold: float, direction: str, passed: bool) -> None:
    check = CheckResult(
        name="x.min",
        kind="absolute",
        verdict=Verdict.INCONCLUSIVE,
        message="m",
        estimate=estimate,
        threshold=threshold,
        direction=direction,
    )
    assert as_mapping(check)["passed"] is passed
