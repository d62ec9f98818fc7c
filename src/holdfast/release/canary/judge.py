"""The decision about a canary: evidence and plan in, a decision with its reasons out. Pure: no clock, no files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from holdfast.evidence.sums import Closed, Evidence, Sums
from holdfast.release.canary import telling
from holdfast.release.canary.bounds import (
    Question,
    harm_is_shown,
    promotion_question,
    rollback_question,
)
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.canary.plan import HOUR, MIN_UNITS, CanaryPlan, GuardrailPlan
from holdfast.stats.anytime import anytime_quantile
from holdfast.stats.arms import CANARY
from holdfast.stats.assignment import sample_ratio_log_evidence
from holdfast.verdict import CheckResult, Verdict

Bools = npt.NDArray[np.bool_]

MAX_CROSSED = 0.05  # of the sampled units of the canary may have met both variants


def alarms(plan: CanaryPlan, step: int, evidence: Evidence) -> Bools:
    """At which looks `judge` would end the release: broken assignment, a burst of faults, or harm on a guardrail."""
    found = _ratio_is_broken(plan, step, evidence) | _many_crossed(evidence) | (evidence.burst >= 0)
    for guardrail in plan.guardrails:
        found |= harm_is_shown(rollback_question(plan, step, guardrail, evidence))
    return found


def judge(plan: CanaryPlan, step: int, evidence: Evidence, hours: float, closed: Closed | None = None) -> Judgement:
    """What to do at one look of step number `step`, `hours` after the release's first request.

    `closed` holds the units whose window has closed by a planned look of the last step; promotion is asked only with it. First
    the assignment is looked at, then bursts of faults, then each guardrail; time comes last.
    """
    look = None if closed is None else _look(plan, closed)
    checks = _checks(plan, step, evidence, decides=look is None)
    ended = _ended(checks)
    if ended is not None:
        return ended
    if closed is not None and look is not None:
        asked = tuple(
            telling.promotion_check(plan, promotion_question(plan, look, guardrail, closed))
            for guardrail in plan.guardrails
        )
        checks = (*asked, *checks)
        held_back = [check for check in checks if check.verdict is Verdict.ERROR]
        if all(check.verdict is Verdict.PASS for check in asked) and not held_back:
            return Judgement(Decision.PROMOTE, _promotion_reason(plan, closed), None, checks)
    return _by_time(plan, step, evidence, hours, checks)


def _ended(checks: tuple[CheckResult, ...]) -> Judgement | None:
    """The end of the release, if one of the checks asks for it."""
    assignment, *others = checks
    if assignment.verdict is Verdict.ERROR:
        return Judgement(Decision.INVALID, assignment.message, assignment.name, checks)
    failed = next((check for check in others if check.verdict is Verdict.FAIL), None)
    return None if failed is None else Judgement(Decision.ROLL_BACK, failed.message, failed.name, checks)


def _checks(plan: CanaryPlan, step: int, evidence: Evidence, *, decides: bool) -> tuple[CheckResult, ...]:
    """Assignment, breaker, then the guardrails in the plan's order, then what is missing."""
    broken, crossed = bool(_ratio_is_broken(plan, step, evidence)), bool(_many_crossed(evidence))
    checks = [telling.assignment_check(plan, step, evidence, broken=broken, crossed=crossed)]
    checks.append(telling.burst_check(plan, evidence))
    for guardrail in plan.guardrails:
        question = rollback_question(plan, step, guardrail, evidence)
        alpha = plan.harm_alpha(step, guardrail)
        young = _young(guardrail, evidence)
        checks.append(telling.rollback_check(plan, question, alpha, decides=decides, young=young))
    for guardrail in plan.guardrails:
        sums = evidence.sums[guardrail.name]
        if sums.missing is not None and sums.missing.any():
            differs = _missing_differs(plan, guardrail, evidence)
            checks.append(telling.missing_check(plan, guardrail, sums, differs=differs))
    return tuple(checks)


def _young(guardrail: GuardrailPlan, evidence: Evidence) -> float | None:
    """The share of the canary's requests whose outcome may still come; None where nothing is known of it."""
    counts, requests = evidence.open.get(guardrail.name), float(evidence.requests[CANARY])
    if not guardrail.measure.delay or counts is None or not requests:
        return None
    return float(counts[CANARY]) / requests


