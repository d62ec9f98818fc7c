"""What evidence says of a guardrail: is harm shown, or harmlessness? Pure, at any number of looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from holdfast.evidence.sums import ARMS, BUCKETS, Closed, Evidence, Sums
from holdfast.release.canary.plan import MIN_UNITS, CanaryPlan, GuardrailPlan
from holdfast.stats.anytime import anytime_quantile
from holdfast.stats.arms import CANARY, CHAMPION, ArmDifference, arm_difference

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Question:
    """One guardrail's evidence at every look, shape (...), and how many standard errors an answer needs."""

    guardrail: GuardrailPlan
    sums: Sums
    units: Array
    quantile: Array

    @property
    def enough(self) -> Bools:
        found: Bools = np.asarray(self.units[..., CANARY] >= MIN_UNITS)
        return found


@dataclass(frozen=True)
class Interval:
    """Canary − champion, with an interval whose ends are each one-sided at the question's error; infinite where there is none.

    Relative guardrails: as shares of the champion's value.
    """

    estimate: Array
    low: Array
    high: Array
    means: Array


def rollback_question(plan: CanaryPlan, step: int, guardrail: GuardrailPlan, evidence: Evidence) -> Question:
    """Is harm shown? By the confidence sequence, which may be asked at every moment."""
    sums = evidence.sums[guardrail.name]
    if guardrail.measure.source == "requests":
        sums = _per_unit(sums, evidence, plan.steps[step].share)
    with np.errstate(divide="ignore"):
        information = 1 / (1 / evidence.units).sum(axis=-1)
    quantile = anytime_quantile(information, plan.harm_alpha(step, guardrail))
    return Question(guardrail, sums, evidence.units, quantile)


def promotion_question(plan: CanaryPlan, look: int, guardrail: GuardrailPlan, closed: Closed) -> Question:
    """Is it shown that there is no harm? At one planned look, over units whose window has closed."""
    sums = promotion_sums(guardrail, closed)
    return Question(guardrail, sums, closed.units.sum(axis=-1), np.asarray(plan.bounds[look]))


def promotion_sums(guardrail: GuardrailPlan, closed: Closed) -> Sums:
    """The guardrail's sums over closed units; requests per unit are over units."""
    sums = closed.sums[guardrail.name]
    if guardrail.measure.source == "requests":
        return Sums(total=sums.total, mass=closed.units, within=False)
    return sums


def harm_is_shown(question: Question) -> Bools:
    """Whether even the better end of the interval breaks the margin, on one side or the other."""
    sides = [_beyond(question, side, 1) for side in _sides(question.guardrail)]
    return np.asarray(question.enough & np.any(sides, axis=0))


def harmlessness_is_shown(question: Question) -> Bools:
    """Whether even the worse end of the interval keeps the margin, on every side."""
    sides = [_beyond(question, side, -1) for side in _sides(question.guardrail)]
    return np.asarray(question.enough & np.all(sides, axis=0))


def interval(question: Question) -> Interval:
    """The difference as people read it."""
    guardrail = question.guardrail
    side = _sides(guardrail)[0]
    found = arm_difference(
        question.sums.total,
        question.sums.mass,
        question.units,
        bounded=question.sums.within,
        margin=0.0 if guardrail.relative else side * guardrail.margin,
    )
    unit = found.means[..., CHAMPION] if guardrail.relative else np.float64(1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        reach = np.where(found.error > 0, question.quantile * found.error, np.inf)
        ends = (found.estimate / unit, (found.estimate - reach) / unit, (found.estimate + reach) / unit)
    return Interval(*ends, found.means)


def _sides(guardrail: GuardrailPlan) -> tuple[int, ...]:
    """−1 where a drop harms, +1 where a rise does."""
    return {"drop": (-1,), "rise": (1,), "both": (-1, 1)}[guardrail.harm]


def _beyond(question: Question, side: int, harm: int) -> Bools:
    """Whether the distance from the margin, counted towards harm (+1) or away from it (−1), is more than the error allows.

    Without a variance, or with numbers that are none, it never is.
    """
    found = _against_margin(question, side)
    margin = 0.0 if question.guardrail.relative else question.guardrail.margin
    with np.errstate(invalid="ignore"):
        distance = harm * (side * found.estimate - margin)
        shown: Bools = (found.error > 0) & (distance > question.quantile * found.error)
    return shown


def _against_margin(question: Question, side: int) -> ArmDifference:
    """A margin that is a share of the champion's value scales the champion, so that its error is counted too."""
    guardrail = question.guardrail
    return arm_difference(
        question.sums.total,
        question.sums.mass,
        question.units,
        champion_scale=1 + side * guardrail.margin if guardrail.relative else 1.0,
        bounded=question.sums.within,
        margin=0.0 if guardrail.relative else side * guardrail.margin,
    )


def _per_unit(requests: Sums, evidence: Evidence, share: float) -> Sums:
    """Requests over units.

    While every unit is in the sample they are counted, so that a broken assignment is no change of requests per unit. Later
    their number is what the share lets expect: an estimate from the sample would be less sure than that. Either way how many
    units fall into a bucket is part of the variance.
    """
    expected = evidence.units.sum(axis=-1)[..., None] * np.array([1 - share, share])
    units = np.where(evidence.level[..., None] == 0, evidence.units, expected) / BUCKETS
    return Sums(
        total=requests.total, mass=np.broadcast_to(units[..., None], (*units.shape[:-1], ARMS, BUCKETS)), within=False
    )
