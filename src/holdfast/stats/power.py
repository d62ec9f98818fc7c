"""What a comparison can and cannot detect, before it is made.

A non-inferiority check passes when low ≥ −margin and fails when high < −margin, with low and high = estimate ± z·SE.
With a normal estimate everything below follows from the standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtr, ndtri

POWER = 0.80


@dataclass(frozen=True)
class Power:
    """The operating characteristics of one non-inferiority check.

    `detectable` is the smallest regression, as a positive number in the metric's unit, that fails with 80 %.
    """

    p_pass_if_equal: float
    p_fail_if_twice_margin: float
    detectable: float


def regression_power(standard_error: float, margin: float, confidence: float = 0.95) -> Power:
    """Power of a check with this standard error of candidate − champion and this tolerated regression.

    P(PASS | equal) = P(FAIL | worse by twice the margin) = Φ(margin/SE − z) as long as SE is the same in both
    worlds; a larger regression usually comes with more flips, so for the second give the SE of that world (see
    `flip_rate_variance`). Raises ValueError for an SE that is not positive: no observed variance is not no variance.
    """
    _check(margin, confidence)
    if not (math.isfinite(standard_error) and standard_error > 0):
        raise ValueError(f"expected a positive standard error, found {standard_error}")
    z = _z(confidence)
    reached = float(ndtr(margin / standard_error - z))
    return Power(reached, reached, margin + (z + float(ndtri(POWER))) * standard_error)


def flip_rate_variance(pfr: float, nfr: float, n: int) -> float:
    """Variance of an accuracy difference over `n` rows from its two flip rates: (PFR + NFR − Δ²)/n.

    PFR is the share of rows that only the candidate gets right, NFR that only the champion gets right, and
    Δ = PFR − NFR. Exact for independent rows. Raises ValueError for shares outside [0, 1] or a sum above 1.
    """
    if n < 1 or not (0 <= pfr <= 1 and 0 <= nfr <= 1 and pfr + nfr <= 1):
        raise ValueError(f"expected flip rates within [0, 1] and rows, found {pfr}, {nfr} and {n}")
    return (pfr + nfr - (pfr - nfr) ** 2) / n


def units_needed(sd_per_unit: float, margin: float, power: float = POWER, confidence: float = 0.95) -> int | None:
    """Units with which an equal candidate passes with probability `power`: ((z + z_power)·sd/margin)², rounded up.

    `sd_per_unit` is √n times the standard error of candidate − champion over n units. None where the margin is 0:
    no number of units shows that equal is not worse by nothing. Raises ValueError for a negative or infinite sd.
    """
    _check(margin, confidence)
    if not (math.isfinite(sd_per_unit) and sd_per_unit >= 0) or not 0 < power < 1:
        raise ValueError(f"expected a finite sd and a power within (0, 1), found {sd_per_unit} and {power}")
    if margin == 0:
        return None
    return max(1, math.ceil(((_z(confidence) + float(ndtri(power))) * sd_per_unit / margin) ** 2))


def _z(confidence: float) -> float:
    """The normal quantile of a two-sided interval."""
    return float(ndtri((1 + confidence) / 2))


def _check(margin: float, confidence: float) -> None:
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"expected a margin that is not negative, found {margin}")
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence within (0, 1), found {confidence}")
