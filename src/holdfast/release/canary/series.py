"""The course of every guardrail over time, thinned so that it can be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from holdfast.evidence.sums import Evidence
from holdfast.release.canary.bounds import interval, rollback_question
from holdfast.release.canary.plan import HOUR, CanaryPlan
from holdfast.stats.arms import CANARY

MOST = 240  # points of one guardrail
_EACH = 24  # points of one block of looks

Point = Mapping[str, Any]


class Series:
    """Points {"hours", "estimate", "low", "high", "units", "step"} of each guardrail; the newest always stays."""

    def __init__(self, plan: CanaryPlan) -> None:
        self.plan = plan
        self._points: dict[str, list[Point]] = {guardrail.name: [] for guardrail in plan.guardrails}

    def add(self, step: int, evidence: Evidence, before: float) -> None:
        """Some of the looks of `evidence` (one or many), which began `before` hours after the release; the last one always."""
        looks = np.atleast_1d(evidence.seconds)
        chosen = np.unique(np.linspace(0, len(looks) - 1, _EACH).astype(int))
        thin = evidence.at(chosen) if evidence.seconds.ndim else evidence
        for guardrail in self.plan.guardrails:
            found = interval(rollback_question(self.plan, step, guardrail, thin))
            hours, units = before + looks[chosen] / HOUR, np.atleast_1d(thin.units[..., CANARY])
            columns = (hours, *(np.atleast_1d(part) for part in (found.estimate, found.low, found.high)), units)
            self._points[guardrail.name] += [_point(step, *row) for row in zip(*columns, strict=True)]
            if len(self._points[guardrail.name]) > MOST:
                self._thin(guardrail.name)

    def points(self) -> dict[str, tuple[Point, ...]]:
        """The course of each guardrail so far."""
        return {name: tuple(points) for name, points in self._points.items()}

    def _thin(self, name: str) -> None:
        """Every second point goes; the newest stays."""
        self._points[name] = self._points[name][::-1][::2][::-1]


def _point(step: int, hours: float, estimate: float, low: float, high: float, units: float) -> Point:
    def number(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return {
        "hours": round(float(hours), 5),
        "estimate": number(estimate),
        "low": number(low),
        "high": number(high),
        "units": int(units),
        "step": step,
    }
