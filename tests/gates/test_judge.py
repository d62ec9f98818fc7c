"""Evidence and policy in, checks out."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.config.schema import GatesConfig
from holdfast.gates.evidence import Contender, Rows, seed_from
from holdfast.gates.judge import GateEvidence, judge
from holdfast.gates.latency import Timings
from holdfast.stats import get_metric
from holdfast.verdict import CheckResult, Verdict

RNG = np.random.default_rng(5)
N = 3000
LABELS = RNG.integers(0, 2, N)
GROUPS = np.arange(N) // 20
SLICE = np.asarray(["north", "south", "east"], dtype=object)[RNG.integers(0, 3, N)]


def flipped(share: float, where: np.ndarray | None = None, seed: int = 1) -> np.ndarray:
    chosen = np.random.default_rng(seed).random(N) < share
    return np.where(chosen if where is None else chosen & where, 1 - LABELS, LABELS)


def ask(gates: dict, candidate: np.ndarray, champion: np.ndarray | None, **more: object) -> dict[str, CheckResult]:
    config = GatesConfig.model_validate(gates)
    metrics = {name: get_metric(name) for name in config.metrics}
    old = None if champion is None else Contender(name="version 1", digest="sha256:1", predictions=champion)
    evidence = GateEvidence(
        rows=more.pop("rows", Rows(labels=LABELS, slices={"region": SLICE})),
        candidate=Contender(name="candidate", digest="sha256:2", predictions=candidate),
        champion=old,
        **more,
    )
    return {check.name: check for check in judge(evidence, config, metrics)}


ACCURACY = {"metrics": {"accuracy": {"min": 0.8, "max_regression": 0.02}}}


@pytest.mark.parametrize(
    ("share", "minimum", "regression"),
    [(0.05, "pass", "pass"), (0.11, "pass", "fail"), (0.4, "fail", "fail"), (0.071, "pass", "inconclusive")],
)
def test_absolute_and_regression(share: float, minimum: str, regression: str) -> None:
    checks = ask(ACCURACY, flipped(share, seed=3), flipped(0.05))
    assert (checks["accuracy.min"].verdict, checks["accuracy.regression"].verdict) == (minimum, regression)


def test_a_first_release_is_asked_absolute_gates_only() -> None:
    assert set(ask(ACCURACY, flipped(0.05), None)) == {"accuracy.min"}


def test_the_same_model_differs_by_exactly_nothing() -> None:
    config = GatesConfig.model_validate(ACCURACY)
    same = Contender(name="x", digest="sha256:1", predictions=LABELS)
    evidence = GateEvidence(rows=Rows(labels=LABELS), candidate=same, champion=same)
    check = judge(evidence, config, {"accuracy": get_metric("accuracy")})[1]
    assert (check.verdict, check.low, check.high, check.reason_code) == (Verdict.PASS, 0.0, 0.0, "same_model")


def test_equal_predictions_of_different_models_still_have_an_interval() -> None:
    check = ask(ACCURACY, LABELS[:50], LABELS[:50], rows=Rows(labels=LABELS[:50]))["accuracy.regression"]
    assert check.low < 0 < check.high


def test_missing_predictions_of_the_champion_are_open_and_say_why() -> None:
    config = GatesConfig.model_validate(ACCURACY)
    evidence = GateEvidence(
        rows=Rows(labels=LABELS),
        candidate=Contender(name="c", digest="sha256:2", predictions=LABELS),
        champion=Contender(name="version 1", digest="sha256:1", missing="score it first."),
    )
    check = judge(evidence, config, {"accuracy": get_metric("accuracy")})[1]
    assert (check.verdict, check.message) == (Verdict.INCONCLUSIVE, "score it first.")


def test_eight_small_steps_are_stopped_by_the_anchor() -> None:
    champion, anchor = flipped(0.14), flipped(0.02, seed=9)
    anchored = Contender(name="version 0", digest="sha256:0", predictions=anchor)
    checks = ask(ACCURACY, flipped(0.145), champion, anchor=anchored)
    assert checks["accuracy.regression"].verdict is not Verdict.FAIL
    total = checks["accuracy.total_regression"]
    assert (total.verdict, total.threshold) == (Verdict.FAIL, -0.04)


def test_rows_of_one_unit_are_not_independent() -> None:
    bad = np.isin(GROUPS, np.random.default_rng(2).choice(150, 9, replace=False))
    worse = np.where(bad, 1 - LABELS, LABELS)
    alone = ask(ACCURACY, worse, LABELS)["accuracy.regression"]
    grouped = ask(ACCURACY, worse, LABELS, rows=Rows(labels=LABELS, groups=GROUPS))["accuracy.regression"]
    assert (grouped.n, alone.n) == (150, N)
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


SLICED = {**ACCURACY, "slices": {"by": ["region"], "max_regression": 0.05}}


def test_a_slice_that_suffers_is_named() -> None:
    hurt = flipped(0.3, where=SLICE == "south")
    checks = ask(SLICED, hurt, LABELS)
    assert checks["accuracy.slice[region=south]"].verdict is Verdict.FAIL
    assert checks["accuracy.slice[region=north]"].verdict is Verdict.PASS


def test_many_slices_raise_no_false_alarms() -> None:
    """At exactly the margin in each of 40 slices an unadjusted test would fail one in 40 of them."""
    gates = GatesConfig.model_validate(
        {"metrics": {"accuracy": {"max_regression": 0.5}}, "slices": {"by": ["cell"], "max_regression": 0.05}}
    )
    alarms = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        cells = np.repeat(np.arange(40), 200).astype(str).astype(object)
        labels = np.ones(len(cells), dtype=int)
        worse = np.where(rng.random(len(cells)) < 0.05, 0, 1)
        evidence = GateEvidence(
            rows=Rows(labels=labels, slices={"cell": cells}),
            candidate=Contender(name="c", digest="sha256:2", predictions=worse),
            champion=Contender(name="v", digest="sha256:1", predictions=labels),
        )
        found = judge(evidence, gates, {"accuracy": get_metric("accuracy")})
        alarms += any(c.kind == "slice" and c.verdict is Verdict.FAIL for c in found)
    assert alarms <= 1


def test_small_slices_say_that_they_are_small() -> None:
    gates = {**SLICED, "slices": {"by": ["region"], "max_regression": 0.05, "min_units": 2000}}
    check = ask(gates, flipped(0.3), LABELS)["accuracy.slice[region=north]"]
    assert (check.verdict, check.reason_code, check.counts_as) == (Verdict.INCONCLUSIVE, "scarce_evidence", None)


def blocks(factor: float, blocks: int = 30, calls: int = 100, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(1.0, 0.2, (blocks, calls)) * factor


LATENCY = {"latency": {"p99_ms": 10, "max_regression_pct": 0.10, "on_inconclusive": "report"}}


@pytest.mark.parametrize(
    ("factor", "limit", "regression"), [(1.0, "pass", "pass"), (1.5, "pass", "fail"), (5.0, "fail", "fail")]
)
def test_latency_against_the_limit_and_the_champion(factor: float, limit: str, regression: str) -> None:
    timings = Timings(candidate=blocks(factor, seed=1), champion=blocks(1.0))
    checks = ask(LATENCY, LABELS, LABELS, timings=timings)
    assert (checks["latency.p99"].verdict, checks["latency.regression"].verdict) == (limit, regression)


def test_a_hundred_calls_have_no_p99() -> None:
    check = ask(LATENCY, LABELS, None, timings=Timings(candidate=blocks(1.0, 10, 10)))["latency.p99"]
    assert (check.verdict, check.reason_code) == (Verdict.INCONCLUSIVE, "scarce_evidence")
    assert "368" in check.message


def test_a_model_that_failed_to_be_timed_is_an_error() -> None:
    timings = Timings(missing="the model hung.", failed=True)
    assert ask(LATENCY, LABELS, None, timings=timings)["latency.p99"].verdict is Verdict.ERROR


def test_an_unmeasurable_metric_is_an_error_with_its_reason() -> None:
    rows = Rows(labels=np.ones(100, dtype=int))
    check = ask({"metrics": {"roc_auc": {"min": 0.5}}}, np.linspace(0, 1, 100), None, rows=rows)["roc_auc.min"]
    assert check.verdict is Verdict.ERROR
    assert "both classes" in check.message


def test_the_same_evidence_gives_the_same_checks() -> None:
    gates = {"metrics": {"f1": {"max_regression": 0.02}}}
    first, second = (ask(gates, flipped(0.1), flipped(0.08)) for _ in range(2))
    assert first == second


def test_seeds_depend_on_every_input() -> None:
    assert len({seed_from("a", "b"), seed_from("b", "a"), seed_from("a", None), seed_from("ab")}) == 4
