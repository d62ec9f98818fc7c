"""From an interval and a limit to a verdict and a sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.stats.interval import Estimate, needed_n
from holdfast.verdict import CheckResult, Kind, OnInconclusive, Verdict

Direction = Literal["higher", "lower"]


def against(estimate: Estimate, threshold: float, direction: Direction) -> Verdict:
    """PASS where the whole interval is on the good side of `threshold`, FAIL where it is wholly beyond, else
    INCONCLUSIVE; an estimate with a shortage of evidence is INCONCLUSIVE, and a bound that does not exist proves nothing.
    """
    if estimate.shortage is not None:
        return Verdict.INCONCLUSIVE
    low, high = estimate.low, estimate.high
    if direction == "lower":
        low, high, threshold = _negated(high), _negated(low), -threshold
    if low is not None and low >= threshold:
        return Verdict.PASS
    if high is not None and high < threshold:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def _negated(bound: float | None) -> float | None:
    return None if bound is None else -bound


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of an estimate: its name in the report, the limit, and what an open answer means."""

    name: str
    kind: Kind
    metric: str
    threshold: float
    direction: Direction
    on_inconclusive: OnInconclusive = "fail"
    subject: str = "The candidate"  # how the sentence begins
    limit: str = "the limit"  # what the threshold is called
    number: str = ".4g"
    scale: Literal["absolute", "relative"] = "absolute"
    sign: bool = False  # write the estimate with its sign: it is a difference
    unit_suffix: str = ""


def answer(question: Question, estimate: Estimate, *, verdict: Verdict | None = None, **extra: Any) -> CheckResult:
    """The check that says how `estimate` stands against `question`; `verdict` overrides for adjusted tests."""
    decided = against(estimate, question.threshold, question.direction) if verdict is None else verdict
    needed = needed_n(estimate, question.threshold) if decided is Verdict.INCONCLUSIVE else None
    details: Mapping[str, Any] = {**estimate.details, **extra.pop("details", {})}
    return CheckResult(
        name=question.name,
        kind=question.kind,
        verdict=decided,
        message=_sentence(question, estimate, decided, needed),
        metric=question.metric,
        estimate=estimate.value,
        low=estimate.low,
        high=estimate.high,
        confidence=estimate.confidence,
        threshold=question.threshold,
        direction=question.direction,
        method=estimate.method,
        unit=estimate.unit,
        n=estimate.n,
        needed_n=needed,
        scale=estimate.scale,
        on_inconclusive=question.on_inconclusive,
        reason_code=extra.pop("reason_code", None) or _reason(decided, estimate),
        details=details,
        **extra,
    )


def no_answer(
    question: Question, message: str, reason_code: str, *, verdict: Verdict = Verdict.INCONCLUSIVE
) -> CheckResult:
    """The check for a question that could not be asked: never a pass."""
    return CheckResult(
        name=question.name,
        kind=question.kind,
        verdict=verdict,
        message=message,
        metric=question.metric,
        threshold=question.threshold,
        direction=question.direction,
        scale=question.scale,
        on_inconclusive=question.on_inconclusive,
        reason_code=reason_code,
    )


def _reason(verdict: Verdict, estimate: Estimate) -> str | None:
    if verdict is Verdict.INCONCLUSIVE:
        return "scarce_evidence" if estimate.shortage is not None else "interval_spans_limit"
    return "beyond_limit" if verdict is Verdict.FAIL else None


def _sentence(question: Question, estimate: Estimate, verdict: Verdict, needed: int | None) -> str:
    value, limit = _figure(question, estimate.value), _figure(question, question.threshold)
    interval = f"[{_figure(question, estimate.low)}, {_figure(question, estimate.high)}]"
    what = f"{question.subject}: {question.metric} {value} {interval}"
    units = f"{estimate.n:,} {_plural(estimate.unit, estimate.n)}"
    if verdict is Verdict.PASS:
        return f"{what} keeps {question.limit} of {limit} ({units})."
    if verdict is Verdict.FAIL:
        return f"{what} is beyond {question.limit} of {limit} ({units})."
    if estimate.shortage is not None:
        return f"{what} cannot be judged against {question.limit} of {limit}: {estimate.shortage}"
    more = f"; about {needed:,} {_plural(estimate.unit, needed)} would settle it" if needed else ""
    return f"{what} neither keeps nor breaks {question.limit} of {limit} on {units}{more}."


def _plural(unit: str, count: int) -> str:
    if count == 1:
        return unit
    return {"query": "queries"}.get(unit, f"{unit}s")


def _figure(question: Question, value: float | None) -> str:
    if value is None:
        return "?"
    text = format(value, ("+" if question.sign else "") + question.number)
    return text.replace("-", "−") + question.unit_suffix
