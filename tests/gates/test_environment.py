"""The environment gate: nothing moved, moved and costs, moved and does not cost, and nobody knows."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.config.schema import EnvironmentGate, GatesConfig, MetricGate, SliceGates
from holdfast.gates.carriers import carriers
from holdfast.gates.environment import judge_environment, movement
from holdfast.gates.evidence import Contender, Rows
from holdfast.stats import get_metric
from holdfast.verdict import CheckResult, Report, Verdict

RNG = np.random.default_rng(5)
LABELS = RNG.integers(0, 2, 2_000)
RIGHT = np.where(RNG.random(2_000) < 0.1, 1 - LABELS, LABELS)
ROWS = Rows(labels=LABELS, slices={"half": np.asarray(["a", "b"] * 1_000, dtype=object)})
GATES = GatesConfig(
    metrics={"accuracy": MetricGate(max_regression=0.02)}, slices=SliceGates(by=["half"], max_regression=0.05)
)


def judged(after: np.ndarray | None, gates: GatesConfig = GATES, missing: str | None = None) -> list[CheckResult]:
    recorded = Contender(name="recorded", digest="same", predictions=None if missing else RIGHT, missing=missing)
    here = Contender(name="here", digest="same", predictions=after)
    return judge_environment(ROWS, recorded, here, gates, {"accuracy": get_metric("accuracy")})


def flipped(share: float, *, both_ways: bool = False) -> np.ndarray:
    """Some right answers made wrong; with `both_ways` as many wrong ones made right."""
    after, count = RIGHT.copy(), int(share * len(RIGHT))
    right = np.flatnonzero(RIGHT == LABELS)[:count]
    after[right] = 1 - after[right]
    if both_ways:
        wrong = np.flatnonzero(RIGHT != LABELS)[:count]
        after[wrong] = LABELS[wrong]
    return after


def test_nothing_moved_is_one_pass() -> None:
    (check,) = judged(RIGHT.copy())
    assert check.verdict is Verdict.PASS
    assert "none of 2,000 predictions moved" in check.message


@pytest.mark.parametrize(
    ("after", "verdict", "code"),
    [
        (flipped(0.2), Verdict.FAIL, "changed_and_costs"),
        (flipped(0.005, both_ways=True), Verdict.PASS, "changed_does_not_cost"),
        (flipped(0.02), Verdict.INCONCLUSIVE, "changed_cost_unknown"),
    ],
)
def test_what_moved_is_judged_by_its_cost(after: np.ndarray, verdict: Verdict, code: str) -> None:
    first, *costs = judged(after)
    assert (first.verdict, first.reason_code) == (verdict, code)
    assert first.details["moved"] == int((after != RIGHT).sum())
    assert any(check.name == "accuracy.regression" for check in costs)
    assert any(check.kind == "slice" for check in costs)
    expected = Verdict.PASS if verdict is Verdict.PASS else Verdict.FAIL
    assert Report(checks=(first, *costs)).verdict is expected


def test_a_strict_project_allows_no_change() -> None:
    strict = GATES.model_copy(update={"environment": EnvironmentGate(on_change="fail")})
    first, *_ = judged(flipped(0.005, both_ways=True), strict)
    assert (first.verdict, first.reason_code) == (Verdict.FAIL, "changed")


def test_the_metric_is_told_before_and_after() -> None:
    regression = next(check for check in judged(flipped(0.2)) if check.kind == "regression")
    assert regression.details["before"] == pytest.approx((RIGHT == LABELS).mean())
    assert regression.details["after"] == pytest.approx((flipped(0.2) == LABELS).mean())
    assert " → " in regression.message


def test_no_record_is_no_pass() -> None:
    (check,) = judged(RIGHT, missing="version 1 has no recorded predictions.")
    assert check.verdict is Verdict.INCONCLUSIVE
    assert Report(checks=(check,)).verdict is Verdict.FAIL


def test_no_declared_margin_leaves_the_cost_open() -> None:
    first, *_ = judged(flipped(0.2), GatesConfig())
    assert first.verdict is Verdict.INCONCLUSIVE


def test_predictions_of_another_shape_are_an_error() -> None:
    (check,) = judged(RIGHT[:-1])
    assert check.verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        ([1.0, 2.0, 0.0], [1.0 + 1e-9, 2.1, 0.0], [False, True, False]),
        ([0.0], [1e-30], [True]),
        ([[0.2, 0.8], [0.5, 0.5]], [[0.2, 0.8], [0.4, 0.6]], [False, True]),
        ([1, 2], [1.0, 2.5], [False, True]),
    ],
)
def test_movement_of_numbers(before: list[float], after: list[float], moved: list[bool]) -> None:
    assert movement(np.asarray(before), np.asarray(after), 1e-6).moved.tolist() == moved


def test_movement_of_labels() -> None:
    before, after = np.asarray(["a", "b"], dtype=object), np.asarray(["a", "c"], dtype=object)
    found = movement(before, after, 1e-6)
    assert found.moved.tolist() == [False, True]
    assert found.by.tolist() == [0.0, 1.0]


def test_the_loss_is_traced_to_its_slice_and_rows() -> None:
    after = RIGHT.copy()
    only_a = np.flatnonzero((RIGHT == LABELS) & (np.arange(2_000) % 2 == 0))[:50]
    after[only_a] = 1 - after[only_a]
    found = carriers(get_metric("accuracy"), ROWS, RIGHT, after)
    assert found.slices == (("half = a", 1.0, 0.5),)
    assert found.lost == 50
    assert set(found.rows.tolist()) <= set(only_a.tolist())


def test_the_loss_of_a_ranking_is_traced_to_queries() -> None:
    labels = np.tile([3, 0, 1], 40)
    groups = np.repeat(np.arange(40), 3)
    before = np.tile([3.0, 0.0, 1.0], 40)
    after = before.copy()
    after[:3] = [0.0, 3.0, 1.0]
    found = carriers(get_metric("ndcg@10"), Rows(labels=labels, groups=groups), before, after)
    assert found.rows.tolist() == [0]
    assert (found.before[0], found.lost, found.units) == (1.0, 1, 40)
