"""Two arms of an experiment from sums over hash buckets of units: means per request, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CHAMPION, CANARY = 0, 1
SCARCE_EVENTS = 10


@dataclass(frozen=True)
class ArmDifference:
    """Canary − champion of Σ total / Σ mass at every look, shape (...,); NaN where an arm is empty.

    `error` is the standard error of `estimate`; `means` has shape (..., 2); `variance` is one unit's, the larger of the two
    arms' (infinitely many units would leave an error of 0).
    """

    estimate: Array
    error: Array
    means: Array
    variance: Array


def arm_difference(
    total: Array, mass: Array, units: Array, *, champion_scale: float = 1.0, bounded: bool = False, margin: float = 0.0
) -> ArmDifference:
    """The difference of two ratios, with a variance that is robust to what the requests of one unit share.

    `total` and `mass` are sums over the requests of each hash bucket of units, shape (..., 2, buckets); `units` counts units,
    shape (..., 2). A bucket is a cluster: units fall into buckets at random, so buckets are independent whatever happens
    inside one. The variance of a ratio is the delta method's, Σ(y_b − R m_b)² / M² · B/(B−1) over the occupied buckets (Cochran
    1977, section 6.3; for clusters Deng, Knoblich and Lu 2018, KDD).

    The champion's mean is multiplied by `champion_scale` first (for a margin that is a share of it). `bounded` says that values
    lie in [0, 1]: below 10 events the variance is then at least the null's, p₀(1 − p₀) a unit with p₀ = champion's mean +
    `margin`, as a score test has it, because no observed variance is not no variance.
    """
    whole = mass.sum(axis=-1)
    occupied = (mass > 0).sum(axis=-1)
    scale = np.array([champion_scale, 1.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = total.sum(axis=-1) / whole
        residual = total - ratio[..., None] * mass
        squares = np.einsum("...b,...b->...", residual, residual)
        own = squares / whole**2 * occupied / (occupied - 1.0) * units
        means = ratio * scale
        variance = np.max(own * scale**2, axis=-1)
        if bounded:
            variance = np.maximum(variance, _score_variance(ratio, whole, margin))
        error = np.sqrt(variance * (1 / units).sum(axis=-1))
        estimate = means[..., CANARY] - means[..., CHAMPION]
    return ArmDifference(estimate, error, means, variance)


def unit_variance(total: Array, mass: Array, units: float) -> tuple[float, float]:
    """Σ total / Σ mass of one arm from its buckets, and the variance of one unit, as in `arm_difference`; NaN where empty."""
    both = arm_difference(np.stack([total, total]), np.stack([mass, mass]), np.array([units, units], float))
    return float(both.means[CHAMPION]), float(both.variance)


def _score_variance(ratio: Array, whole: Array, margin: float) -> Array:
    """The null's variance of one unit where the canary has fewer than 10 events or non-events; 0 elsewhere."""
    events = ratio[..., CANARY] * whole[..., CANARY]
    scarce = np.minimum(events, whole[..., CANARY] - events) < SCARCE_EVENTS
    least = 1 / np.maximum(whole.max(axis=-1), 2.0)
    null = np.clip(ratio[..., CHAMPION] + margin, least, 1 - least)
    found: Array = np.where(scarce, null * (1 - null), 0.0)
    return found
