"""Intervals: against other libraries, by their properties, and by simulated coverage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as sps
from statsmodels.stats.proportion import proportion_confint

from holdfast.stats import Estimate, compare, estimate, get_metric, needed_n

ACCURACY, F1, AUC, NDCG = (get_metric(name) for name in ("accuracy", "f1", "roc_auc", "ndcg@10"))


def rows(gains: int, losses: int, both: int, neither: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, champion, candidate with these numbers of rows that only the candidate, only the champion … gets right."""
    champion = np.repeat([0, 1, 1, 0], [gains, losses, both, neither])
    candidate = np.repeat([1, 0, 1, 0], [gains, losses, both, neither])
    return np.ones(len(champion), dtype=int), champion, candidate


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (7, 20), (20, 20), (950, 1000)])
def test_wilson_equals_statsmodels(hits: int, n: int) -> None:
    found = estimate(ACCURACY, np.ones(n, dtype=int), np.repeat([1, 0], [hits, n - hits]))
    assert (found.low, found.high) == pytest.approx(proportion_confint(hits, n, method="wilson"))


def score_of(gains: int, losses: int, n: int, delta: float) -> float:
    """Tango's statistic by its definition: the likelihood is maximised numerically under a fixed difference."""

    def unlikely(loss: float) -> float:
        cells = np.array([loss + delta, loss, 1 - 2 * loss - delta])
        return -float(np.sum(np.array([gains, losses, n - gains - losses]) * np.log(np.maximum(cells, 1e-300))))

    edges = max(0.0, -delta), (1 - delta) / 2
    loss = optimize.minimize_scalar(unlikely, bounds=edges, method="bounded", options={"xatol": 1e-12}).x
    return float((gains - losses - n * delta) / np.sqrt(n * (2 * loss + delta - delta**2)))


@pytest.mark.parametrize(("gains", "losses", "n"), [(1, 0, 44), (12, 2, 50), (3, 9, 400), (60, 40, 300)])
def test_tango_equals_its_definition(gains: int, losses: int, n: int) -> None:
    found = compare(ACCURACY, *rows(gains, losses, n - gains - losses, 0))
    z = sps.norm.ppf(0.975)
    assert score_of(gains, losses, n, found.low) == pytest.approx(z, abs=2e-3)
    assert score_of(gains, losses, n, found.high) == pytest.approx(-z, abs=2e-3)


def test_no_flip_is_not_no_variance() -> None:
    found = compare(ACCURACY, *rows(0, 0, 50, 0))
    z2 = sps.norm.ppf(0.975) ** 2
    assert (found.low, found.high) == pytest.approx((-z2 / (50 + z2), z2 / (50 + z2)), abs=1e-6)
    for metric in (F1, get_metric("f1_macro")):
        found = compare(metric, *([np.arange(50) % 2] * 3))
        assert found.low < 0 < found.high


def test_counts_agree_with_the_bootstrap_of_rows() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 300)
    a, b = (np.where(rng.random(300) < share, y, 1 - y) for share in (0.8, 0.86))
    found = compare(F1, y, a, b)

    def difference(y: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
        return F1.value(y, b) - F1.value(y, a)

    peer = sps.bootstrap(
        (y, a, b),
        difference,
        paired=True,
        vectorized=False,
        n_resamples=1500,
        method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high), abs=0.008)


def test_delong_equals_its_definition() -> None:
    rng = np.random.default_rng(4)
    y = np.repeat([1, 0], [30, 40])
    a, b = (y + rng.normal(0, 1.2, 70) for _ in range(2))
    kernel = [(np.sign(s[y == 1][:, None] - s[y == 0]) + 1) / 2 for s in (a, b)]
    difference = kernel[1] - kernel[0]
    variance = difference.mean(axis=1).var(ddof=1) / 30 + difference.mean(axis=0).var(ddof=1) / 40
    found = compare(AUC, y, a, b)
    assert found.value == pytest.approx(difference.mean())
    assert found.high - found.low == pytest.approx(2 * sps.norm.ppf(0.975) * np.sqrt(variance))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 200))
def test_swapping_the_models_mirrors_the_interval(gains: int, losses: int, both: int) -> None:
    labels, champion, candidate = rows(gains, losses, both, 3)
    one, other = compare(ACCURACY, labels, champion, candidate), compare(ACCURACY, labels, candidate, champion)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low), abs=1e-9)
    assert one.low <= one.value <= one.high


def sample(name: str, n: int = 400, seed: int = 0) -> tuple[Estimate, Callable[[], Estimate]]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    soft = [np.clip(y * 0.3 + rng.random(n) * 0.7, 0, 1) for _ in range(2)]
    hard = [np.where(rng.random(n) < 0.85, y, 1 - y) for _ in range(2)]
    given = hard if get_metric(name).needs == "label" else soft
    groups = np.arange(n) // 8 if get_metric(name).per_group else None

    def ask() -> Estimate:
        return compare(get_metric(name), y, *given, groups)

    return ask(), ask


METRICS = ["accuracy", "f1", "f1_macro", "roc_auc", "log_loss", "rmse", "r2", "ndcg@10", "mrr"]


@pytest.mark.parametrize("name", METRICS)
def test_the_same_inputs_give_the_same_interval(name: str) -> None:
    first, ask = sample(name)
    assert ask() == first
    assert first.low < first.value < first.high


@pytest.mark.parametrize("name", METRICS)
def test_the_p_value_agrees_with_the_interval(name: str) -> None:
    found, _ = sample(name)
    for confidence in (0.8, 0.95):
        wide = found.at(confidence)
        step = 0.02 * (wide.high - wide.low)
        assert found.p_below(wide.high + step) <= (1 - confidence) / 2 + 1e-6
        assert found.p_below(wide.high - step) > (1 - confidence) / 2 - 1e-6
    assert found.at(0.99).high >= found.at(0.9).high
    assert found.p_below(found.value - 10) > 0.97
    assert found.p_below(found.value + 10) < 0.03


