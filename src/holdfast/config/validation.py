"""`ModelValidationConfig`: a few thresholds, for people who have no project file yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, Field, create_model

from holdfast.config.schema import GatesConfig, LatencyGate, MetricGate
from holdfast.errors import UserError


@dataclass(frozen=True)
class ModelValidationConfig:
    """Thresholds of a gate; None switches a check off.

    `min_accuracy` and `min_f1` (weighted) are shares; `max_accuracy_regression` is the tolerated loss of accuracy against
    the champion; latencies are milliseconds, `max_latency_regression_pct` a share of the champion's p99 (0.10 is ten per
    cent). `metrics` maps further metrics to `{min, max, max_regression}`.
    """

    min_accuracy: float | None = 0.80
    min_f1: float | None = 0.78
    max_latency_p99_ms: float | None = 200.0
    max_accuracy_regression: float | None = 0.02
    max_latency_regression_pct: float | None = 0.10
    metrics: Mapping[str, Any] | None = None

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """The thresholds in a YAML file; ConfigError with file, line and column where it is wrong."""
        import os

        from holdfast.config.loader import read_document, validated

        file = Path(path)
        if not file.is_file():
            raise UserError(f"there is no file of thresholds {file}.")
        document = read_document(file, os.environ)
        found = validated(_FILE, document)
        return cls(**{name: getattr(found, name) for name in cls.__dataclass_fields__})

    def to_gates(self) -> GatesConfig:
        """The same thresholds as the gates of a project file."""
        metrics: dict[str, MetricGate] = {}
        if self.min_accuracy is not None or self.max_accuracy_regression is not None:
            metrics["accuracy"] = MetricGate(min=self.min_accuracy, max_regression=self.max_accuracy_regression)
        if self.min_f1 is not None:
            metrics["f1_weighted"] = MetricGate(min=self.min_f1)
        for name, gate in (self.metrics or {}).items():
            metrics[name] = gate if isinstance(gate, MetricGate) else MetricGate.model_validate(gate)
        latency = None
        if self.max_latency_p99_ms is not None or self.max_latency_regression_pct is not None:
            latency = LatencyGate(p99_ms=self.max_latency_p99_ms, max_regression_pct=self.max_latency_regression_pct)
        return GatesConfig(metrics=metrics, latency=latency)


_FILE = create_model(
    "ValidationFile",
    __config__=ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True),
    min_accuracy=(float | None, Field(default=0.80, ge=0, le=1)),
    min_f1=(float | None, Field(default=0.78, ge=0, le=1)),
    max_latency_p99_ms=(float | None, Field(default=200.0, gt=0)),
    max_accuracy_regression=(float | None, Field(default=0.02, ge=0)),
    max_latency_regression_pct=(float | None, Field(default=0.10, ge=0)),
    metrics=(dict[str, MetricGate] | None, None),
)
