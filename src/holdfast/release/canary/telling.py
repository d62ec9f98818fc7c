"""The checks of a canary in figures and sentences. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from holdfast.evidence.sums import Evidence, Sums
from holdfast.release.canary.bounds import Interval, Question, harm_is_shown, harmlessness_is_shown, interval
from holdfast.release.canary.plan import MIN_UNITS, CanaryPlan, GuardrailPlan, Harm
from holdfast.stats.arms import CANARY, CHAMPION
from holdfast.verdict import CheckResult, Verdict

_DIRECTIONS: Mapping[Harm, Literal["higher", "lower"] | None] = {"drop": "higher", "rise": "lower", "both": None}
SEQUENCE = "asymptotic confidence sequence, clustered by unit"
LEAST_YOUNG = 0.001  # a smaller share of open requests is not worth a sentence
BOUNDARY = "group-sequential boundary, clustered by unit"


def rollback_check(
    plan: CanaryPlan, question: Question, alpha: float, *, decides: bool = True, young: float | None = None
) -> CheckResult:
    """Harm at this look: FAIL where it is shown, PASS where even the worse end keeps the margin.

    `young` is the share of the canary's requests that are too young to have their outcome; None where outcomes never come late.
    """
    verdict = Verdict.INCONCLUSIVE
    if harm_is_shown(question):
        verdict = Verdict.FAIL
    elif harmlessness_is_shown(question):
        verdict = Verdict.PASS
    check = _check(plan, question, alpha, verdict, SEQUENCE, question.guardrail.name, decides=decides)
    if young is None or young < LEAST_YOUNG:
        return check
    message = f"{check.message} {young:.1%} of the canary's requests are still open."
    return replace(check, message=message, details={**check.details, "open": young})


def promotion_check(plan: CanaryPlan, question: Question) -> CheckResult:
    """Harmlessness at a planned look, over units whose window has closed: PASS or not yet."""
    verdict = Verdict.PASS if harmlessness_is_shown(question) else Verdict.INCONCLUSIVE
    alpha = float(1 - _normal(float(question.quantile)))
    return _check(plan, question, alpha, verdict, BOUNDARY, f"{question.guardrail.name}.promotion")


def assignment_check(plan: CanaryPlan, step: int, evidence: Evidence, *, broken: bool, crossed: bool) -> CheckResult:
    """Does every variant get the units that it should? ERROR where not: nothing else means anything then."""
    share, counts = plan.steps[step].share, evidence.sampled
    units = int(counts.sum())
    seen = float(counts[CANARY] / units) if units else math.nan
    message = f"{seen:.2%} of {units:,} units met the canary where {share:.2%} were asked for"
    if crossed:
        message = f"{int(evidence.crossed):,} of {units:,} units met both variants"
    message += ": the assignment is broken, so nothing else can be believed." if broken or crossed else "."
    return CheckResult(
        name="assignment",
        kind="guardrail",
        verdict=_assignment_verdict(units, bad=broken or crossed),
        metric="share of units",
        estimate=seen if units else None,
        confidence=1 - plan.ratio_alpha,
        method="sequential sample-ratio test (Dirichlet-multinomial)",
        unit=plan.unit,
        n=units,
        on_inconclusive="report",
        reason_code="sample_ratio" if broken else "crossed_units" if crossed else None,
        message=message,
        details={"alpha": plan.ratio_alpha},
    )


def _assignment_verdict(units: int, *, bad: bool) -> Verdict:
    if bad:
        return Verdict.ERROR
    return Verdict.PASS if units >= MIN_UNITS else Verdict.INCONCLUSIVE


def burst_check(plan: CanaryPlan, evidence: Evidence) -> CheckResult:
    """Bursts of faults: FAIL where one stretch of time held too many of the canary's."""
    failed = bool(evidence.burst >= 0)
    text = (
        "the canary's faults came in a burst, more than twice as often as the champion's of the same time."
        if failed
        else "no burst of faults."
    )
    return CheckResult(
        name="breaker",
        kind="guardrail",
        verdict=Verdict.FAIL if failed else Verdict.PASS,
        metric="faulted units",
        direction="lower",
        method="exact e-value of a burst",
        unit=plan.unit,
        n=int(evidence.requests[CANARY]),
        reason_code="burst" if failed else None,
        message=text,
        details={"alpha": plan.burst_alpha},
    )


def _check(
    plan: CanaryPlan,
    question: Question,
    alpha: float,
    verdict: Verdict,
    method: str,
    name: str,
    *,
    decides: bool = True,
) -> CheckResult:
    guardrail, found = question.guardrail, interval(question)
    shortage = _shortage(question, found)
    return CheckResult(
        name=name,
        kind="guardrail",
        verdict=verdict,
        metric=guardrail.measure.outcome or guardrail.name,
        estimate=_number(found.estimate),
        low=_number(found.low),
        high=_number(found.high),
        confidence=1 - 2 * alpha,
        threshold=None if guardrail.harm == "both" else threshold(guardrail),
        direction=_DIRECTIONS[guardrail.harm],
        method=method,
        unit=plan.unit,
        n=int(question.units[CANARY]),
        needed_n=_needed(question, found) if verdict is Verdict.INCONCLUSIVE else None,
        scale="relative" if guardrail.relative else "absolute",
        on_inconclusive="hold" if decides else "report",
        reason_code=shortage and shortage[0],
        message=_sentence(question, found, verdict, shortage and shortage[1]),
        details=_details(question, found, alpha),
    )


