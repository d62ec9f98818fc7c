"""The traffic and the plans of the figures that are promised."""

from __future__ import annotations

from holdfast.evidence.measures import Measure
from holdfast.release.canary.plan import REQUESTS_GUARDRAIL, CanaryPlan, GuardrailPlan, StepPlan
from holdfast.release.canary.planning import PROMOTION_ALPHA, REQUESTS_MARGIN, REQUESTS_WEIGHT, SPENDING
from holdfast.release.simulation.traffic import DeclaredMetric, Traffic
from holdfast.stats.group_sequential import group_sequential_bounds

FIVE = ("a", "b", "c", "d", "e")
LOOKS = (24.0, 48.0, 72.0)
WINDOW = 12.0


def outcome(name: str, margin: float) -> GuardrailPlan:
    return GuardrailPlan(
        name=name, measure=Measure(name=name, source="outcome", outcome=name), harm="drop", margin=margin
    )


REQUESTS = GuardrailPlan(
    name=REQUESTS_GUARDRAIL,
    measure=Measure(name=REQUESTS_GUARDRAIL, source="requests"),
    harm="both",
    margin=REQUESTS_MARGIN,
    relative=True,
    weight=REQUESTS_WEIGHT,
)


def plan(names: tuple[str, ...], margin: float, *, automatic: bool = True, share: float = 0.05) -> CanaryPlan:
    """72 hours of one share. `automatic` adds requests per unit and the breaker, as every project has them."""
    rails = tuple(outcome(name, margin) for name in names)
    return CanaryPlan(
        guardrails=(*rails, REQUESTS) if automatic else rails,
        steps=(StepPlan(share=share, hours=72),),
        looks=LOOKS,
        bounds=tuple(group_sequential_bounds([look - WINDOW for look in LOOKS], PROMOTION_ALPHA, power=SPENDING)),
        promotion_alpha=PROMOTION_ALPHA,
        max_hours=72,
        window_hours=WINDOW,
        burst_alpha=0.002 if automatic else 0.0,
    )


def returning(canary: float, names: tuple[str, ...] = FIVE) -> Traffic:
    """Users who come back (20 requests, correlation 0.3), a daily cycle of 5 to 15 %; the first metric may differ."""
    metrics = tuple(
        DeclaredMetric(name=name, champion=0.10, canary=canary if name == names[0] else 0.10, swing=0.10)
        for name in names
    )
    return Traffic(rate=100, metrics=metrics, requests_per_unit=20, icc=0.3, fault_rates=(0.001, 0.001))


def independent(canary: float, names: tuple[str, ...], *, champion: float = 0.10, sd: float | None = None) -> Traffic:
    """Users who come once; the first metric's canary mean differs."""
    metrics = tuple(
        DeclaredMetric(name=name, champion=champion, canary=canary if name == names[0] else champion, sd=sd)
        for name in names
    )
    return Traffic(rate=100, metrics=metrics)
