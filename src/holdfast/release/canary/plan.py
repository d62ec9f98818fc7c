"""The plan of a canary: every number that a decision will need, fixed before the first request. Pure data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

from holdfast.evidence.measures import Measure
from holdfast.store import known_fields

REQUESTS_GUARDRAIL = "builtin.requests_per_unit"
LAST_STEP = 0.7  # of the rollback error is spent on the last step
MIN_UNITS = 100  # of the canary, before any statistical decision
HOUR = 3600.0
DAY_HOURS = 24.0

Harm = Literal["drop", "rise", "both"]
OnUndecided = Literal["hold", "extend", "rollback"]


@dataclass(frozen=True, kw_only=True)
class GuardrailPlan:
    """What may not become worse: the measure, which way harms, and how much is tolerated.

    `margin` is in the measure's own units, or a share of the champion's value where `relative`. `weight` is its part of the
    rollback error.
    """

    name: str
    measure: Measure
    harm: Harm
    margin: float
    relative: bool = False
    weight: float = 1.0

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{**known_fields(cls, document), "measure": Measure.from_json(document["measure"])})


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """One share of the units, and for how many hours; the last step lasts until the end."""

    share: float
    hours: float


@dataclass(frozen=True, kw_only=True)
class CanaryPlan:
    """A canary from its first request to its last.

    `looks` are hours of the last step at which promotion is asked, whole days, and `bounds` the standardised boundary of each:
    a group-sequential test of one-sided level `promotion_alpha` for each guardrail. `alpha` is the chance to roll back a
    canary that is exactly at a margin, over all guardrails and steps, `burst_alpha` its part for bursts of faults;
    `ratio_alpha` is the sample-ratio test's. `window_hours` is how long a unit is followed for promotion, `burst_seconds` the
    stretch of time in which faults are counted together, `drill_max_hours` how fresh the proof of the way back must be, and
    `warm_hours` how long the canary may take to answer. `lease_seconds` is how long a router goes on without being told again.
    """

    guardrails: tuple[GuardrailPlan, ...]
    steps: tuple[StepPlan, ...]
    looks: tuple[float, ...]
    bounds: tuple[float, ...]
    min_hours: float = 24.0
    max_hours: float = 96.0
    extend_hours: float = 0.0
    window_hours: float = 12.0
    on_undecided: OnUndecided = "hold"
    unit: str = "user"
    sticky: Literal["unit", "request"] = "unit"
    alpha: float = 0.05
    burst_alpha: float = 0.002
    ratio_alpha: float = 0.001
    promotion_alpha: float = 0.04
    burst_seconds: float = 60.0
    drill_max_hours: float = 168.0
    warm_hours: float = 1 / 6
    lease_seconds: float = 30.0

    @cached_property
    def step_alphas(self) -> tuple[float, ...]:
        """The rollback error of each step: 0.7 on the last, the rest rising with the step (0.1, 0.2, 0.7 for three)."""
        total, earlier = self.alpha - self.burst_alpha, len(self.steps) - 1
        if not earlier:
            return (total,)
        rising = [(1 - LAST_STEP) * k / sum(range(1, earlier + 1)) for k in range(1, earlier + 1)]
        return tuple(total * part for part in [*rising, LAST_STEP])

    def harm_alpha(self, step: int, guardrail: GuardrailPlan) -> float:
        """The error of one side of one guardrail in one step."""
        sides = 2 if guardrail.harm == "both" else 1
        weights = sum(other.weight for other in self.guardrails)
        return self.step_alphas[step] * guardrail.weight / weights / sides

    @property
    def last(self) -> int:
        return len(self.steps) - 1

    @property
    def total_hours(self) -> float:
        """From the first request to the end, with the extension where there is one."""
        return self.max_hours + (self.extend_hours if self.on_undecided == "extend" else 0.0)

    def begins(self, step: int) -> float:
        """The planned hour at which a step begins."""
        return sum(earlier.hours for earlier in self.steps[:step])

    def guardrail(self, name: str) -> GuardrailPlan:
        return next(guardrail for guardrail in self.guardrails if guardrail.name == name)

    def to_json(self) -> dict[str, Any]:
        """The document that `from_json` reads; its hash names the plan."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """A plan from its document; fields of later releases of Holdfast are ignored."""
        known = known_fields(cls, document)
        known["guardrails"] = tuple(GuardrailPlan.from_json(item) for item in document["guardrails"])
        known["steps"] = tuple(StepPlan(**known_fields(StepPlan, item)) for item in document["steps"])
        known["looks"], known["bounds"] = tuple(document["looks"]), tuple(document["bounds"])
        return cls(**known)
