"""The course of every guardrail over time, thinned so that it can be drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from holdfast.evidence.sums import Evidence
from holdfast.release.canary.bounds import interval, rollback_question
from holdfast.release.canary.plan import HOUR, CanaryPlan
from holdfast.stats.arms import CANARY
from holdfast.store import canonical_json

MOST = 240  # points of one guardrail
_EACH = 24  # points of one block of looks

Point = Mapping[str, Any]


class Series:
    """Points {"hours", "estimate", "low", "high", "units", "step"} of each guardrail; the newest always stays.

    `to_bytes` and `of` let another process go on with it.
    """

    def __init__(self, plan: CanaryPlan) -> None:
        self.plan = plan
        self._points: dict[str, list[Point]] = {guardrail.name: [] for guardrail in plan.guardrails}
        self._until = -np.inf  # hours; what lies before is drawn

    @classmethod
    def of(cls, plan: CanaryPlan, content: bytes | None) -> Self:
        """What `to_bytes` gave; an empty one where it is no course of this plan."""
        found = cls(plan)
        try:
            kept = {guardrail.name: list(json.loads(content or b"")[guardrail.name]) for guardrail in plan.guardrails}
            found._until = max((float(point["hours"]) for points in kept.values() for point in points), default=-np.inf)
        except (ValueError, TypeError, KeyError):
            return found
        found._points = kept
        return found

    def to_bytes(self) -> bytes:
        return canonical_json(self._points)

    def add(self, step: int, evidence: Evidence, before: float) -> None:
        """Some of the looks of `evidence` (one or many), which began `before` hours after the release; the last one always.

        What is there already stays as it is drawn.
        """
        times = before + np.atleast_1d(evidence.seconds) / HOUR
        chosen = np.unique(np.linspace(0, len(times) - 1, _EACH).astype(int))
        chosen = chosen[times[chosen] > self._until]
        if not len(chosen):
            return
        hours, thin = times[chosen], evidence.at(chosen) if evidence.seconds.ndim else evidence
        self._until = float(hours[-1])
        for guardrail in self.plan.guardrails:
            found = interval(rollback_question(self.plan, step, guardrail, thin))
            units = np.atleast_1d(thin.units[..., CANARY])
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
