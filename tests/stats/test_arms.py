"""Differences of two arms from bucket sums: against plain formulas, against statsmodels' clustered errors, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from holdfast.stats.arms import arm_difference

BUCKETS = 256


def bucket_sums(y: np.ndarray, unit: np.ndarray, arm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Totals and masses of shape (2, BUCKETS), and units of each arm."""
    flat = arm * BUCKETS + unit % BUCKETS
    total = np.bincount(flat, y, 2 * BUCKETS).reshape(2, BUCKETS)
    mass = np.bincount(flat, minlength=2 * BUCKETS).reshape(2, BUCKETS).astype(float)
    return total, mass, np.array([len(np.unique(unit[arm == a])) for a in (0, 1)], float)


def test_units_of_one_request_give_the_ordinary_formula() -> None:
    rng = np.random.default_rng(0)
    arm, y = np.repeat([0, 1], 128), rng.random(256)
    found = arm_difference(*bucket_sums(y, np.arange(256), arm))
    means = [y[arm == a].mean() for a in (0, 1)]
    spread = max(y[arm == a].var(ddof=1) for a in (0, 1))
    assert found.estimate == pytest.approx(means[1] - means[0])
    assert found.error == pytest.approx(np.sqrt(spread * 2 / 128))


def test_ratio_error_equals_the_clustered_one_of_statsmodels() -> None:
    """One arm's ratio is the weighted mean; its cluster-robust error with the same correction of the degrees of freedom."""
    rng = np.random.default_rng(1)
    unit = rng.integers(0, BUCKETS, 4000)
    y = rng.random(4000) + rng.random(BUCKETS)[unit]
    arm = np.ones(4000, int)
    both = np.r_[arm, 0 * arm], np.r_[unit, unit], np.r_[y, np.zeros(4000)]
    total, mass, units = bucket_sums(both[2], both[1], both[0])
    found = arm_difference(total, mass, units)
    fitted = sm.OLS(y, np.ones(4000)).fit(cov_type="cluster", cov_kwds={"groups": unit, "use_correction": False})
    b = len(np.unique(unit))
    assert np.sqrt(found.variance / units[1]) == pytest.approx(fitted.bse[0] * np.sqrt(b / (b - 1)), rel=1e-9)


def test_the_larger_variance_counts() -> None:
    rng = np.random.default_rng(2)
    arm = np.repeat([0, 1], 1000)
    y = np.where(arm == 1, rng.normal(0, 3, 2000), rng.normal(0, 1, 2000))
    found = arm_difference(*bucket_sums(y, np.arange(2000), arm))
    assert found.variance == pytest.approx(y[arm == 1].var(), rel=0.2)


def test_no_observed_variance_is_not_no_variance() -> None:
    arm = np.repeat([0, 1], 500)
    total, mass, units = bucket_sums(np.zeros(1000), np.arange(1000), arm)
    assert arm_difference(total, mass, units).error == 0
    floor = arm_difference(total, mass, units, bounded=True, margin=0.01)
    assert floor.error == pytest.approx(np.sqrt(0.01 * 0.99 * 2 / 500))


def test_a_margin_that_is_a_share_scales_the_champion() -> None:
    rng = np.random.default_rng(3)
    arm = np.repeat([0, 1], 1000)
    total, mass, units = bucket_sums(rng.random(2000), np.arange(2000), arm)
    found = arm_difference(total, mass, units, champion_scale=0.9)
    plain = arm_difference(total, mass, units)
    assert found.estimate == pytest.approx(plain.means[1] - 0.9 * plain.means[0])


def test_an_empty_arm_gives_no_number() -> None:
    total, mass, units = bucket_sums(np.ones(10), np.arange(10), np.zeros(10, int))
    found = arm_difference(total, mass, units)
    assert np.isnan(found.estimate)
    assert not found.error > 0


def test_many_looks_at_once_are_the_looks_one_by_one() -> None:
    rng = np.random.default_rng(5)
    total, mass = rng.random((4, 2, 8)), rng.integers(1, 9, (4, 2, 8)).astype(float)
    units = rng.integers(50, 90, (4, 2)).astype(float)
    together = arm_difference(total, mass, units)
    for look in range(4):
        alone = arm_difference(total[look], mass[look], units[look])
        assert alone.error == pytest.approx(together.error[look])


def coverage(runs: int, units: int, seed: int) -> float:
    """How often |z| < 1.96 for two equal arms of returning users (20 requests, ICC 0.3), by bucket sums."""
    rng = np.random.default_rng(seed)
    inside = 0
    for _ in range(runs):
        unit = np.repeat(np.arange(2 * units), 20)
        arm = (unit >= units).astype(int)
        shared = rng.random(2 * units)[unit] < 0.1
        y = np.where(rng.random(len(unit)) < np.sqrt(0.3), shared, rng.random(len(unit)) < 0.1).astype(float)
        found = arm_difference(*bucket_sums(y, unit * 7919, arm))
        inside += abs(found.estimate) < 1.96 * found.error
    return inside / runs


def test_requests_of_one_unit_are_not_independent() -> None:
    """A bucket is a cluster: the error holds for users who come back. The larger variance makes it a little wide."""
    assert 0.93 <= coverage(400, 400, 6) <= 0.995