def test_needed_n_is_larger_where_the_threshold_is_nearer() -> None:
    found, _ = sample("accuracy")
    near, far = needed_n(found, found.value - 0.01), needed_n(found, found.value - 0.03)
    assert near > far
    assert needed_n(found, found.value) is None


def test_scarce_evidence_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    few = compare(NDCG, rng.integers(0, 3, 60), rng.random(60), rng.random(60), np.arange(60) // 4)
    assert "too few" in few.shortage
    assert (few.low, few.high) == (None, None)
    rare = compare(AUC, np.repeat([1, 0], [4, 100]), rng.random(104), rng.random(104))
    assert "rarer class has 4 rows" in rare.shortage
    assert compare(get_metric("rmse"), np.zeros(50), np.ones(50), np.ones(50)).shortage is not None


def test_rows_of_a_unit_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    units = np.repeat(np.arange(100), 10)
    bad = rng.random(100) < 0.1
    candidate = np.where(bad[units], 0, 1)
    ones = np.ones(1000, dtype=int)
    grouped, alone = compare(ACCURACY, ones, ones, candidate, units), compare(ACCURACY, ones, ones, candidate)
    assert grouped.n == 100
    assert (grouped.high - grouped.low) > 2.5 * (alone.high - alone.low)


# --- coverage -------------------------------------------------------------------------------------------------------


def covered(ask: Callable[[np.random.Generator], Estimate], truth: float, repeats: int, seed: int = 0) -> float:
    rng = np.random.default_rng(seed)
    inside = 0
    for _ in range(repeats):
        found = ask(rng)
        inside += found.shortage is not None or (
            (found.low is None or found.low <= truth) and (found.high is None or truth <= found.high)
        )
    return inside / repeats


def accuracy_case(n: int, gain: float, loss: float) -> tuple[Callable[[np.random.Generator], Estimate], float]:
    def ask(rng: np.random.Generator) -> Estimate:
        gains, losses, same = rng.multinomial(n, [gain, loss, 1 - gain - loss])
        return compare(ACCURACY, *rows(gains, losses, same, 0))

    return ask, gain - loss


def f1_case(n: int, wrong: float, worse: float) -> tuple[Callable[[np.random.Generator], Estimate], float]:
    def made(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y = (rng.random(n) < 0.4).astype(int)
        a = np.where(rng.random(n) < wrong, 1 - y, y)
        return y, a, np.where(rng.random(n) < worse, 1 - a, a)

    y, a, b = made(np.random.default_rng(99), 2_000_000)
    truth = F1.value(y, b) - F1.value(y, a)
    return lambda rng: compare(F1, *made(rng, n), seed=int(rng.integers(1 << 30)), resamples=1000), truth


def ndcg_case(queries: int, noise: float) -> tuple[Callable[[np.random.Generator], Estimate], float]:
    def made(rng: np.random.Generator, queries: int) -> tuple[np.ndarray, ...]:
        n = queries * 10
        grades = rng.integers(0, 4, n)
        a = grades + rng.normal(0, 1.5, n)
        return (
            grades,
            a,
            a + rng.normal(0, noise, n) * (np.repeat(rng.random(queries), 10) < 0.4),
            np.repeat(np.arange(queries), 10),
        )

    y, a, b, q = made(np.random.default_rng(98), 100_000)
    truth = NDCG.value(y, b, q) - NDCG.value(y, a, q)
    return lambda rng: compare(NDCG, *made(rng, queries), seed=int(rng.integers(1 << 30)), resamples=1000), truth


@pytest.mark.parametrize(
    ("case", "least"),
    [
        (accuracy_case(200, 0.05, 0.05), 0.93),
        (accuracy_case(50, 0.01, 0.01), 0.93),
        (f1_case(300, 0.15, 0.1), 0.92),
        (ndcg_case(40, 3.0), 0.92),
        (ndcg_case(116, 3.0), 0.92),
    ],
)
def test_intervals_cover(case: tuple[Callable[[np.random.Generator], Estimate], float], least: float) -> None:
    """400 repeats: a method that covers 95 % falls below 92 % about once in 300 tries."""
    assert covered(*case, repeats=400) >= least


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 200, 1000])
@pytest.mark.parametrize(("gain", "loss"), [(0.01, 0.01), (0.05, 0.07), (0.2, 0.1)])
def test_accuracy_covers(n: int, gain: float, loss: float) -> None:
    share = covered(*accuracy_case(n, gain, loss), repeats=10_000)
    print(f"accuracy n={n} gain={gain} loss={loss}: {share:.4f}")
    assert share >= 0.935


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 300, 1000])
@pytest.mark.parametrize(("wrong", "worse"), [(0.05, 0.05), (0.2, 0.1)])
def test_f1_covers(n: int, wrong: float, worse: float) -> None:
    share = covered(*f1_case(n, wrong, worse), repeats=10_000)
    print(f"f1 n={n} wrong={wrong} worse={worse}: {share:.4f}")
    assert share >= 0.935


@pytest.mark.slow
@pytest.mark.parametrize("queries", [20, 35, 60, 116, 500])
@pytest.mark.parametrize("noise", [1.0, 4.0])
def test_ndcg_covers(queries: int, noise: float) -> None:
    share = covered(*ndcg_case(queries, noise), repeats=10_000)
    print(f"ndcg queries={queries} noise={noise}: {share:.4f}")
    assert share >= 0.935
