"""The champion's recent traffic from the log: how many users, how they vary, how slow its slowest requests are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from holdfast.evidence.closed import closed_sums
from holdfast.evidence.log import Taken
from holdfast.evidence.rows import Rows
from holdfast.evidence.sums import Closed
from holdfast.release.canary.bounds import promotion_sums
from holdfast.release.canary.plan import HOUR, CanaryPlan
from holdfast.release.canary.resolution import Baseline
from holdfast.stats.arms import CHAMPION, unit_variance

MICROS = 1e6
SLOWEST = 0.99


@dataclass(frozen=True)
class Latency:
    """The champion's p99 in milliseconds, and by how much its own share beyond a threshold is known."""

    p99_ms: float
    values: np.ndarray[tuple[int], np.dtype[np.float32]]

    def share_slower(self, threshold_ms: float) -> float:
        return float(np.mean(self.values > threshold_ms))


def recent_latency(rows: Rows) -> Latency | None:
    """Of the champion's requests; None where the log has no latency of at least 1,000 of them."""
    values = rows.latency[(rows.arm == CHAMPION) & np.isfinite(rows.latency)]
    if len(values) < 1000:
        return None
    return Latency(float(np.quantile(values, SLOWEST)), values)


def recent_rate(rows: Rows) -> float | None:
    """Requests a second over the whole log; None for less than a minute of it."""
    if len(rows) < 2:
        return None
    seconds = float(rows.micros[-1] - rows.micros[0]) / MICROS
    return len(rows) / seconds if seconds > 60 else None


def baseline_of(taken: Taken, plan: CanaryPlan) -> Baseline | None:
    """What the log says of the traffic of a canary under `plan`; None where no user's window has closed in it.

    Looks beyond the log's length are extrapolated in proportion to the time in which a window can close.
    """
    rows = taken.rows.take(taken.rows.arm == CHAMPION)
    if not len(rows):
        return None
    end, hours = int(rows.micros[-1]) + 1, float(rows.micros[-1] - rows.micros[0]) / MICROS / HOUR
    closing = plan.window_hours + max(g.measure.delay for g in plan.guardrails) / HOUR
    length = min(hours, plan.looks[-1])
    if length <= closing:
        return None
    found = _closed(taken, rows, plan, end, length)
    units = float(found.units[CHAMPION].sum())
    if units < 2:
        return None
    counted = [
        float(_closed(taken, rows, plan, end, look).units[CHAMPION].sum())
        if look <= length
        else units * (look - closing) / (length - closing)
        for look in plan.looks
    ]
    means, variances = _moments(plan, found, units)
    return Baseline(
        hours=hours, rate=len(rows) / (hours * HOUR), units=tuple(counted), means=means, variances=variances
    )


def _closed(taken: Taken, rows: Rows, plan: CanaryPlan, end: int, hours: float) -> Closed:
    return closed_sums(
        rows,
        taken.outcomes,
        {guardrail.name: guardrail.measure for guardrail in plan.guardrails},
        begin_micros=end - round(hours * HOUR * MICROS),
        seconds=hours * HOUR,
        window_seconds=plan.window_hours * HOUR,
    )


def _moments(plan: CanaryPlan, found: Closed, units: float) -> tuple[dict[str, float], dict[str, float]]:
    """The champion's mean and the variance of one unit, of every guardrail that has one."""
    means, variances = {}, {}
    for guardrail in plan.guardrails:
        sums = promotion_sums(guardrail, found)
        mean, variance = unit_variance(sums.total[CHAMPION], sums.mass[CHAMPION], units)
        if guardrail.relative and mean:
            variance /= mean**2
        if np.isfinite(variance):
            means[guardrail.name], variances[guardrail.name] = (
                mean,
                _at_least(guardrail.measure.is_share, mean, variance),
            )
    return means, variances


def _at_least(is_share: bool, mean: float, variance: float) -> float:
    """No fault seen is not no variance: one event more than there was."""
    return max(variance, mean * (1 - mean), 1e-6) if is_share else variance
