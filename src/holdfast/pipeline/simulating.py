"""What `holdfast release simulate` asks: a plan under declared traffic, or under a recorded log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from holdfast.errors import UserError
from holdfast.evidence.measures import Measure
from holdfast.release.canary.plan import DAY_HOURS, CanaryPlan, GuardrailPlan, Harm, StepPlan
from holdfast.release.canary.planning import PROMOTION_ALPHA, SPENDING
from holdfast.release.simulation.traffic import DeclaredMetric, Traffic
from holdfast.stats.group_sequential import group_sequential_bounds


@dataclass(frozen=True, kw_only=True)
class Declared:
    """An effect and a traffic, as typed: rates are requests a second, shares fractions, margins in the metric's units."""

    metric: str
    rate: float
    share: float
    hours: float
    champion_mean: float
    canary_mean: float
    sd: float | None = None
    max_drop: float | None = None
    max_rise: float | None = None
    requests_per_user: int = 1
    icc: float = 0.0
    daily_swing: float = 0.0
    visit_hours: float = 6.0
    unit_window: float = 12.0
    on_undecided: Literal["hold", "rollback"] = "hold"

    def problems(self) -> str | None:
        """What cannot be meant, in one sentence; None where all is well."""
        checks = (
            (0 < self.share < 1, f"expected a share between 0 and 1, found {self.share:g}."),
            (self.rate > 0, f"expected a rate above 0 requests a second, found {self.rate:g}."),
            (self.hours > 0, f"expected hours above 0, found {self.hours:g}."),
            (0 <= self.icc < 1, f"expected an intra-unit correlation in [0, 1), found {self.icc:g}."),
            (self.requests_per_user >= 1, "expected at least one request per user."),
            (self.max_drop is None or self.max_rise is None, "--max-drop and --max-rise contradict each other."),
            (min(self.max_drop or 0.0, self.max_rise or 0.0) >= 0, "a margin is not negative."),
            (self.sd is None or self.sd > 0, "expected a standard deviation above 0."),
            (self.daily_swing >= 0, "expected a daily swing of at least 0."),
            (self.rate * self.hours * 3600 < 5e8, "more than 500 million requests would be simulated."),
        )
        wrong = next((text for fine, text in checks if not fine), None)
        return wrong or self._mean_problem()

    def _mean_problem(self) -> str | None:
        if self.sd is not None:
            return None
        for mean in (self.champion_mean, self.canary_mean):
            if not 0 <= mean <= 1:
                return f"the mean {mean:g} of an outcome of 0 or 1 is not in [0, 1]; give --sd for another one."
            if not self.daily_swing / 2 <= mean <= 1 - self.daily_swing / 2:
                return f"a daily swing of {self.daily_swing:g} takes the mean {mean:g} out of [0, 1]."
        return None

    def traffic(self) -> Traffic:
        """The traffic; UserError for what cannot be meant."""
        if (wrong := self.problems()) is not None:
            raise UserError(wrong, hint="See `holdfast release simulate --help`.")
        metric = DeclaredMetric(
            name=self.metric,
            champion=self.champion_mean,
            canary=self.canary_mean,
            sd=self.sd,
            swing=self.daily_swing,
        )
        return Traffic(
            rate=self.rate,
            metrics=(metric,),
            requests_per_unit=self.requests_per_user,
            icc=self.icc,
            visit_hours=self.visit_hours,
        )

    def plan(self) -> CanaryPlan:
        """One step, one guardrail that spends the whole error."""
        harm: Harm = "rise" if self.max_rise is not None else "drop"
        margin = self.max_rise if self.max_rise is not None else self.max_drop or 0.0
        measure = Measure(name=self.metric, source="outcome", outcome=self.metric)
        return single_step_plan(
            (GuardrailPlan(name=self.metric, measure=measure, harm=harm, margin=margin),),
            self.share,
            self.hours,
            self.unit_window,
            self.on_undecided,
        )


def single_step_plan(
    guardrails: tuple[GuardrailPlan, ...],
    share: float,
    hours: float,
    window_hours: float,
    on_undecided: Literal["hold", "rollback"] = "hold",
    delay_hours: float = 0.0,
) -> CanaryPlan:
    """A plan of one share from beginning to end, asked for promotion after each whole day."""
    days = range(1, int(hours // DAY_HOURS) + 1)
    looks = [DAY_HOURS * day for day in days if DAY_HOURS * day > window_hours + delay_hours]
    information = [look - window_hours - delay_hours for look in looks]
    bounds = group_sequential_bounds(information, PROMOTION_ALPHA, power=SPENDING) if looks else []
    return CanaryPlan(
        guardrails=guardrails,
        steps=(StepPlan(share=share, hours=hours),),
        looks=tuple(looks),
        bounds=tuple(bounds),
        promotion_alpha=PROMOTION_ALPHA,
        min_hours=min(DAY_HOURS, hours),
        max_hours=hours,
        window_hours=window_hours,
        on_undecided=on_undecided,
        burst_alpha=0.0,
    )


def plan_words(plan: CanaryPlan) -> dict[str, Any]:
    """The plan in a few figures, for people and for JSON."""
    return {
        "steps": [{"share": step.share, "hours": step.hours} for step in plan.steps],
        "looks": list(plan.looks),
        "bounds": [round(bound, 4) for bound in plan.bounds],
        "guardrails": [
            {"name": g.name, "harm": g.harm, "margin": g.margin, "alpha": plan.harm_alpha(plan.last, g)}
            for g in plan.guardrails
        ],
    }
