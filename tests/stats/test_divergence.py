from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as sps

from holdfast.stats.divergence import Divergence, ks, psi

FLAT = np.full(10, 0.1)
ZIPF = (1 / np.arange(1, 41)) / (1 / np.arange(1, 41)).sum()
TABLES = [
    pytest.param(FLAT, 5000, 1000, id="10 bins, many rows"),
    pytest.param(FLAT, 200_000, 300, id="10 bins, large reference"),
    pytest.param(ZIPF, 400, 200, id="40 bins, few rows"),
    pytest.param(ZIPF, 50_000, 500, id="40 bins, rare ones"),
]


def undrifted(shares: np.ndarray, n: int, m: int, repeats: int, seed: int, **options: float) -> list[Divergence]:
    rng = np.random.default_rng(seed)
    pairs = zip(rng.multinomial(n, shares, repeats), rng.multinomial(m, shares, repeats), strict=True)
    return [psi(x, y, **options) for x, y in pairs]  # type: ignore[arg-type]


def test_value_is_the_textbook_formula() -> None:
    x, y = np.array([5000, 3000, 2000]), np.array([4000, 4000, 2000])
    p, q = (x + 0.5) / (x + 0.5).sum(), (y + 0.5) / (y + 0.5).sum()
    found = psi(x, y)
    assert found.value == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert found.value == pytest.approx(0.1 * np.log(5 / 4) + 0.1 * np.log(4 / 3), rel=1e-3)
    assert found.corrected == pytest.approx(found.value - 2 * (1 / 10_000 + 1 / 10_000))
    assert (found.n, found.m, found.method) == (10_000, 10_000, "PSI, χ²(2)")
    assert found.p_value < 1e-10


