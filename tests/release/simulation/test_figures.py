"""What is promised of a canary's decisions, simulated with fixed seeds: `make test-slow` prints all of it."""

from __future__ import annotations

import pytest
from scipy import stats

from holdfast.release.canary.judgement import Decision
from holdfast.release.canary.plan import CanaryPlan
from holdfast.release.simulation.many import Simulation, simulate
from holdfast.release.simulation.traffic import Traffic
from tests.release.simulation.cases import FIVE, independent, plan, returning


def run(name: str, traffic: Traffic, plan: CanaryPlan, repeats: int, seed: int) -> Simulation:
    found = simulate(traffic, plan, repeats=repeats, seed=seed, jobs=2)
    counts = {decision.value: found.count(decision) for decision in Decision if found.count(decision)}
    print(
        f"\n{name}: {counts} of {repeats}, median {found.quantile(0.5, 'canary_requests'):,.0f} canary requests, "
        f"{found.quantile(0.5, 'hours'):.2f} h, seed {seed}, {found.seconds:.0f} s"
    )
    return found


def upper(count: int, n: int) -> float:
    """The upper end of the two-sided 95 % interval of a share (Clopper and Pearson)."""
    return float(stats.beta.ppf(0.975, count + 1, n - count))


DETECTION = [
    ("CTR 10 → 9 %, one guardrail, max_drop 0", independent(0.09, ("a",)), plan(("a",), 0.0, automatic=False), 8_000),
    ("CTR 10 → 9 %, five guardrails, max_drop 0.005", independent(0.09, FIVE), plan(FIVE, 0.005), 40_000),
    ("CTR 10 → 5 %, five guardrails, max_drop 0.005", independent(0.05, FIVE), plan(FIVE, 0.005), 1_500),
    (
        "NDCG 0.82 → 0.67 (sd 0.25), one guardrail",
        independent(0.67, ("a",), champion=0.82, sd=0.25),
        plan(("a",), 0.0, automatic=False),
        120,
    ),
    (
        "NDCG 0.82 → 0.67 (sd 0.25), five guardrails",
        independent(0.67, FIVE, champion=0.82, sd=0.25),
        plan(FIVE, 0.005),
        120,
    ),
]


@pytest.mark.parametrize(("name", "traffic", "policy", "most"), [DETECTION[n] for n in (0, 2, 3)])
def test_harm_is_found_soon(name: str, traffic: Traffic, policy: CanaryPlan, most: int) -> None:
    found = run(name, traffic, policy, 9, seed=1)
    assert found.count(Decision.ROLL_BACK) == 9
    assert found.quantile(0.5, "canary_requests") <= 1.3 * most


def test_equals_are_promoted() -> None:
    found = run("A/A", returning(0.10), plan(FIVE, 0.005), 2, seed=1)
    assert found.count(Decision.PROMOTE) == 2


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("name", "traffic", "policy", "most"), DETECTION)
def test_harm_is_found_within_the_promised_requests(name: str, traffic: Traffic, policy: CanaryPlan, most: int) -> None:
    found = run(name, traffic, policy, 400, seed=2)
    assert found.quantile(0.5, "canary_requests") <= most
    assert found.count(Decision.ROLL_BACK) >= 398


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_thousand_releases_without_a_difference() -> None:
    found = run("A/A, returning users, five guardrails", returning(0.10), plan(FIVE, 0.005), 1000, seed=3)
    back = found.count(Decision.ROLL_BACK) + found.count(Decision.INVALID)
    assert back <= 50
    assert upper(back, 1000) <= 0.065
    assert found.count(Decision.PROMOTE) >= 900


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_exactly_at_the_margin() -> None:
    """One guardrail of five is exactly at its margin: promoted and rolled back at most 5 % of the time each."""
    found = run("at the margin", returning(0.095), plan(FIVE, 0.005), 1000, seed=4)
    assert found.count(Decision.PROMOTE) <= 50
    assert found.count(Decision.ROLL_BACK) <= 50


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_margin_at_all_is_the_hardest_null() -> None:
    """max_drop 0 and no difference, the whole error on one guardrail: the confidence sequence by itself."""
    found = run("A/A, max_drop 0", returning(0.10, ("a",)), plan(("a",), 0.0, automatic=False), 1000, seed=5)
    back = found.count(Decision.ROLL_BACK)
    assert back <= 50
    assert upper(back, 1000) <= 0.065
