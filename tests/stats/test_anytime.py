"""Confidence sequences: the mixture against its integral and published bounds, and crossing probabilities by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from holdfast.stats.anytime import SCALES, WEIGHTS, anytime_quantile, half_normal_log_evidence, mixture_log_evidence


@pytest.mark.parametrize(
    ("z", "information", "scale"), [(0.0, 10, 0.1), (2.5, 400, 0.05), (-1.0, 400, 0.05), (4.0, 1e6, 0.025)]
)
def test_evidence_is_the_mixture_by_its_definition(z: float, information: float, scale: float) -> None:
    """∫ exp(λS − λ²V/2) over a half-normal λ, by quadrature."""
    s = z * np.sqrt(information)

    def integrand(x: float) -> float:
        return float(np.exp(x * s - x**2 * information / 2) * 2 * stats.norm.pdf(x, scale=scale))

    peak = max(s / information, 0.0)
    width = 10 / np.sqrt(information + 1 / scale**2)
    whole = integrate.quad(integrand, 0, peak + width, points=[peak] if peak else None, limit=200)[0]
    assert half_normal_log_evidence(z, information, scale) == pytest.approx(np.log(whole), abs=1e-6)


@pytest.mark.parametrize("t", [100, 1_000, 10_000, 1_000_000])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_one_half_normal_is_inside_the_published_closed_form(t: int, alpha: float) -> None:
    """Waudby-Smith et al. (2024), the one-sided sequence: √(2(tρ²+1)/(t²ρ²) · log(1 + √(tρ²+1)/2α)) bounds ours from above."""
    rho = 0.025
    r = t * rho**2
    published = np.sqrt(2 * (r + 1) / (t**2 * rho**2) * np.log(1 + np.sqrt(r + 1) / (2 * alpha))) * np.sqrt(t)
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        above = half_normal_log_evidence(middle, t, rho) >= np.log(1 / alpha)
        low, high = (low, middle) if above else (middle, high)
    assert high <= published
    assert high == pytest.approx(published, rel=0.05)


@pytest.mark.parametrize("alpha", [0.05, 0.009, 0.0005])
def test_quantile_is_where_the_evidence_reaches_one_over_alpha(alpha: float) -> None:
    units = np.array([0.5, 7.0, 95.0, 1234.0, 1e5, 1e8])
    z = anytime_quantile(units, alpha)
    assert mixture_log_evidence(z, units) == pytest.approx(np.log(1 / alpha), abs=2e-3)
    assert np.all(np.diff(anytime_quantile(np.full(3, 500.0), alpha)) == 0)


def test_no_information_has_no_bound() -> None:
    assert anytime_quantile(0.0, 0.05) == np.inf
    assert sum(WEIGHTS) == pytest.approx(1)
    assert len(SCALES) == len(WEIGHTS)


def crossings(alpha: float, runs: int, looks: int, *, drift: float = 0.0, seed: int = 0) -> float:
    """The share of random walks, looked at from 100 to a million units, that ever cross."""
    units = np.exp(np.linspace(np.log(100), np.log(1e6), looks))
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((runs, looks)) * np.sqrt(np.diff(units, prepend=0)) + drift * np.diff(units, prepend=0)
    z = np.cumsum(steps, axis=1) / np.sqrt(units)
    return float(np.mean(np.any(z >= anytime_quantile(units, alpha), axis=1)))


def test_looking_often_does_not_inflate_the_error() -> None:
    assert crossings(0.05, 4000, 600) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
    assert crossings(0.05, 500, 600, drift=0.01) > 0.9


@pytest.mark.slow
def test_looking_often_does_not_inflate_the_error_at_length() -> None:
    """40,000 walks of 3,000 looks, seed 1."""
    found = np.mean([crossings(0.05, 2000, 3000, seed=seed) for seed in range(20)])
    print(f"crossed {found:.4f} of 40,000 walks at alpha 0.05")
    assert 0.035 <= found <= 0.05