def threshold(guardrail: GuardrailPlan) -> float:
    """The difference that is still tolerated: negative for a drop."""
    return guardrail.margin if guardrail.harm == "rise" else 0.0 - guardrail.margin


def _details(question: Question, found: Interval, alpha: float) -> dict[str, Any]:
    means = found.means
    return {
        "alpha": alpha,
        "champion": _number(means[CHAMPION]),
        "canary": _number(means[CANARY]),
        "champion_units": int(question.units[CHAMPION]),
        "margin": question.guardrail.margin,
        "harm": question.guardrail.harm,
    }


def _shortage(question: Question, found: Interval) -> tuple[str, str] | None:
    """Why nothing can be said, as a reason code and a clause; None where something can."""
    if question.units[CANARY] < MIN_UNITS:
        return "scarce_evidence", f"{int(question.units[CANARY])} canary units are fewer than {MIN_UNITS}"
    if not np.isfinite(found.estimate):
        return "no_evidence", "there is no usable value yet"
    if not np.isfinite(found.high):
        return "constant", "all values are the same, so nothing says how sure the difference is"
    return None


def _sentence(question: Question, found: Interval, verdict: Verdict, shortage: str | None) -> str:
    guardrail = question.guardrail
    if shortage is not None:
        return f"{guardrail.name}: {shortage}."
    low, high, estimate = (figure(guardrail, float(part)) for part in (found.low, found.high, found.estimate))
    said = {
        Verdict.FAIL: "which is more than the tolerated",
        Verdict.PASS: "which keeps the tolerated",
        Verdict.INCONCLUSIVE: "which neither keeps nor breaks the tolerated",
    }[verdict]
    limit = figure(guardrail, threshold(guardrail)).lstrip("+")
    limit = f"±{limit.lstrip('−')}" if guardrail.harm == "both" else limit
    return f"{subject(guardrail)} differs by {estimate} [{low}, {high}], {said} {limit}."


def subject(guardrail: GuardrailPlan) -> str:
    """What is compared, in words."""
    measure = guardrail.measure
    if measure.source == "latency":
        return f"the canary's share of requests slower than {measure.slower_than_ms:.3g} ms"
    if measure.source == "error":
        return "the canary's share of faults"
    return "the canary's number of requests" if measure.source == "requests" else f"{guardrail.name} of the canary"


def figure(guardrail: GuardrailPlan, value: float) -> str:
    """A difference as people read it, with its sign."""
    text = f"{value:+.1%}" if guardrail.relative else f"{value:+.4g}"
    return text.replace("-", "−")


def _needed(question: Question, found: Interval) -> int | None:
    """About how many canary units would settle it if the estimate stayed where it is."""
    if not np.isfinite(found.high) or not np.isfinite(found.estimate):
        return None
    distance = abs(float(found.estimate) - threshold(question.guardrail))
    reach = float(found.high - found.estimate)
    if distance <= 0 or reach <= distance:
        return None
    needed = math.ceil(float(question.units[CANARY]) * (reach / distance) ** 2)
    return needed if needed <= 100_000_000 else None


def missing_check(plan: CanaryPlan, guardrail: GuardrailPlan, sums: Sums, *, differs: bool) -> CheckResult:
    """Outcomes that should be there and are not: ERROR where one variant lacks more of them than the other."""
    assert sums.missing is not None  # noqa: S101 - only asked where it is counted
    asked = sums.mass.sum(axis=-1) + sums.missing.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = sums.missing.sum(axis=-1) / asked
    ours, theirs = f"{shares[CANARY]:.2%} of the canary's requests", f"{shares[CHAMPION]:.2%} of the champion's"
    text = f"{guardrail.name} is missing for {ours} and {theirs}"
    return CheckResult(
        name=f"{guardrail.name}.missing",
        kind="guardrail",
        verdict=Verdict.ERROR if differs else Verdict.PASS,
        metric=guardrail.measure.outcome,
        estimate=_number(shares[CANARY] - shares[CHAMPION]),
        threshold=0.0,
        method=SEQUENCE,
        unit=plan.unit,
        n=int(asked[CANARY]),
        reason_code="missing_differs" if differs else None,
        message=f"{text}: the variants cannot be compared." if differs else f"{text}.",
        details={"alpha": plan.ratio_alpha},
    )


def _number(value: Any) -> float | None:
    found = float(value)
    return found if math.isfinite(found) else None


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
