"""Exact e-values for counts that fall to the canary or to the champion: sample ratio, and bursts of faults.

Both are mixtures of binomial likelihood ratios, so they hold at any look and any n, from the first count on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

_PRIOR_UNITS = 1000.0  # weight of the prior of the sample-ratio test, in units
_BURST_PRIOR = 0.5  # both parameters of the Beta of the burst test: Jeffreys'


def sample_ratio_log_evidence(canary: npt.ArrayLike, champion: npt.ArrayLike, share: float) -> Array:
    """Log of the e-value against "each unit is a canary's with probability `share`", for counts of units.

    The Dirichlet-multinomial test of Lindon and Malek (2022, NeurIPS), for two arms; its prior is centred on `share`.
    """
    canary, champion = np.asarray(canary, float), np.asarray(champion, float)
    a, b = _PRIOR_UNITS * share, _PRIOR_UNITS * (1 - share)
    marginal = special.betaln(a + canary, b + champion) - special.betaln(a, b)
    found: Array = marginal - canary * np.log(share) - champion * np.log1p(-share)
    return found


def burst_log_evidence(canary: npt.ArrayLike, champion: npt.ArrayLike, share: float, *, ratio: float = 2.0) -> Array:
    """Log of the e-value against "the canary's fault rate is at most `ratio` times the champion's", from faulted units.

    Given that a unit met a fault, it is a canary's with probability at most p₀ = ratio·share / (ratio·share + 1 − share)
    (Przyborowski and Wilenski 1940). The mixture of likelihood ratios over a Beta(½, ½) cut to p > p₀ is a nonnegative
    supermartingale for every p ≤ p₀, because it rises with the number of the canary's faults.
    """
    k, h = np.asarray(canary, float), np.asarray(champion, float)
    p0 = ratio * share / (ratio * share + 1 - share)
    a = b = _BURST_PRIOR
    with np.errstate(divide="ignore"):
        inside = special.betaln(a + k, b + h) + np.log(special.betaincc(a + k, b + h, p0))
    prior = special.betaln(a, b) + np.log(special.betaincc(a, b, p0))
    found: Array = inside - prior - k * np.log(p0) - h * np.log1p(-p0)
    return found


def share_of_error(number: npt.ArrayLike) -> Array:
    """What test `number` = 1, 2, 3, … of a sequence without end may spend of one error: 6/π²/number², which sums to 1."""
    found: Array = 6 / np.pi**2 / np.asarray(number, float) ** 2
    return found
