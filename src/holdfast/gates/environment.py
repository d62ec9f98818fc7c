"""The champion under another environment, beside its recorded predictions: did anything change, and does it cost? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.config.schema import GatesConfig
from holdfast.gates.evidence import Array, Contender, Rows, seed_from
from holdfast.gates.quality import quality_checks
from holdfast.gates.slices import slice_checks
from holdfast.stats import Metric
from holdfast.verdict import CheckResult, Verdict

NAME = "environment.predictions"


@dataclass(frozen=True)
class Movement:
    """Which rows' predictions moved, (n,) bool, and by how much each did, (n,) float64 (1 for a label that changed)."""

    moved: npt.NDArray[np.bool_]
    by: npt.NDArray[np.float64]

    @property
    def rows(self) -> int:
        return int(self.moved.sum())


def movement(before: Array, after: Array, tolerance: float) -> Movement:
    """Row by row: numbers by more than `tolerance` relative to the larger one, labels and texts at all.

    Shapes (n,) or (n, K); of K probabilities the largest move counts. ValueError where the shapes differ.
    """
    if before.shape != after.shape:
        raise ValueError(f"the shapes differ: {before.shape} recorded, {after.shape} now")
    moved: npt.NDArray[np.bool_]
    if before.dtype.kind in "fiu" and after.dtype.kind in "fiu":
        one, two = before.astype(np.float64), after.astype(np.float64)
        by = np.abs(two - one)
        moved = np.asarray(by > tolerance * np.maximum(np.abs(one), np.abs(two)), dtype=np.bool_)
    else:
        moved = np.asarray(np.not_equal(before, after), dtype=np.bool_)
        by = moved.astype(np.float64)
    if moved.ndim == 2:
        moved, by = np.asarray(moved.any(axis=1), dtype=np.bool_), by.max(axis=1)
    return Movement(moved, by)


def judge_environment(
    rows: Rows,
    recorded: Contender,
    rescored: Contender,
    gates: GatesConfig,
    metrics: Mapping[str, Metric],
    *,
    holdout: str = "",
    policy: str = "",
) -> list[CheckResult]:
    """The environment gate: first whether predictions moved, then, only if they did, what that costs.

    Nothing moved: one PASS. Something moved: the regression and slice checks of `gates`, paired row by row with the
    recorded predictions; and where they all pass the movement itself is a notice, or a FAIL with `on_change: fail`.
    No recorded predictions: INCONCLUSIVE, which stops.
    """
    if recorded.predictions is None or rescored.predictions is None:
        missing = recorded.missing or rescored.missing or "there is nothing to compare."
        return [_check(Verdict.INCONCLUSIVE, missing, reason_code="no_recorded_predictions")]
    try:
        found = movement(recorded.predictions, rescored.predictions, gates.environment.tolerance)
    except ValueError as error:
        return [_check(Verdict.ERROR, f"the predictions cannot be compared: {error}.", reason_code="not_measurable")]
    if not found.rows:
        message = f"none of {len(rows):,} predictions moved: nothing of what this model sees has changed."
        return [_check(Verdict.PASS, message, n=len(rows), estimate=0.0)]
    seed = seed_from(recorded.predictions_digest, rescored.predictions_digest, holdout, policy)
    costs = [_as_environment(c) for c in _costs(rows, recorded, rescored, gates, metrics, seed)]
    return [_movement_check(found, rows, costs, gates), *costs]


def _costs(
    rows: Rows, recorded: Contender, rescored: Contender, gates: GatesConfig, metrics: Mapping[str, Metric], seed: int
) -> list[CheckResult]:
    """The same questions as of a candidate: limits and margins, whole and by slice. The model is the same on purpose."""
    now = replace(rescored, digest=None)
    checks = quality_checks(rows, now, recorded, None, gates, metrics, seed=seed)
    checks = [_with_values(check, rows, recorded, rescored, metrics) for check in checks]
    return checks + slice_checks(rows, now, recorded, gates, dict(metrics), seed=seed)


def _with_values(
    check: CheckResult, rows: Rows, recorded: Contender, rescored: Contender, metrics: Mapping[str, Metric]
) -> CheckResult:
    """A regression check with the metric itself, before and after."""
    if check.kind != "regression" or check.metric is None or check.verdict is Verdict.ERROR:
        return check
    metric, old, new = metrics[check.metric], recorded.predictions, rescored.predictions
    if old is None or new is None:
        return check
    before, after = (metric.value(rows.labels, predictions, rows.groups) for predictions in (old, new))
    message = check.message.replace(f"{check.metric} ", f"{check.metric} {before:.4g} → {after:.4g}, ", 1)
    return replace(check, message=message, details={**check.details, "before": before, "after": after})


def _as_environment(check: CheckResult) -> CheckResult:
    """A check of the gate, said of an environment."""
    message = check.message.replace("The candidate against the champion", "The champion here against its own record")
    message = message.replace("The candidate", "The champion here")
    return replace(check, message=message)


def _movement_check(found: Movement, rows: Rows, costs: list[CheckResult], gates: GatesConfig) -> CheckResult:
    """Changed and costs, changed and does not cost, or changed and nobody knows."""
    moved, n = found.rows, len(rows)
    by = found.by[found.moved]
    details: dict[str, Any] = {"moved": moved, "median": float(np.median(by)), "max": float(by.max())}
    said = f"{moved:,} of {n:,} predictions moved ({moved / n:.1%}), half of them by more than {np.median(by):.3g}"
    stopping = [check for check in costs if check.counts_as not in (None, Verdict.PASS)]
    if any(check.verdict is Verdict.FAIL for check in stopping):
        verdict, code, end = Verdict.FAIL, "changed_and_costs", "and it costs."
    elif stopping or not costs:
        verdict, code, end = Verdict.INCONCLUSIVE, "changed_cost_unknown", "and whether it costs is open."
    elif gates.environment.on_change == "fail":
        verdict, code, end = Verdict.FAIL, "changed", "it does not cost, but the project allows no change."
    else:
        verdict, code, end = Verdict.PASS, "changed_does_not_cost", "and it does not cost."
    return _check(verdict, f"{said}, {end}", n=n, estimate=moved / n, reason_code=code, details=details)


def _check(verdict: Verdict, message: str, **extra: Any) -> CheckResult:
    return CheckResult(
        name=NAME,
        kind="environment",
        verdict=verdict,
        message=message,
        metric="moved_share",
        unit="row",
        direction="lower",
        scale="relative",
        **extra,
    )
