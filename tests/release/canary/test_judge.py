"""The decision from evidence, as a table of cases: order, direction, scarcity, and what must never count as good news."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from holdfast.evidence.sums import ARMS, BUCKETS, Evidence, Sums
from holdfast.release.canary.judge import alarms, judge
from holdfast.release.canary.judgement import Decision
from holdfast.release.canary.plan import StepPlan
from holdfast.verdict import Verdict
from tests.release.canary.sums import REQUESTS, arms, closed, evidence, guardrail, plan

MANY = (95_000, 5_000)
FEW = (1_900, 99)


def decided(canary: float, units: tuple[int, int] = MANY, *, champion: float = 0.10, **changes: Any) -> Decision:
    rail = guardrail(**changes)
    found = evidence({"click": arms((champion, canary), units)}, units)
    judgement = judge(plan(rail), 0, found, 12.0)
    assert bool(alarms(plan(rail), 0, found)) is (judgement.decision in (Decision.ROLL_BACK, Decision.INVALID))
    return judgement.decision


@pytest.mark.parametrize(
    ("canary", "changes", "expected"),
    [
        (0.07, {}, Decision.ROLL_BACK),
        (0.10, {}, Decision.CONTINUE),
        (0.095, {}, Decision.CONTINUE),  # exactly at the margin
        (0.13, {}, Decision.CONTINUE),  # better is no harm
        (0.13, {"harm": "rise"}, Decision.ROLL_BACK),
        (0.07, {"harm": "rise"}, Decision.CONTINUE),
        (0.07, {"harm": "both"}, Decision.ROLL_BACK),
        (0.13, {"harm": "both"}, Decision.ROLL_BACK),
        (0.07, {"margin": 0.3, "relative": True}, Decision.CONTINUE),
        (0.05, {"margin": 0.3, "relative": True}, Decision.ROLL_BACK),
    ],
)
def test_harm(canary: float, changes: dict[str, Any], expected: Decision) -> None:
    assert decided(canary, **changes) is expected


def test_below_100_canary_units_nothing_is_decided() -> None:
    assert decided(0.0, FEW, champion=0.9) is Decision.CONTINUE
    assert decided(0.0, (1_900, 100), champion=0.9) is Decision.ROLL_BACK


def test_broken_assignment_comes_first() -> None:
    found = evidence({"click": arms((0.1, 0.0), (9_000, 1_000))}, (9_000, 1_000))
    judgement = judge(plan(), 0, found, 12.0)
    assert judgement.decision is Decision.INVALID
    assert judgement.check.verdict is Verdict.ERROR
    assert judgement.check.reason_code == "sample_ratio"
    assert "10.00% of 10,000 units met the canary where 5.00%" in judgement.reason


def test_each_level_of_the_sample_may_spend_less() -> None:
    """Counts that are just too odd for the whole sample are not for a thinned one."""
    odd = evidence({"click": arms((0.1, 0.1), (9_000, 600))}, (9_300, 610))
    assert judge(plan(), 0, odd, 12.0).decision is Decision.INVALID
    thinned = evidence({"click": arms((0.1, 0.1), (9_000, 600))}, (9_300, 610), level=np.int64(9))
    assert judge(plan(), 0, thinned, 12.0).decision is Decision.CONTINUE


def test_units_that_met_both_variants_break_the_experiment() -> None:
    found = evidence({"click": arms((0.1, 0.1), MANY)}, MANY, crossed=np.float64(400))
    judgement = judge(plan(), 0, found, 12.0)
    assert judgement.decision is Decision.INVALID
    assert judgement.check.reason_code == "crossed_units"


def test_a_burst_comes_before_the_guardrails() -> None:
    found = evidence({"click": arms((0.1, 0.0), MANY)}, MANY, burst=np.float64(0.1))
    judgement = judge(plan(), 0, found, 0.1)
    assert (judgement.decision, judgement.metric) == (Decision.ROLL_BACK, "breaker")


def test_guardrails_are_asked_in_their_order() -> None:
    rails = (guardrail("first"), guardrail("second"))
    found = evidence({name: arms((0.1, 0.0), MANY) for name in ("first", "second")}, MANY)
    assert judge(plan(*rails), 0, found, 12.0).metric == "first"


def test_requests_per_unit_both_ways() -> None:
    rail = guardrail(REQUESTS, 0.05)
    for requests, expected in ((20, Decision.CONTINUE), (16, Decision.ROLL_BACK), (25, Decision.ROLL_BACK)):
        champion, canary = arms((1, 1), MANY, 20), arms((1, 1), MANY, requests)
        total = np.array([champion.total[0], canary.total[1]])
        found = evidence({REQUESTS: Sums(total=total, mass=total)}, MANY)
        assert judge(plan(rail), 0, found, 12.0).decision is expected


class TestPromotion:
    def test_only_where_every_guardrail_is_shown_to_be_harmless(self) -> None:
        rails = (guardrail("good", 0.02), guardrail("open", 0.005))
        sums = {name: arms((0.1, 0.1), MANY) for name in ("good", "open")}
        found = evidence(sums, MANY, 24.0)
        assert judge(plan(rails[0]), 0, found, 24.0, closed(sums, MANY)).decision is Decision.PROMOTE
        both = judge(plan(*rails), 0, found, 24.0, closed(sums, MANY))
        assert both.decision is Decision.CONTINUE
        verdicts = {check.name: check.verdict for check in both.checks}
        assert verdicts["good.promotion"] is Verdict.PASS
        assert verdicts["open.promotion"] is Verdict.INCONCLUSIVE

    def test_not_between_planned_looks_however_good_it_looks(self) -> None:
        assert decided(0.10, (950_000, 50_000)) is Decision.CONTINUE

    def test_not_on_fewer_than_100_units(self) -> None:
        sums = {"click": arms((0.5, 0.5), FEW)}
        found = judge(plan(guardrail(margin=0.4)), 0, evidence(sums, FEW, 24.0), 24.0, closed(sums, FEW))
        assert found.decision is Decision.CONTINUE

    def test_not_while_harm_is_shown(self) -> None:
        sums = {"click": arms((0.1, 0.1), MANY)}
        harmed = evidence({"click": arms((0.1, 0.05), MANY)}, MANY, 24.0)
        assert judge(plan(), 0, harmed, 24.0, closed(sums, MANY)).decision is Decision.ROLL_BACK

    def test_not_where_outcomes_go_missing_more_often(self) -> None:
        sums = arms((0.1, 0.1), MANY)
        missing = np.zeros((ARMS, BUCKETS))
        missing[1] = 3.0
        odd = Sums(total=sums.total, mass=sums.mass, missing=missing)
        found = judge(plan(), 0, evidence({"click": odd}, MANY, 24.0), 24.0, closed({"click": sums}, MANY))
        assert found.decision is Decision.CONTINUE
        assert next(check for check in found.checks if check.name == "click.missing").verdict is Verdict.ERROR

    def test_rare_faults_none_seen(self) -> None:
        """No fault at all: the null's own variance decides, so 300 units cannot show a margin of 0.001 and 100,000 can."""
        rail = guardrail("error", 0.001, harm="rise")
        for units, expected in (((5_700, 300), Decision.CONTINUE), ((1_900_000, 100_000), Decision.PROMOTE)):
            sums = {"error": arms((0.0, 0.0), units)}
            found = judge(plan(rail), 0, evidence(sums, units, 24.0), 24.0, closed(sums, units))
            assert found.decision is expected


