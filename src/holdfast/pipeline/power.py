"""`holdfast plan`: what the holdout can and cannot detect, said before anything is judged on it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from scipy.special import ndtri

from holdfast.config.schema import MetricGate
from holdfast.data.holdout import Holdout, find_holdout
from holdfast.gates.evidence import Rows, seed_from
from holdfast.pipeline.data_stages import open_holdout
from holdfast.pipeline.predictions import recorded_predictions
from holdfast.pipeline.questions import declared_metrics, holdout_rows
from holdfast.pipeline.workspace import Workspace
from holdfast.stats import Metric, estimate, regression_power, units_needed
from holdfast.verdict import Report

_ENOUGH = 0.8


@dataclass(frozen=True, kw_only=True)
class GatePower:
    """What one regression gate can tell apart on this holdout.

    `standard_error` is of candidate − champion, in the metric's units, and `source` says where it comes from;
    both probabilities and `detectable` (the loss that is stopped with 80 %) are None where nothing is known yet.
    """

    metric: str
    margin: float
    units: int
    unit: str
    source: str
    standard_error: float | None = None
    p_pass_if_equal: float | None = None
    p_fail_if_twice_margin: float | None = None
    detectable: float | None = None
    needed_units: int | None = None

    @property
    def weak(self) -> bool:
        """Whether an equal candidate passes, or a clearly worse one fails, in fewer than 80 % of cases."""
        known = (self.p_pass_if_equal, self.p_fail_if_twice_margin)
        return any(p is None or p < _ENOUGH for p in known)

    @property
    def sentence(self) -> str:
        start = f"{self.metric}, margin {self.margin:g}, {self.units:,} {self.unit}s"
        if self.standard_error is None:
            return f"{start}: {self.source}"
        line = (
            f"{start}: an equal candidate passes with {self.p_pass_if_equal:.0%}, one worse by twice the margin fails "
            f"with {self.p_fail_if_twice_margin:.0%}; a loss of {self.detectable:.3g} is stopped with 80 % ({self.source})."
        )
        if self.weak and self.needed_units:
            line += f" Too weak: {self.needed_units:,} {self.unit}s would do, or a wider margin."
        return line

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "weak": self.weak}


def power_of_gates(workspace: Workspace) -> list[GatePower]:
    """One row per metric with `max_regression`; writes nothing and asks no model."""
    gates = workspace.config.gates
    wanted = {name: gate for name, gate in gates.metrics.items() if gate.max_regression is not None}
    if find_holdout(workspace.store, workspace.config.holdout.name) is None:
        return [
            _unknown(name, gate, 0, "row", "no holdout is frozen yet; type holdfast holdout freeze.")
            for name, gate in wanted.items()
        ]
    holdout = open_holdout(workspace)
    rows = holdout_rows(workspace, holdout)
    metrics = declared_metrics(gates, workspace.config.model.positive, workspace.root)
    return [_power(workspace, holdout, rows, metrics[name], gate) for name, gate in wanted.items()]


def _power(workspace: Workspace, holdout: Holdout, rows: Rows, metric: Metric, gate: MetricGate) -> GatePower:
    units = holdout.manifest["units"]
    margin, confidence = gate.max_regression or 0.0, workspace.config.gates.confidence
    found = _from_reports(workspace, holdout, metric.name) or _from_champion(workspace, holdout, rows, metric)
    if found is None:
        return _unknown(
            metric.name, gate, units, rows.unit, "nothing was measured on it yet; run and promote a first model."
        )
    error, n, source = found
    power = regression_power(error, margin, confidence)
    return GatePower(
        metric=metric.name,
        margin=margin,
        units=n,
        unit=metric.unit if metric.per_group else rows.unit,
        source=source,
        standard_error=error,
        p_pass_if_equal=power.p_pass_if_equal,
        p_fail_if_twice_margin=power.p_fail_if_twice_margin,
        detectable=power.detectable,
        needed_units=units_needed(error * n**0.5, margin, confidence=confidence),
    )


def _unknown(name: str, gate: MetricGate, units: int, unit: str, why: str) -> GatePower:
    return GatePower(metric=name, margin=gate.max_regression or 0.0, units=units, unit=unit, source=why)


def _from_reports(workspace: Workspace, holdout: Holdout, metric: str) -> tuple[float, int, str] | None:
    """The standard error that the newest comparison on this holdout had: its interval's width says it."""
    for judgement in reversed(workspace.state().judgements):
        report = Report.from_json(json.loads(workspace.store.get_object(judgement.report)))
        if report.inputs.get("holdout") != holdout.digest:
            continue
        for check in report.checks:
            if check.name == f"{metric}.regression" and check.low is not None and check.high is not None and check.n:
                z = float(ndtri((1 + (check.confidence or 0.95)) / 2))
                if check.high > check.low:
                    return (check.high - check.low) / (2 * z), check.n, "from the last comparison"
    return None


def _from_champion(workspace: Workspace, holdout: Holdout, rows: Rows, metric: Metric) -> tuple[float, int, str] | None:
    """Half the variance of two models that agree no better than a correlation of 0.5: the champion's own error."""
    champion = workspace.state().champion
    if champion is None:
        return None
    contender = recorded_predictions(workspace, champion, holdout)
    if contender.predictions is None:
        return None
    confidence = workspace.config.gates.confidence
    own = estimate(
        metric,
        rows.labels,
        contender.predictions,
        rows.groups,
        confidence=confidence,
        seed=seed_from(champion.digest, holdout.digest),
    )
    if own.low is None or own.high is None or own.high <= own.low:
        return None
    z = float(ndtri((1 + confidence) / 2))
    return (own.high - own.low) / (2 * z), own.n, "from the champion, if the two models' errors correlate by 0.5"
