"""From a declaration to a plan: alphas, looks, boundaries, guardrails in order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.config.schema import ReleaseConfig
from holdfast.errors import UserError
from holdfast.release.canary.plan import CanaryPlan
from holdfast.release.canary.planning import burst_seconds, canary_plan
from holdfast.stats.group_sequential import crossing_probability

CLICK = {"click": {"max_drop": 0.005, "absent": "zero", "delay": "30m"}}
THREE = [{"share": 0.01, "hours": 4}, {"share": 0.05, "hours": 12}, {"share": 0.10}]


def declared(guardrails: dict[str, Any] | None = None, **canary: Any) -> ReleaseConfig:
    return ReleaseConfig.model_validate(
        {"canary": {"steps": THREE, **canary}, "guardrails": CLICK if guardrails is None else guardrails}
    )


def test_three_steps_spend_a_tenth_two_tenths_and_the_rest() -> None:
    plan = canary_plan(declared())
    total = plan.alpha - plan.burst_alpha
    assert plan.step_alphas == pytest.approx([0.1 * total, 0.2 * total, 0.7 * total])
    assert [step.hours for step in plan.steps] == [4, 12, 80]
    assert plan.looks == (24, 48, 72)


def test_the_whole_error_is_at_most_five_per_cent() -> None:
    guardrails = {
        **CLICK,
        "error": {"max_rise": 0.001},
        "latency_p99_ms": {"max_rise": 20},
        "outcomes.spend": CLICK["click"],
    }
    plan = canary_plan(declared(guardrails), slow_ms=180.0, slow_share=0.002)
    sides = {"both": 2}
    spent = sum(
        plan.harm_alpha(step, guardrail) * sides.get(guardrail.harm, 1)
        for step in range(3)
        for guardrail in plan.guardrails
    )
    assert spent + plan.burst_alpha == pytest.approx(0.05)


def test_guardrails_stand_in_the_order_in_which_they_are_asked() -> None:
    guardrails = {**CLICK, "error": {"max_rise": 0.001}, "latency_p99_ms": {"max_rise": 20}}
    plan = canary_plan(declared(guardrails), slow_ms=180.0, slow_share=0.002)
    assert [guardrail.name for guardrail in plan.guardrails] == [
        "builtin.latency_p99_ms",
        "builtin.requests_per_unit",
        "builtin.error",
        "outcomes.click",
    ]
    assert plan.guardrail("builtin.latency_p99_ms").margin == pytest.approx(0.008)
    assert plan.guardrail("outcomes.click").measure.delay == 1800


def test_per_request_there_are_no_requests_per_unit() -> None:
    plan = canary_plan(declared(), sticky="request")
    assert [guardrail.name for guardrail in plan.guardrails] == ["outcomes.click"]
    assert plan.unit == "request"


def test_promotion_spends_its_error_over_the_looks() -> None:
    plan = canary_plan(declared())
    information = [look - 12.5 for look in plan.looks]
    assert crossing_probability(information, plan.bounds, 0.0)[-1] == pytest.approx(0.04, abs=1e-4)


def test_extension_is_planned_from_the_start() -> None:
    plan = canary_plan(declared(on_undecided="extend", extend_hours=48))
    assert plan.looks == (24, 48, 72, 96, 120)
    assert plan.total_hours == 144


def test_latency_without_a_log_is_refused() -> None:
    with pytest.raises(UserError, match="needs the champion's recent latency"):
        canary_plan(declared({**CLICK, "latency_p99_ms": {"max_rise": 20}}))
    with pytest.raises(UserError, match="no canary is declared"):
        canary_plan(ReleaseConfig())


def test_a_plan_survives_being_written_down() -> None:
    plan = canary_plan(declared({**CLICK, "latency_p99_ms": {"max_rise": 20}}), slow_ms=180.0)
    document = json.loads(json.dumps({**plan.to_json(), "of_later_versions": 1}))
    assert CanaryPlan.from_json(document) == plan


@pytest.mark.parametrize(
    ("rate", "share", "seconds"), [(None, 0.05, 60), (100, 0.05, 40), (0.01, 0.05, 3600), (1e5, 0.5, 10)]
)
def test_faults_are_counted_together_over_some_200_requests(rate: float | None, share: float, seconds: float) -> None:
    assert burst_seconds(rate, share) == seconds
