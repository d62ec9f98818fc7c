"""Evidence that may be looked at at every moment: e-values and confidence sequences for a mean or a ratio over units.

The confidence sequence is the asymptotic one of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024, Annals of Statistics
52(6)) in its one-sided form: Robbins' (1970) mixture of exp(λS − λ²V/2) over a half-normal λ > 0 (Howard, Ramdas, McAuliffe
and Sekhon 2021, Annals of Statistics 49(2), section 3.3), here over two half-normals, so that it is sharp for small effects
late and for large ones early. Time is information: V = 1/se², counted in units' worth.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

# Standard deviations of the two half-normals, in standard deviations of one unit, and their weights.
SCALES = (0.025, 0.25)
WEIGHTS = (0.9, 0.1)
_GRID = np.linspace(-4.0, 22.0, 1041)  # log of the units' worth of information


def half_normal_log_evidence(z: npt.ArrayLike, information: npt.ArrayLike, scale: float) -> Array:
    """Log of ∫ exp(λS − λ²V/2) 2φ(λ/s)/s dλ over λ > 0, for z = S/√V, V = `information` and s = `scale`.

    = log 2(1+r)^(−1/2) exp(z² r / 2(1+r)) Φ(z √(r/(1+r))) with r = V s² (Howard et al. 2021, proposition 6).
    """
    z, r = np.asarray(z, float), np.asarray(information, float) * scale**2
    share = r / (1 + r)
    found: Array = np.log(2) - 0.5 * np.log1p(r) + 0.5 * z**2 * share + special.log_ndtr(z * np.sqrt(share))
    return found


def mixture_log_evidence(z: npt.ArrayLike, units: npt.ArrayLike) -> Array:
    """Log of the e-value against "no effect" after `units` units' worth of information, at standardised distance `z`.

    Under the null (drift ≤ 0) a nonnegative supermartingale that starts at 1, so the chance that it ever exceeds 1/α is at
    most α (Ville 1939).
    """
    parts = [
        np.log(weight) + half_normal_log_evidence(z, units, scale)
        for scale, weight in zip(SCALES, WEIGHTS, strict=True)
    ]
    found: Array = np.logaddexp(*parts)
    return found


def anytime_quantile(units: npt.ArrayLike, alpha: float) -> Array:
    """How many standard errors an estimate must lie beyond the null to exceed 1/`alpha` after `units` units' information.

    The half-width of the one-sided confidence sequence in standard errors; infinite where there is no information.
    """
    units = np.asarray(units, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.interp(np.log(units), _GRID, _quantiles(alpha), left=np.inf)
    return np.where(units > 0, found, np.inf)


@functools.lru_cache(maxsize=64)
def _quantiles(alpha: float) -> Array:
    """`anytime_quantile` on the grid, by bisection: the evidence rises with z."""
    units, wanted = np.exp(_GRID), np.log(1 / alpha)
    low, high = np.zeros_like(units), np.ones_like(units)
    while np.any(short := mixture_log_evidence(high, units) < wanted):
        high = np.where(short, high * 2, high)
    for _ in range(60):
        middle = (low + high) / 2
        above = mixture_log_evidence(middle, units) >= wanted
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return high
