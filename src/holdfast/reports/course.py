"""How a guardrail's confidence sequence went over time: positions in a picture of fixed size. Pure geometry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from holdfast.reports.numbers import figure
from holdfast.verdict import CheckResult

WIDTH, HEIGHT = 760, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 14, 12, 30
_TICKS = 6

Point = tuple[float, float]


@dataclass(frozen=True)
class Course:
    """Everything in pixels: a band from low to high, the estimate's line, the limits, where steps begin, and both axes."""

    band: str
    line: str
    limits: tuple[tuple[float, str], ...]
    zero: float | None
    bad: tuple[tuple[float, float], ...]  # (top, height) of what is beyond a limit
    steps: tuple[float, ...]
    end: Point
    hours: tuple[tuple[float, str], ...]
    values: tuple[tuple[float, str], ...]
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


def course_of(check: CheckResult) -> Course | None:
    """The course of a guardrail; None for a check without at least two drawable points."""
    points = [p for p in check.series if None not in (p.get("estimate"), p.get("low"), p.get("high"))]
    if len(points) < 2 or "margin" not in check.details:
        return None
    limits = _limits(check)
    low, high = _range(points, limits)
    first, last = _span(points)

    def x(hours: float) -> float:
        return round(_LEFT + (hours - first) / (last - first) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        inside = min(max(value, low), high)
        return round(_TOP + (high - inside) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    upper = [(x(p["hours"]), y(p["high"])) for p in points]
    lower = [(x(p["hours"]), y(p["low"])) for p in points]
    middle = [(x(p["hours"]), y(p["estimate"])) for p in points]
    return Course(
        band=_path([*upper, *reversed(lower)]),
        line=_path(middle),
        limits=tuple((y(limit), figure(check, limit)) for limit in limits),
        zero=y(0.0) if low < 0 < high else None,
        bad=tuple(_bad(limit, y) for limit in limits),
        steps=tuple(x(hours) for hours in _step_hours(points)),
        end=middle[-1],
        hours=tuple((x(hours), _hours(hours)) for hours in _ticks(first, last)),
        values=tuple((y(value), figure(check, value)) for value in _ticks(low, high, 4)),
    )


def _span(points: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The hours shown: from the very beginning, unless nothing is known of most of it."""
    first, last = float(points[0]["hours"]), float(points[-1]["hours"]) or 1.0
    return (0.0 if first < 0.05 * last else first), last


def _limits(check: CheckResult) -> tuple[float, ...]:
    margin = float(check.details["margin"])
    return {"drop": (-margin,), "rise": (margin,), "both": (-margin, margin)}[str(check.details["harm"])]


def _range(points: Sequence[Mapping[str, Any]], limits: Sequence[float]) -> tuple[float, float]:
    """What is shown of the values: where the bounds have settled, not their wide beginning."""
    settled = points[len(points) // 4 :]
    lows, highs = [p["low"] for p in settled], [p["high"] for p in settled]
    marks = [min(lows), max(highs), *limits, 0.0]
    space = 0.06 * ((max(marks) - min(marks)) or 1.0)
    return min(marks) - space, max(marks) + space


def _bad(limit: float, y: Any) -> tuple[float, float]:
    """Beyond the limit: above it where a rise harms, below it where a drop does."""
    at = y(limit)
    return (_TOP, at - _TOP) if limit > 0 else (at, HEIGHT - _BOTTOM - at)


def _step_hours(points: Sequence[Mapping[str, Any]]) -> list[float]:
    return [b["hours"] for a, b in pairwise(points) if a.get("step") != b.get("step")]


def _ticks(low: float, high: float, most: int = _TICKS) -> list[float]:
    """Round numbers from `low` to `high`, at most `most` and a few."""
    raw = (high - low) / most
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 3, 4, 6, 10) if size * factor >= raw)
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _hours(hours: float) -> str:
    return f"{hours * 60:.0f} min" if 0 < hours < 1 else f"{hours:g} h"


def _path(points: Sequence[Point]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
