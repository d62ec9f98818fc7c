"""A test at a few planned looks: boundaries that spend one error over all of them.

Kim and DeMets (1987, Biometrika 74) for the spending; the recursive integration of Armitage, McPherson and Rowe (1969) as in
Jennison and Turnbull (2000), chapter 19.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

_POINTS = 800  # cells of the score's distribution
_WIDE = 8.0  # standard deviations that the grid reaches


def group_sequential_bounds(information: Sequence[float], alpha: float, *, power: float = 1.0) -> list[float]:
    """The standardised boundary at each planned look, one-sided level `alpha` over all of them.

    `information` is what each look holds, rising, in any unit. The error spent up to fraction t of the last is α·t^`power`.
    """
    fractions = _fractions(information)
    spent = [alpha * t**power for t in fractions]
    bounds: list[float] = []
    score: tuple[Array, Array] | None = None
    before, used = 0.0, 0.0
    for t, budget in zip(fractions, spent, strict=True):
        bound = float(special.ndtri(1 - budget)) if score is None else _bound(score, before, t, budget - used)
        score = _survivors(score, before, t, bound)
        bounds.append(bound)
        before, used = t, budget
    return bounds


def crossing_probability(information: Sequence[float], bounds: Sequence[float], drift: float) -> list[float]:
    """The chance to have crossed `bounds` by each look, for an effect of `drift` standard errors at the last look."""
    crossed: list[float] = []
    score: tuple[Array, Array] | None = None
    before = 0.0
    for t, bound in zip(_fractions(information), bounds, strict=True):
        score = _survivors(score, before, t, bound, drift)
        crossed.append(1.0 - float(np.sum(score[1])))
        before = t
    return crossed


def _fractions(information: Sequence[float]) -> list[float]:
    if any(b <= a for a, b in zip([0.0, *information], information, strict=False)):
        raise ValueError("expected information that rises from look to look")
    return [value / information[-1] for value in information]


def _survivors(
    score: tuple[Array, Array] | None, before: float, now: float, bound: float, drift: float = 0.0
) -> tuple[Array, Array]:
    """Points and weights of the score √t·Z at `now` among those that have never crossed; the score's drift is `drift`·t."""
    centre, reach = drift * now, _WIDE * np.sqrt(now)
    top = min(bound * np.sqrt(now), centre + reach)
    edges = np.linspace(min(centre - reach, top - reach), top, _POINTS + 1)
    shift, sd = drift * (now - before), np.sqrt(now - before)
    if score is None:
        weights = np.diff(special.ndtr((edges - shift) / sd))
    else:
        points, density = score
        weights = density @ np.diff(special.ndtr((edges[None, :] - points[:, None] - shift) / sd), axis=1)
    return (edges[:-1] + edges[1:]) / 2, np.asarray(weights, float)


def _bound(score: tuple[Array, Array], before: float, now: float, spend: float) -> float:
    """The boundary at `now` that the score crosses for the first time with probability `spend`; infinite for nothing."""
    if spend <= 0:
        return float("inf")
    points, density = score
    sd = np.sqrt(now - before)
    low, high = -10.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        crossing = float(density @ special.ndtr((points - middle * np.sqrt(now)) / sd))
        low, high = (middle, high) if crossing > spend else (low, middle)
    return high
