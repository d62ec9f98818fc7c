"""`ModelValidator`: the gates for people who have an MLflow client and a table, and no project yet."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.config.schema import ModelConfig
from holdfast.config.validation import ModelValidationConfig
from holdfast.data.arrays import column_array, labels_array
from holdfast.data.tables import open_table
from holdfast.errors import HoldfastError, UserError
from holdfast.gates.evidence import Contender, Rows
from holdfast.gates.judge import GateEvidence, judge
from holdfast.gates.latency import Timings
from holdfast.gates.quality import metric_of
from holdfast.models import MlflowModel, Predictions, Timed, measure_latency, predict
from holdfast.pipeline.predictions import call_slices
from holdfast.registry import registry_of
from holdfast.verdict import CheckResult, Verdict

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SHORT = {"f1_weighted": "f1"}


class ModelValidator:
    """Judge a candidate on a test table, and against the champion where there is one.

    `test_dataset_path` is Parquet (or CSV) with a `label` column; `client` an `mlflow.MlflowClient`. `group` names the
    unit of randomness of ranking metrics. Both models are scored in the environment at hand, because without a project
    there is no record of the champion's own predictions; `holdfast gate` compares with the record instead.
    """

    def __init__(
        self,
        config: ModelValidationConfig,
        test_dataset_path: str | Path,
        client: MlflowClient,
        *,
        label: str = "label",
        group: str | None = None,
        strict: bool = False,
        model_config: ModelConfig | None = None,
        latency_calls: int = 600,
    ) -> None:
        self.config = config
        self.path = Path(test_dataset_path)
        self.registry = registry_of(client)
        self.label, self.group, self.strict = label, group, strict
        self.model_config = model_config or ModelConfig(name="candidate")
        self.latency_calls = latency_calls

    def validate(self, candidate_model_uri: str, production_model_name: str) -> dict[str, Any]:
        """Every declared check as a mapping; see the module's names in the documentation of the project.

        Keys: `candidate_metrics`, `accuracy_threshold`, `f1_threshold` and one `NAME_threshold` per further metric
        (`passed`, `value`, `threshold`); with a champion `production_metrics`, `accuracy_regression` (`passed`, `delta`,
        `threshold` = −margin) and `latency_regression`; `latency_p99` (`passed`, `value_ms`, `threshold_ms`);
        `overall_passed` and `failed_checks`. `passed` is the point comparison; `verdict` carries the interval, and with
        `strict=True` the overall answer follows the verdicts. Raises UserError or OutsideError for unusable input.
        """
        table = open_table(self.path)
        rows = Rows(
            labels=labels_array(table, self.label),
            groups=column_array(table, self.group) if self.group else None,
            unit=self.group or "row",
        )
        champion_uri = self._champion(production_model_name)
        with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
            candidate = self._contender("candidate", candidate_model_uri, Path(folder))
            champion = None if champion_uri is None else self._contender("champion", champion_uri, Path(folder))
            timed = self._timings(candidate_model_uri, champion_uri, rows, Path(folder))
        return self._answer(rows, candidate, champion, timed)

    def _answer(
        self, rows: Rows, candidate: Contender, champion: Contender | None, timed: Timings | None
    ) -> dict[str, Any]:
        gates = self.config.to_gates()
        metrics = {name: metric_of(name, gate, positive=1) for name, gate in gates.metrics.items()}
        evidence = GateEvidence(
            rows=rows, candidate=candidate, champion=champion, timings=timed, holdout=str(self.path), policy=""
        )
        result: dict[str, Any] = {
            "candidate_metrics": {_short(n): _value(m, rows, candidate) for n, m in metrics.items()}
        }
        if champion is not None:
            result["production_metrics"] = {_short(n): _value(m, rows, champion) for n, m in metrics.items()}
        checks = {_key(check): as_mapping(check) for check in judge(evidence, gates, metrics)}
        failed = [name for name, check in checks.items() if not self._passed(check)]
        return {**result, **checks, "overall_passed": bool(checks) and not failed, "failed_checks": failed}

    def _passed(self, check: Mapping[str, Any]) -> bool:
        return check["verdict"] == Verdict.PASS.value if self.strict else bool(check["passed"])

    def _champion(self, name: str) -> str | None:
        """The URI of the champion: the alias, else the deprecated stage Production; None where there is neither."""
        number = self.registry.aliases(name).get("champion")
        if number is None:
            staged = self.registry.stage_champion(name)
            number = None if staged is None else staged.version
        return None if number is None else f"models:/{name}/{number}"

    def _contender(self, name: str, uri: str, folder: Path) -> Contender:
        made: Predictions = predict(
            uri,
            self.path,
            model_config=self.model_config,
            registry=self.registry,
            python=sys.executable,
            cwd=Path.cwd(),
            cache=folder,
            drop=(self.label,),
        )
        return Contender(name=name, predictions=made.values, predictions_digest=made.digest)

    def _timings(self, candidate: str, champion: str | None, rows: Rows, folder: Path) -> Timings | None:
        if self.config.to_gates().latency is None:
            return None
        try:
            measured = measure_latency(
                Timed(MlflowModel(candidate), sys.executable),
                None if champion is None else Timed(MlflowModel(champion), sys.executable),
                self.path,
                call_slices(rows, 1),
                model_config=self.model_config,
                registry=self.registry,
                cwd=Path.cwd(),
                cache=folder,
                drop=(self.label,),
                calls=self.latency_calls,
            )
        except UserError:
            raise
        except HoldfastError as error:
            return Timings(missing=error.message, failed=True)
        return Timings(candidate=measured.candidate, champion=measured.champion)


def as_mapping(check: CheckResult) -> dict[str, Any]:
    """One check in the words of `ModelValidator`'s users; `passed` compares the point with the threshold."""
    value, threshold = check.estimate, check.threshold
    if value is None or threshold is None:
        passed = False
    else:
        passed = value >= threshold if check.direction == "higher" else value <= threshold
    named: dict[str, Any] = {"passed": passed}
    if check.name == "latency.p99":
        named |= {"value_ms": value, "threshold_ms": threshold}
    elif check.name.endswith("regression"):
        named |= {"delta": value, "threshold": threshold}
    else:
        named |= {"value": value, "threshold": threshold}
    evidence = ("low", "high", "confidence", "n", "unit", "method", "message", "reason_code")
    return named | {"verdict": check.verdict.value} | {name: getattr(check, name) for name in evidence}


def _key(check: CheckResult) -> str:
    """`accuracy.min` is `accuracy_threshold`, `f1_weighted.regression` is `f1_regression`, `latency.p99` is `latency_p99`."""
    metric, _, word = check.name.rpartition(".")
    return f"{_short(metric)}_{'threshold' if word in ('min', 'max') else word}"


def _short(metric: str) -> str:
    return _SHORT.get(metric, metric)


def _value(metric: Any, rows: Rows, contender: Contender) -> float:
    return float(metric.value(rows.labels, contender.predictions, rows.groups))