def _by_time(
    plan: CanaryPlan, step: int, evidence: Evidence, hours: float, checks: tuple[CheckResult, ...]
) -> Judgement:
    """What the clock asks for where no check does."""
    if hours >= plan.total_hours:
        return Judgement(Decision.UNDECIDED, _undecided_reason(plan, checks), None, checks)
    if step < plan.last and float(evidence.seconds) >= plan.steps[step].hours * HOUR:
        lacking = _lacking(plan, evidence)
        if lacking is None:
            share = plan.steps[step + 1].share
            return Judgement(
                Decision.ADVANCE, f"no harm was shown at this share; the next is {share:.2%}.", None, checks
            )
        return Judgement(Decision.CONTINUE, f"{lacking}, and no evidence is no good news.", None, checks)
    return Judgement(Decision.CONTINUE, "no harm is shown, and harmlessness is not either.", None, checks)


def _lacking(plan: CanaryPlan, evidence: Evidence) -> str | None:
    """What a step lacks before the share may be raised."""
    units = int(evidence.units[CANARY])
    if units < MIN_UNITS:
        return f"only {units} units have met the canary ({MIN_UNITS} are needed)"
    for guardrail in plan.guardrails:
        if not evidence.sums[guardrail.name].mass[CANARY].sum() and guardrail.measure.source != "requests":
            return f"{guardrail.name} was never measured of the canary"
    return None


def _look(plan: CanaryPlan, closed: Closed) -> int:
    return min(range(len(plan.looks)), key=lambda k: abs(plan.looks[k] * HOUR - closed.seconds))


def _ratio_is_broken(plan: CanaryPlan, step: int, evidence: Evidence) -> Bools:
    """The sample ratio at the sample's level; each level may spend half of what the one before may."""
    share, counts = plan.steps[step].share, evidence.sampled
    found = sample_ratio_log_evidence(counts[..., CANARY], counts[..., 1 - CANARY], share)
    broken: Bools = found >= np.log(1 / plan.ratio_alpha) + (evidence.level + 1) * np.log(2)
    return broken


def _many_crossed(evidence: Evidence) -> Bools:
    enough = evidence.sampled[..., CANARY] >= MIN_UNITS
    found: Bools = enough & (evidence.crossed > MAX_CROSSED * evidence.sampled[..., CANARY])
    return found


def _missing_differs(plan: CanaryPlan, guardrail: GuardrailPlan, evidence: Evidence) -> bool:
    """Whether one variant's outcomes are missing more often, by a confidence sequence at the sample-ratio test's error."""
    sums = evidence.sums[guardrail.name]
    assert sums.missing is not None  # noqa: S101 - the caller looked
    both = GuardrailPlan(name=guardrail.name, measure=guardrail.measure, harm="both", margin=0.0)
    share = Sums(total=sums.missing, mass=sums.mass + sums.missing)
    with np.errstate(divide="ignore"):
        information = 1 / (1 / evidence.units).sum(axis=-1)
    quantile = anytime_quantile(information, plan.ratio_alpha / 2)
    return bool(harm_is_shown(Question(both, share, evidence.units, quantile)))


def _promotion_reason(plan: CanaryPlan, closed: Closed) -> str:
    units = int(closed.units[CANARY].sum())
    names = len(plan.guardrails)
    return (
        f"after {closed.seconds / HOUR:.0f} hours and {units:,} closed units "
        f"all {names} guardrails are shown to keep their margins."
    )


def _undecided_reason(plan: CanaryPlan, checks: tuple[CheckResult, ...]) -> str:
    """What is still open, and what would have settled it."""
    open_ones = [c for c in checks if c.verdict is Verdict.INCONCLUSIVE and (".promotion" in c.name or c.needed_n)]
    parts = [f"{c.name} needs about {c.needed_n:,} {plan.unit}s" for c in open_ones[:3] if c.needed_n]
    said = "; ".join(parts) or "the evidence did not suffice"
    return f"neither harm nor harmlessness was shown in {plan.total_hours:g} hours: {said}."
