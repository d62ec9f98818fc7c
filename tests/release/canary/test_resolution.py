"""What a canary can tell apart: against simulation, and the plan that cannot succeed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from holdfast.release.canary.judgement import Decision
from holdfast.release.canary.resolution import Baseline, hopeless, resolutions
from holdfast.release.simulation.many import simulate
from tests.release.simulation.cases import independent, plan

PLAN = plan(("a",), 0.01, automatic=False)


def baseline(users_a_day: float, variance: float = 0.09) -> Baseline:
    """Users of one request who come evenly; those of the last half day are still followed."""
    units = tuple(users_a_day * (look - PLAN.window_hours) / 24 for look in PLAN.looks)
    return Baseline(hours=72, rate=users_a_day / 86400, units=units, means={"a": 0.1}, variances={"a": variance})


def test_the_margin_that_is_resolved_falls_with_the_root_of_the_users() -> None:
    (few,), (many,) = resolutions(PLAN, baseline(20_000)), resolutions(PLAN, baseline(80_000))
    assert [a / b for a, b in zip(few.margins, many.margins, strict=True)] == pytest.approx([2, 2, 2])
    assert few.margins[0] > few.margins[1] > few.margins[2]


@pytest.mark.parametrize("rate", [pytest.param(0.2, marks=pytest.mark.slow), 0.6])
def test_the_chance_of_an_equal_candidate_is_the_simulated_one(rate: float) -> None:
    """30 releases, seed 7; the binomial error of the simulation is 0.09 at most."""
    (found,) = resolutions(PLAN, baseline(rate * 86400))
    traffic = replace(independent(0.10, ("a",)), rate=rate)
    done = simulate(traffic, PLAN, repeats=30, seed=7, jobs=1)
    assert found.chance == pytest.approx(done.count(Decision.PROMOTE) / 30, abs=0.27)


def test_a_plan_that_cannot_succeed_says_what_would_do() -> None:
    (weak,) = resolutions(PLAN, baseline(2_000))
    said = hopeless(weak, PLAN)
    assert said is not None
    assert "within 72 h" in said
    assert f"a margin of {weak.margins[-1]:.3g}" in said
    wider = replace(PLAN.guardrails[0], margin=weak.margins[-1] * 1.001)
    (enough,) = resolutions(replace(PLAN, guardrails=(wider,)), baseline(2_000))
    assert enough.chance >= 0.79
    assert hopeless(enough, PLAN) is None


def test_no_margin_can_never_be_shown() -> None:
    none = replace(PLAN, guardrails=(replace(PLAN.guardrails[0], margin=0.0),))
    (found,) = resolutions(none, baseline(1e7))
    assert found.chance == pytest.approx(0.04, abs=1e-3)
    assert hopeless(found, none) is not None


def test_no_closed_user_by_a_look_resolves_nothing_there() -> None:
    known = replace(baseline(20_000), units=(0.0, 100.0, 1_000.0))
    (found,) = resolutions(PLAN, known)
    assert math.isinf(found.margins[0])
    assert 0 < found.chance < 1
