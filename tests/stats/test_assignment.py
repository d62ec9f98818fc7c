"""Exact e-values: against other formulas, their expectation under the null summed exactly, and false alarms by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from holdfast.stats.assignment import burst_log_evidence, sample_ratio_log_evidence, share_of_error


@pytest.mark.parametrize(
    ("canary", "champion", "share"), [(0, 0, 0.05), (3, 40, 0.05), (70, 930, 0.05), (480, 520, 0.5)]
)
def test_sample_ratio_is_the_ratio_of_dirichlet_multinomial_to_multinomial(
    canary: int, champion: int, share: float
) -> None:
    n = canary + champion
    mixture = (
        stats.dirichlet_multinomial.logpmf([canary, champion], [1000 * share, 1000 * (1 - share)], n) if n else 0.0
    )
    null = stats.binom.logpmf(canary, n, share)
    assert sample_ratio_log_evidence(canary, champion, share) == pytest.approx(mixture - null, abs=1e-8)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_sample_ratio_has_expectation_one_under_the_null(share: float) -> None:
    k = np.arange(2001)
    log_weight = stats.binom.logpmf(k, 2000, share)
    assert np.sum(np.exp(log_weight + sample_ratio_log_evidence(k, 2000 - k, share))) == pytest.approx(1, abs=1e-6)


def test_sample_ratio_sees_a_broken_assignment() -> None:
    assert sample_ratio_log_evidence(500, 9500, 0.05) < 0
    assert sample_ratio_log_evidence(650, 9350, 0.05) > np.log(1000)


def false_alarms(runs: int, seed: int) -> float:
    """The share of runs, looked at at 60 moments from 100 units to 50,000, that ever exceed 1,000 with nothing wrong."""
    rng = np.random.default_rng(seed)
    units = np.unique(np.geomspace(100, 50_000, 60).astype(int))
    canary = np.cumsum(rng.binomial(np.diff(units, prepend=0), 0.05, (runs, len(units))), axis=1)
    found = sample_ratio_log_evidence(canary, units - canary, 0.05)
    return float(np.mean(np.any(found >= np.log(1000), axis=1)))


def test_few_false_alarms() -> None:
    assert false_alarms(4000, 0) <= 0.003


@pytest.mark.slow
def test_false_alarms_of_20000_runs() -> None:
    found = false_alarms(20_000, 1)
    print(f"sample-ratio false alarms: {found:.4%} of 20,000 runs at alpha 0.001")
    assert found <= 0.001


@pytest.mark.parametrize(("share", "ratio"), [(0.05, 2.0), (0.01, 2.0), (0.5, 1.0)])
def test_burst_has_expectation_at_most_one_under_every_null(share: float, ratio: float) -> None:
    """Exactly one at the border, less inside: the composite null is kept."""
    border = ratio * share / (ratio * share + 1 - share)
    k = np.arange(61)
    evidence = np.exp(burst_log_evidence(k, 60 - k, share, ratio=ratio))
    assert np.sum(stats.binom.pmf(k, 60, border) * evidence) == pytest.approx(1, abs=1e-9)
    for p in (0.2 * border, 0.7 * border):
        assert np.sum(stats.binom.pmf(k, 60, p) * evidence) < 1


def test_burst_rises_with_the_canarys_faults_and_falls_with_the_champions() -> None:
    found = burst_log_evidence(np.arange(20), 5, 0.05)
    assert np.all(np.diff(found) > 0)
    assert burst_log_evidence(8, 100, 0.05) < burst_log_evidence(8, 10, 0.05)
    assert burst_log_evidence(10, 0, 0.05) > np.log(1e6)


def test_shares_of_an_error_add_up_to_it() -> None:
    assert np.sum(share_of_error(np.arange(1, 1_000_001))) == pytest.approx(1, abs=1e-5)
