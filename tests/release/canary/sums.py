"""Evidence by hand: arms with given means, units and requests per unit, spread over buckets as chance would."""

from __future__ import annotations

from typing import Any

import numpy as np

from holdfast.evidence.measures import Measure
from holdfast.evidence.sums import ARMS, BUCKETS, Closed, Evidence, Sums
from holdfast.release.canary.plan import CanaryPlan, GuardrailPlan, StepPlan

REQUESTS = "builtin.requests_per_unit"


def guardrail(name: str = "click", margin: float = 0.005, **changes: Any) -> GuardrailPlan:
    source = "requests" if name == REQUESTS else "outcome"
    measure = Measure(name=name, source=source, outcome=None if name == REQUESTS else name)
    defaults: dict[str, Any] = {"harm": "drop"}
    if name == REQUESTS:
        defaults = {"harm": "both", "relative": True, "weight": 0.25}
    return GuardrailPlan(name=name, measure=measure, margin=margin, **{**defaults, **changes})


def plan(*guardrails: GuardrailPlan, **changes: Any) -> CanaryPlan:
    defaults: dict[str, Any] = {
        "steps": (StepPlan(share=0.05, hours=72),),
        "looks": (24.0, 48.0, 72.0),
        "bounds": (2.4, 2.2, 1.9),
        "max_hours": 72.0,
    }
    return CanaryPlan(guardrails=guardrails or (guardrail(),), **{**defaults, **changes})


def arms(means: tuple[float, float], units: tuple[int, int], each: int = 1, seed: int = 0, **changes: Any) -> Sums:
    """Outcomes of 0 and 1 of `units` units with `each` requests; `means` are hit as nearly as whole numbers can."""
    rng = np.random.default_rng(seed)
    total, mass = np.zeros((ARMS, BUCKETS)), np.zeros((ARMS, BUCKETS))
    for arm in range(ARMS):
        count = units[arm] * each
        bucket = np.repeat(rng.integers(0, BUCKETS, units[arm]), each)
        hits = np.zeros(count)
        hits[: round(count * means[arm])] = 1
        total[arm] = np.bincount(bucket, rng.permutation(hits), BUCKETS)
        mass[arm] = np.bincount(bucket, minlength=BUCKETS)
    return Sums(total=total, mass=mass, **changes)


def evidence(sums: dict[str, Sums], units: tuple[float, float], hours: float = 12.0, **changes: Any) -> Evidence:
    counts = np.array(units, float)
    fields: dict[str, Any] = {
        "seconds": np.float64(hours * 3600),
        "sums": sums,
        "units": counts,
        "sampled": counts,
        "level": np.int64(0),
        "crossed": np.float64(0),
        "requests": counts,
        "burst": np.float64(-np.inf),
    }
    return Evidence(**{**fields, **changes})


def closed(sums: dict[str, Sums], units: tuple[int, int], hours: float = 24.0, seed: int = 0) -> Closed:
    rng = np.random.default_rng(seed)
    spread = [np.bincount(rng.integers(0, BUCKETS, count), minlength=BUCKETS) for count in units]
    return Closed(seconds=hours * 3600, sums=sums, units=np.array(spread, float))