@pytest.mark.parametrize(("shares", "n", "m"), TABLES)
def test_false_alarms_and_expectation_without_drift(shares: np.ndarray, n: int, m: int) -> None:
    found = undrifted(shares, n, m, repeats=600, seed=4, draws=400)
    rate = np.mean([d.p_value <= 0.05 for d in found])
    assert rate <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)
    assert rate >= 0.02  # a test that never fires would pass the line above
    values, expected = np.array([d.value for d in found]), np.array([d.expected for d in found])
    assert values.mean() == pytest.approx(expected.mean(), rel=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(("shares", "n", "m"), TABLES)
def test_false_alarms_sweep(shares: np.ndarray, n: int, m: int, alpha: float) -> None:
    found = undrifted(shares, n, m, repeats=10_000, seed=5, draws=1000)
    rate = np.mean([d.p_value <= alpha for d in found])
    assert rate <= alpha + 3 * np.sqrt(alpha / 10_000) + 0.1 * alpha


def test_few_rows_in_many_bins_are_no_drift() -> None:
    """1,000 categories and 10,000 rows: PSI is above 0.1 whatever happens; corrected it is nothing."""
    rng = np.random.default_rng(6)
    x, y = (rng.multinomial(10_000, np.full(1000, 0.001)) for _ in range(2))
    found = psi(x, y)
    assert found.method == "PSI, permutation (2000 draws)"
    assert found.value > 0.1
    assert found.corrected < 0.02
    assert found.p_value > 0.01


def test_drift_is_found_by_both_references() -> None:
    moved = np.roll(ZIPF, 1)
    rng = np.random.default_rng(7)
    few = psi(rng.multinomial(400, ZIPF), rng.multinomial(200, moved))
    many = psi(rng.multinomial(400_000, ZIPF), rng.multinomial(200_000, moved))
    assert "permutation" in few.method
    assert "χ²" in many.method
    assert few.p_value < 1e-4
    assert many.p_value < 1e-4
    truth = ((moved - ZIPF) * np.log(moved / ZIPF)).sum()
    assert many.corrected == pytest.approx(truth, rel=0.02)


def test_the_tail_of_few_draws_reaches_below_what_counting_can() -> None:
    """Beside the share among 100,000 fresh pairs of tables of one distribution."""
    rng = np.random.default_rng(8)
    x, y = rng.multinomial(400, ZIPF, 100_000), rng.multinomial(200, ZIPF, 100_000)
    p, q = (x + 0.5) / (x + 0.5).sum(1, keepdims=True), (y + 0.5) / (y + 0.5).sum(1, keepdims=True)
    values = ((q - p) * np.log(q / p)).sum(1)
    for share in (1e-3, 1e-4):
        i = int(np.argmin(np.abs(values - np.quantile(values, 1 - share))))
        assert share / 8 < psi(x[i], y[i]).p_value < share * 8


def test_a_bin_that_one_table_lacks_is_finite_and_grows_with_the_evidence() -> None:
    small, large = psi([50, 0], [45, 5]), psi([50_000, 0], [45_000, 5_000])
    assert 0 < small.value < large.value < 5
    assert large.p_value < 1e-10


def test_bins_that_nobody_uses_change_nothing() -> None:
    assert psi([500, 300, 0, 0], [400, 400, 0, 0]) == psi([500, 300], [400, 400])


def test_one_bin_is_no_drift() -> None:
    assert psi([10, 0], [20, 0]) == Divergence(0.0, 0.0, 0.0, 1.0, 10, 20, "one bin")


def test_the_same_seed_gives_the_same_answer() -> None:
    assert psi([5, 3, 1], [2, 2, 4], seed=1) == psi([5, 3, 1], [2, 2, 4], seed=1)
    assert psi([5, 3, 1], [2, 2, 4], seed=1).p_value != psi([5, 3, 1], [2, 2, 4], seed=2).p_value


@pytest.mark.parametrize("users", [1000, 60])
def test_rows_of_one_user_are_one_observation(users: int) -> None:
    """20 equal rows a user: unaware tests fire nearly always, with the design effect at most as often as agreed."""
    rng = np.random.default_rng(9)
    pairs = [(20 * rng.multinomial(2 * users, FLAT), 20 * rng.multinomial(users, FLAT)) for _ in range(400)]
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean([psi(x, y).p_value <= 0.05 for x, y in pairs]) > 0.9
    assert np.mean([ks(x, y).p_value <= 0.05 for x, y in pairs]) > 0.9
    assert 0.01 < np.mean([psi(x, y, design_effect=20, draws=500).p_value <= 0.05 for x, y in pairs]) <= limit
    assert np.mean([ks(x, y, design_effect=20).p_value <= 0.05 for x, y in pairs]) <= limit


def test_ks_is_conservative_on_bins_and_near_the_continuous_test_on_many() -> None:
    rng = np.random.default_rng(10)
    binned, fires = [], {10: 0, 200: 0}
    for _ in range(600):
        x, y = rng.standard_normal(2000), rng.standard_normal(1000)
        full = sps.ks_2samp(x, y)
        for bins in fires:
            edges = np.concatenate([[-np.inf], np.quantile(x, np.linspace(0, 1, bins + 1)[1:-1]), [np.inf]])
            found = ks(np.histogram(x, edges)[0], np.histogram(y, edges)[0])
            assert found.value <= full.statistic + 1e-12
            assert found.p_value >= full.pvalue * 0.9
            fires[bins] += found.p_value <= 0.05
            if bins == 200:
                binned.append(found)
    assert fires[10] <= fires[200] <= 600 * (0.05 + 3 * np.sqrt(0.05 * 0.95 / 600))
    assert fires[200] > 600 * 0.02
    assert np.mean([d.value for d in binned]) == pytest.approx(binned[0].expected, rel=0.1)


def test_ks_of_a_known_shift() -> None:
    found = ks([5000, 5000], [4000, 6000])
    assert found.value == pytest.approx(0.1)
    assert found.corrected == pytest.approx(np.sqrt(0.01 - np.pi**2 / 12 * 2e-4))
    assert found.p_value < 1e-10
    assert ks([5, 5], [5, 5]).corrected == 0


@pytest.mark.parametrize(
    ("reference", "current", "design_effect", "message"),
    [
        ([1, 2], [1, 2, 3], 1, "over the same bins"),
        ([[1, 2]], [[1, 2]], 1, "over the same bins"),
        ([0, 0], [1, 2], 1, "an empty one"),
        ([1, 2], [0, 0], 1, "an empty one"),
        ([1, -2], [1, 2], 1, "not negative"),
        ([1, float("nan")], [1, 2], 1, "finite"),
        ([1, 2], [1, 2], 0.5, "design effect"),
        ([1, 2], [1, 2], float("nan"), "design effect"),
    ],
)
@pytest.mark.parametrize("distance", [psi, ks])
def test_what_is_no_table_of_counts_is_an_error(
    distance: object, reference: list[float], current: list[float], design_effect: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        distance(reference, current, design_effect=design_effect)  # type: ignore[operator]
