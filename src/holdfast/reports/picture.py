"""Where an interval lies beside its threshold: positions on a line from 0 to 1. Pure geometry for all renderers."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.reports.numbers import is_difference
from holdfast.verdict import CheckResult


@dataclass(frozen=True)
class Picture:
    """Positions in [0, 1] from left to right; None where there is nothing to draw. `good` is the side that passes."""

    low: float
    high: float
    estimate: float
    threshold: float
    zero: float | None
    good: str
    open_low: bool
    open_high: bool
    left: float
    right: float


def picture_of(check: CheckResult) -> Picture | None:
    """The picture of a check; None where it has no interval or no threshold."""
    if check.estimate is None or check.threshold is None or (check.low is None and check.high is None):
        return None
    low = check.estimate if check.low is None else check.low
    high = check.estimate if check.high is None else check.high
    marks = [low, high, check.estimate, check.threshold]
    if is_difference(check):
        marks.append(0.0)
    span = (max(marks) - min(marks)) or max(abs(check.threshold), 1e-9)
    left, right = min(marks) - 0.12 * span, max(marks) + 0.12 * span

    def at(value: float) -> float:
        return (value - left) / (right - left)

    return Picture(
        low=at(low),
        high=at(high),
        estimate=at(check.estimate),
        threshold=at(check.threshold),
        zero=at(0.0) if is_difference(check) else None,
        good="left" if check.direction == "lower" else "right",
        open_low=check.low is None,
        open_high=check.high is None,
        left=left,
        right=right,
    )


def as_text(check: CheckResult, width: int = 24, *, ascii_only: bool = False) -> str:
    """The picture in one line of text: `├──●──┤` and `│` for the threshold."""
    found = picture_of(check)
    if found is None:
        return " " * width
    bar, left, right, dot, mark = ("-", "[", "]", "o", "|") if ascii_only else ("─", "├", "┤", "●", "│")

    def place(position: float) -> int:
        return min(width - 1, max(0, round(position * (width - 1))))

    line = [" "] * width
    for column in range(place(found.low), place(found.high) + 1):
        line[column] = bar
    line[place(found.low)], line[place(found.high)] = left, right
    line[place(found.threshold)] = mark
    line[place(found.estimate)] = dot
    return "".join(line)
