"""p99 latency of single calls against the limit and against the champion. Pure: the calls were timed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from holdfast.config.schema import LatencyGate
from holdfast.gates.decide import Question, no_answer
from holdfast.gates.quality import measured
from holdfast.stats import compare_quantiles, quantile_interval
from holdfast.verdict import CheckResult, Verdict

Blocks = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Milliseconds a call, (blocks, calls); the champion's blocks alternate with the candidate's.

    `candidate` is None where the model cannot be called (a file of predictions) or failed; `missing` says why, and
    `failed` whether that is the model's fault.
    """

    candidate: Blocks | None = None
    champion: Blocks | None = None
    missing: str | None = None
    champion_missing: str | None = None
    failed: bool = False


def latency_checks(
    timings: Timings, gate: LatencyGate, *, has_champion: bool, confidence: float, seed: int
) -> list[CheckResult]:
    """The checks of `gates.latency`; each uses every timed call, none is thrown away."""
    checks: list[CheckResult] = []
    if gate.p99_ms is not None:
        checks.append(_limit(timings, gate.p99_ms, gate, confidence))
    if gate.max_regression_pct is not None and has_champion:
        checks.append(_regression(timings, gate.max_regression_pct, gate, confidence, seed))
    return checks


def _limit(timings: Timings, limit_ms: float, gate: LatencyGate, confidence: float) -> CheckResult:
    question = Question(
        name="latency.p99",
        kind="latency",
        metric="p99 latency",
        threshold=limit_ms,
        direction="lower",
        on_inconclusive=gate.on_inconclusive,
        number=".3g",
        unit_suffix=" ms",
    )
    calls = timings.candidate
    if calls is None:
        return _untimed(question, timings)
    return measured(question, lambda: quantile_interval(calls.ravel(), 0.99, confidence))


def _regression(timings: Timings, margin: float, gate: LatencyGate, confidence: float, seed: int) -> CheckResult:
    question = Question(
        name="latency.regression",
        kind="latency",
        metric="p99 latency",
        threshold=margin,
        direction="lower",
        on_inconclusive=gate.on_inconclusive,
        subject="The candidate against the champion",
        limit="the margin",
        number=".1%",
        scale="relative",
        sign=True,
    )
    candidate, champion = timings.candidate, timings.champion
    if candidate is None:
        return _untimed(question, timings)
    if champion is None:
        return no_answer(question, timings.champion_missing or "the champion could not be timed.", "champion_not_timed")
    return measured(question, lambda: compare_quantiles(champion, candidate, 0.99, confidence, seed, relative=True))


def _untimed(question: Question, timings: Timings) -> CheckResult:
    verdict = Verdict.ERROR if timings.failed else Verdict.INCONCLUSIVE
    return no_answer(question, timings.missing or "the candidate could not be timed.", "not_timed", verdict=verdict)