class TestNothingIsNoGoodNews:
    @pytest.mark.parametrize("total", [np.nan, np.inf, 7.0])
    def test_values_that_say_nothing(self, total: float) -> None:
        """Not a number, overflown, or the same everywhere and outside [0, 1]: neither harm nor harmlessness is shown."""
        mass = np.full((ARMS, BUCKETS), 100.0)
        sums = {"click": Sums(total=mass * total, mass=mass, within=False)}
        with np.errstate(invalid="ignore"):
            found = judge(plan(), 0, evidence(sums, MANY, 24.0), 24.0, closed(sums, MANY))
        assert found.decision is Decision.CONTINUE
        for check in found.checks:
            if check.name.startswith("click"):
                assert check.verdict is Verdict.INCONCLUSIVE
                assert check.reason_code in {"constant", "no_evidence"}

    def test_no_requests_at_all(self) -> None:
        empty = Sums(total=np.zeros((ARMS, BUCKETS)), mass=np.zeros((ARMS, BUCKETS)))
        found = judge(plan(), 0, evidence({"click": empty}, (0, 0)), 12.0)
        assert found.decision is Decision.CONTINUE

    def test_the_share_is_not_raised_without_evidence(self) -> None:
        steps = (StepPlan(share=0.05, hours=4), StepPlan(share=0.1, hours=68))
        empty = Sums(total=np.zeros((ARMS, BUCKETS)), mass=np.zeros((ARMS, BUCKETS)))
        for sums, units, expected in (
            (empty, MANY, Decision.CONTINUE),
            (arms((0.1, 0.1), FEW), FEW, Decision.CONTINUE),
            (arms((0.1, 0.1), MANY), MANY, Decision.ADVANCE),
        ):
            found = judge(plan(steps=steps), 0, evidence({"click": sums}, units, 4.0), 4.0)
            assert found.decision is expected
        early = judge(plan(steps=steps), 0, evidence({"click": arms((0.1, 0.1), MANY)}, MANY, 3.9), 3.9)
        assert early.decision is Decision.CONTINUE

    def test_at_the_end_it_says_what_would_have_settled_it(self) -> None:
        units = (9_500, 500)
        found = judge(plan(), 0, evidence({"click": arms((0.1, 0.11), units)}, units, 72.0), 72.0)
        assert found.decision is Decision.UNDECIDED
        assert "click needs about" in found.reason


def test_checks_say_their_error_and_keep_the_contract() -> None:
    found = judge(
        plan(guardrail("a"), guardrail("b")), 0, evidence({n: arms((0.1, 0.1), MANY) for n in "ab"}, MANY), 12.0
    )
    check = next(check for check in found.checks if check.name == "a")
    assert check.details["alpha"] == pytest.approx((0.05 - 0.002) / 2)
    assert check.confidence == pytest.approx(1 - 2 * check.details["alpha"])
    assert check.low < check.estimate < check.high
    assert (check.threshold, check.direction, check.kind, check.unit) == (-0.005, "higher", "guardrail", "user")
    assert check.n == 5_000


def test_many_looks_at_once_are_the_looks_one_by_one() -> None:
    looks = [arms((0.1, canary), MANY, seed=n) for n, canary in enumerate((0.1, 0.09, 0.08, 0.07))]
    every = np.tile(np.array(MANY, float), (4, 1))
    together = Evidence(
        seconds=np.full(4, 3600.0),
        sums={"click": Sums(total=np.array([s.total for s in looks]), mass=np.array([s.mass for s in looks]))},
        units=every,
        sampled=every,
        level=np.zeros(4, np.int64),
        crossed=np.zeros(4),
        requests=every,
        burst=np.full(4, -np.inf),
    )
    raised = alarms(plan(), 0, together)
    assert list(raised) == [bool(alarms(plan(), 0, together.at(k))) for k in range(4)]
    assert list(raised) == [False, False, True, True]
