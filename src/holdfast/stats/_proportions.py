"""Intervals for proportions and for the difference of two proportions on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.special import betaincinv, ndtri

from holdfast.stats.interval import Bounds


def wilson(successes: int, n: int) -> Callable[[float], Bounds]:
    """Wilson's score interval of a proportion (Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4)."""

    def interval(confidence: float) -> Bounds:
        z = float(ndtri((1 + confidence) / 2))
        share, spread = successes / n, z * z / n
        centre = (share + spread / 2) / (1 + spread)
        half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
        return max(0.0, centre - half), min(1.0, centre + half)

    return interval


def tango(gains: int, losses: int, n: int) -> Callable[[float], Bounds]:
    """Tango's score interval for a difference of paired proportions (Tango 1998, Statistics in Medicine 17, 891–908).

    `gains` rows only the candidate gets right, `losses` only the champion, of `n`. Without any discordant row it is
    still ±z²/(n + z²), because no observed variance is not no variance.
    """

    def score(delta: float) -> float:
        a = 2 * n
        b = -gains - losses + (2 * n - gains + losses) * delta
        c = -losses * delta * (1 - delta)
        q = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        variance = n * (2 * q + delta * (1 - delta))
        distance = gains - losses - n * delta
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    def interval(confidence: float) -> Bounds:
        from scipy.optimize import brentq  # a third of a second to import

        z, here, edge = float(ndtri((1 + confidence) / 2)), (gains - losses) / n, 1 - 1e-12
        low = -1.0 if score(-edge) <= z else brentq(lambda d: score(d) - z, -edge, min(here, edge), xtol=1e-12)
        high = 1.0 if score(edge) >= -z else brentq(lambda d: score(d) + z, max(here, -edge), edge, xtol=1e-12)
        return float(low), float(high)

    return interval


def share_bounds(events: int, n: int, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson's exact interval of a share (1934)."""
    side = (1 - confidence) / 2
    low = 0.0 if events == 0 else float(betaincinv(events, n - events + 1, side))
    high = 1.0 if events == n else float(betaincinv(events + 1, n - events, 1 - side))
    return low, high
