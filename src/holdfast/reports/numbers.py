"""Numbers as people read them: the digits that matter, a real minus, units, thousands."""

from __future__ import annotations

import math

from holdfast.verdict import CheckResult


def number(value: float | None, *, sign: bool = False, percent: bool = False) -> str:
    """A figure with about four significant digits; `·` for what is not known."""
    if value is None or not math.isfinite(value):
        return "·"
    if percent:
        value *= 100
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 or percent else 2 if size >= 10 else 3 if size >= 1 else 4
    text = f"{size:,.{digits}f}"
    if size and float(text.replace(",", "")) == 0:
        text = f"{size:.1e}"
    plus = "+" if sign and value > 0 else ""
    minus = "−" if value < 0 and text.strip("0.") else ""
    return f"{minus}{plus}{text}{' %' if percent else ''}"


def is_difference(check: CheckResult) -> bool:
    """Whether the check's figures are candidate − champion."""
    compares = check.kind == "guardrail" and "margin" in check.details
    return compares or check.kind in ("regression", "slice") or check.name.endswith("regression")


def figure(check: CheckResult, value: float | None) -> str:
    """One of a check's figures with its sign and unit."""
    text = number(value, sign=is_difference(check), percent=check.scale == "relative")
    unit = " ms" if check.kind == "latency" and check.scale == "absolute" and value is not None else ""
    return text + unit


def interval(check: CheckResult) -> str:
    """`[low, high]`, or nothing where there is no interval."""
    if check.low is None and check.high is None:
        return ""
    return f"[{figure(check, check.low)}, {figure(check, check.high)}]"


def units(check: CheckResult) -> str:
    """`1,234 queries`."""
    if check.n is None:
        return ""
    word = check.unit or "row"
    plural = {"query": "queries"}.get(word, word if word.endswith("s") else f"{word}s")
    return f"{check.n:,} {word if check.n == 1 else plural}"


def limit(check: CheckResult) -> str:
    """`≥ −0.02` or `≤ 200 ms`: what the interval must keep."""
    if check.threshold is None:
        return ""
    return f"{'≤' if check.direction == 'lower' else '≥'} {figure(check, check.threshold)}"
