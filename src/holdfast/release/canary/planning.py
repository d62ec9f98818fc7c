"""From what a project declares to the plan of a canary. Pure."""

from __future__ import annotations

from typing import Literal

from holdfast.config.canary import BUILTIN, OUTCOMES, full_name, looks_of
from holdfast.config.schema import CanaryConfig, Guardrail, ReleaseConfig
from holdfast.errors import UserError
from holdfast.evidence.measures import Measure
from holdfast.release.canary.plan import (
    HOUR,
    REQUESTS_GUARDRAIL,
    CanaryPlan,
    GuardrailPlan,
    Harm,
    StepPlan,
)
from holdfast.stats.group_sequential import group_sequential_bounds

REQUESTS_MARGIN = 0.05  # how much requests per unit may change, either way, where nothing is declared
REQUESTS_WEIGHT = 0.25  # its part of the rollback error, beside 1 for a declared guardrail
SLOW_SHARE = 0.01  # the share of requests that is slower than the p99, by definition
PROMOTION_ALPHA = 0.04  # below the 5 % that is promised: information at a look is planned, variances are estimated
SPENDING = 2.0  # promotion error spent by fraction t of the evidence: α·t²
BURST_REQUESTS = 200  # of the canary, expected in one stretch in which faults are counted together


def canary_plan(
    release: ReleaseConfig,
    *,
    sticky: Literal["unit", "request"] = "unit",
    slow_ms: float | None = None,
    slow_share: float = 0.0,
    rate: float | None = None,
) -> CanaryPlan:
    """The plan of `release`.

    `slow_ms` is the champion's p99 plus the tolerated rise, in milliseconds, and `slow_share` the share of its requests that
    is slower; both come from its recent log. `rate` is requests a second of the whole traffic. UserError where a guardrail on
    latency has no such threshold or no canary is declared.
    """
    canary = release.canary
    if canary is None:
        raise UserError("no canary is declared.", hint="Add `release: {canary: {steps: [{share: 0.05}]}}`.")
    guardrails = _guardrails(release, sticky, slow_ms, slow_share)
    delay = max(guardrail.measure.delay for guardrail in guardrails) / HOUR
    looks = looks_of(canary, delay)
    window = canary.unit_window.total_seconds() / HOUR
    bounds = group_sequential_bounds([look - window - delay for look in looks], PROMOTION_ALPHA, power=SPENDING)
    return CanaryPlan(
        guardrails=guardrails,
        steps=_steps(canary),
        looks=tuple(looks),
        bounds=tuple(bounds),
        promotion_alpha=PROMOTION_ALPHA,
        min_hours=canary.min_hours,
        max_hours=canary.max_hours,
        extend_hours=canary.extend_hours,
        window_hours=window,
        on_undecided=canary.on_undecided,
        unit=canary.unit if sticky == "unit" else "request",
        sticky=sticky,
        burst_seconds=burst_seconds(rate, canary.steps[-1].share),
        drill_max_hours=canary.drill_max_age.total_seconds() / HOUR,
        warm_hours=canary.warm_timeout.total_seconds() / HOUR,
        lease_seconds=canary.lease.total_seconds(),
    )


def burst_seconds(rate: float | None, share: float) -> float:
    """Seconds in which the canary gets some 200 requests, at least 10 and at most an hour; a minute where nothing is known."""
    return 60.0 if not rate else min(max(BURST_REQUESTS / (rate * share), 10.0), HOUR)


def _steps(canary: CanaryConfig) -> tuple[StepPlan, ...]:
    earlier = [StepPlan(share=step.share, hours=float(step.hours or 0.0)) for step in canary.steps[:-1]]
    rest = canary.max_hours - sum(step.hours for step in earlier)
    return (*earlier, StepPlan(share=canary.steps[-1].share, hours=rest))


def _guardrails(
    release: ReleaseConfig, sticky: str, slow_ms: float | None, slow_share: float
) -> tuple[GuardrailPlan, ...]:
    """Latency first, then requests per unit, faults, and the project's own in the order they are written."""
    declared = {full_name(name): guardrail for name, guardrail in release.guardrails.items()}
    found = [_latency(slow_ms, slow_share)] if f"{BUILTIN}latency_p99_ms" in declared else []
    if sticky == "unit":
        found.append(_requests(declared.get(REQUESTS_GUARDRAIL)))
    if f"{BUILTIN}error" in declared:
        found.append(_error(declared[f"{BUILTIN}error"]))
    found += [_outcome(name, g) for name, g in declared.items() if name.startswith(OUTCOMES)]
    return tuple(found)


def _latency(slow_ms: float | None, slow_share: float) -> GuardrailPlan:
    """The canary's p99 rises by no more than allowed: at most 1 % of its requests are slower than the champion's p99 + rise."""
    name = f"{BUILTIN}latency_p99_ms"
    if slow_ms is None:
        raise UserError(
            f"{name} needs the champion's recent latency, and there is no log of it.",
            hint="Declare `release: {log: {predictions: …}}`, or remove that guardrail.",
            reason_code="no_log",
        )
    measure = Measure(name=name, source="latency", slower_than_ms=slow_ms)
    return GuardrailPlan(name=name, measure=measure, harm="rise", margin=max(SLOW_SHARE - slow_share, 0.0))


def _requests(declared: Guardrail | None) -> GuardrailPlan:
    harm: Harm = "both"
    margin, weight = REQUESTS_MARGIN, REQUESTS_WEIGHT
    if declared is not None:
        margin, weight = declared.max_drop if declared.max_drop is not None else declared.max_rise or 0.0, 1.0
        harm = "rise" if declared.max_drop is None else "drop" if declared.max_rise is None else "both"
    measure = Measure(name=REQUESTS_GUARDRAIL, source="requests")
    return GuardrailPlan(
        name=REQUESTS_GUARDRAIL, measure=measure, harm=harm, margin=margin, relative=True, weight=weight
    )


def _error(declared: Guardrail) -> GuardrailPlan:
    name = f"{BUILTIN}error"
    return GuardrailPlan(
        name=name, measure=Measure(name=name, source="error"), harm="rise", margin=declared.max_rise or 0.0
    )


def _outcome(name: str, declared: Guardrail) -> GuardrailPlan:
    measure = Measure(
        name=name,
        source="outcome",
        outcome=name.removeprefix(OUTCOMES),
        absent=declared.absent or "zero",
        delay=declared.delay.total_seconds() if declared.delay else 0.0,
        cap=declared.cap,
    )
    harm: Harm = "drop" if declared.max_drop is not None else "rise"
    margin = declared.max_drop if declared.max_drop is not None else declared.max_rise
    return GuardrailPlan(name=name, measure=measure, harm=harm, margin=float(margin or 0.0))
