"""What a canary can tell apart by when, from the champion's recent traffic: asked before it starts. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy import special

from holdfast.release.canary.plan import CanaryPlan, GuardrailPlan
from holdfast.stats.group_sequential import crossing_probability

POWER = 0.8
HOPELESS = 0.5  # a plan that promotes an equal candidate less often than this is refused


@dataclass(frozen=True)
class Baseline:
    """The champion's recent traffic.

    `hours` of log, `rate` requests a second, `units` whose window had closed by each planned look (of all traffic), and by
    guardrail the champion's mean and the variance of one unit (for relative guardrails: of the value as a share of the mean).
    """

    hours: float
    rate: float
    units: tuple[float, ...]
    means: Mapping[str, float]
    variances: Mapping[str, float]


@dataclass(frozen=True)
class Resolution:
    """What one guardrail can show: at each look the margin that an equal candidate would keep with 80 % probability, and the
    chance that it is promoted by the last look under the plan's own margin.
    """

    guardrail: str
    looks: tuple[float, ...]
    margins: tuple[float, ...]
    margin: float
    chance: float
    relative: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "guardrail": self.guardrail,
            "margin": self.margin,
            "relative": self.relative,
            "promoted_if_equal": self.chance,
            "resolves": [
                {"hours": hours, "margin": margin} for hours, margin in zip(self.looks, self.margins, strict=True)
            ],
        }


def resolutions(plan: CanaryPlan, baseline: Baseline) -> list[Resolution]:
    """One for each guardrail whose traffic is known."""
    return [
        _resolution(plan, guardrail, baseline) for guardrail in plan.guardrails if guardrail.name in baseline.variances
    ]


def hopeless(found: Resolution, plan: CanaryPlan) -> str | None:
    """Why the plan cannot succeed on this guardrail, and what would do; None where it can."""
    if found.chance >= HOPELESS:
        return None
    needed = found.margins[-1]
    ratio = (needed / found.margin) ** 2 if found.margin > 0 else math.inf
    share = plan.steps[-1].share
    ways = [f"a margin of {_amount(needed, found.relative)}"]
    if math.isfinite(ratio):
        ways.append(f"about {ratio * plan.looks[-1] / 24:.0f} days")
        if share * ratio < 0.5:
            ways.append(f"a share of {share * ratio:.0%}")
    return (
        f"{found.guardrail}: with this traffic a candidate as good as the champion would be promoted within "
        f"{plan.looks[-1]:g} h in {found.chance:.0%} of cases only; {' or '.join(ways)} would make it 80 %."
    )


def _resolution(plan: CanaryPlan, guardrail: GuardrailPlan, baseline: Baseline) -> Resolution:
    share = plan.steps[-1].share
    variance = baseline.variances[guardrail.name]
    errors = [
        math.sqrt(variance * (1 / (share * units) + 1 / ((1 - share) * units))) if units > 0 else math.inf
        for units in baseline.units
    ]
    quantile = float(special.ndtri(POWER))
    margins = tuple((bound + quantile) * error for bound, error in zip(plan.bounds, errors, strict=True))
    return Resolution(
        guardrail=guardrail.name,
        looks=plan.looks,
        margins=margins,
        margin=guardrail.margin,
        chance=_chance(plan, guardrail.margin, errors),
        relative=guardrail.relative,
    )


def _chance(plan: CanaryPlan, margin: float, errors: list[float]) -> float:
    """The chance that an equal candidate crosses a boundary by the last look."""
    usable = [
        (1 / error**2, bound)
        for error, bound in zip(errors, plan.bounds, strict=True)
        if math.isfinite(error) and error > 0
    ]
    if not usable:
        return 1.0 if errors and errors[-1] == 0 else 0.0
    information, bounds = zip(*usable, strict=True)
    return crossing_probability(information, bounds, margin * math.sqrt(information[-1]))[-1]


def _amount(value: float, relative: bool) -> str:
    return f"{value:.1%}" if relative else f"{value:.3g}"
