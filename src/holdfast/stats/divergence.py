"""How far two tables of counts are apart, and how far they would be apart by chance.

Both distances are positive without any drift, so each comes with the value to expect then, the value corrected for
it, and the probability of so large a value when nothing has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

HALF_A_ROW = 0.5  # Jeffreys' prior: what is added to every bin of both tables
ENOUGH_PER_BIN = 10.0  # smallest expected count with which the χ² reference is used
_EXCEEDANCES = 20  # fewer draws at or beyond the value than this: the tail is read from a fitted curve
_HYPERGEOMETRIC_LIMIT = 10**9  # numpy draws no larger populations


@dataclass(frozen=True)
class Divergence:
    """A distance between a reference and a current table, with its sampling error.

    `value` is as measured, `expected` its mean when both come from one distribution, `corrected` what is left
    without it (never below 0), `p_value` the probability of a value as large by chance. `n` and `m` are the rows of
    the reference and the current table as counted, before any design effect.
    """

    value: float
    expected: float
    corrected: float
    p_value: float
    n: int
    m: int
    method: str


def psi(
    reference_counts: ArrayLike,
    current_counts: ArrayLike,
    *,
    design_effect: float = 1.0,
    seed: int = 0,
    draws: int = 2000,
) -> Divergence:
    """Population stability index Σ (q − p) ln(q / p) of two tables of counts over the same bins.

    Counts have shape (bins,). They are divided by `design_effect` (1 + (rows per unit − 1) × correlation inside a
    unit), so that twenty equal rows of one user are one observation. Half a row is added to every bin that is
    occupied in either table (Jeffreys' prior), which keeps an empty bin finite in proportion to the evidence.

    Without drift PSI has mean about (B − 1)(1/n + 1/m) and follows χ²(B − 1) · (1/n + 1/m) (Yurdakul 2018).
    Where a bin expects fewer than 10 rows that is too conservative to notice anything, and the reference is drawn
    instead: rows are dealt anew to the two tables, `draws` times (multivariate hypergeometric; with a design effect
    two multinomials of the effective sizes). Raises ValueError for counts that are negative, not finite, of unequal
    shape, or an empty table.
    """
    reference, current = _pair_of_counts(reference_counts, current_counts, design_effect)
    n, m = reference.sum(), current.sum()
    occupied = reference + current > 0
    x, y = reference[occupied] / design_effect, current[occupied] / design_effect
    value = float(_index(x, y))
    if len(x) == 1:
        return Divergence(0.0, 0.0, 0.0, 1.0, int(n), int(m), "one bin")
    smallest = ((x + y) / (x + y).sum()).min() * min(x.sum(), y.sum())
    if smallest >= ENOUGH_PER_BIN:
        spread = 1 / x.sum() + 1 / y.sum()
        expected, p_value = float((len(x) - 1) * spread), float(special.chdtrc(len(x) - 1, value / spread))
        method = f"PSI, χ²({len(x) - 1})"
    else:
        drawn = _index(*_deal(x, y, np.random.default_rng(seed), draws, exact=design_effect == 1))
        expected, p_value = float(drawn.mean()), _tail(drawn, value)
        method = f"PSI, permutation ({draws} draws)"
    return Divergence(value, expected, max(0.0, value - expected), p_value, int(n), int(m), method)


def ks(reference_counts: ArrayLike, current_counts: ArrayLike, *, design_effect: float = 1.0) -> Divergence:
    """Kolmogorov–Smirnov distance max |F − G| at the upper edges of ordered bins.

    Counts have shape (bins,), in the order of the edges; between edges the distance can only be larger, so the
    p-value of the continuous distribution (Kolmogorov's asymptotic law with n·m/(n + m) rows) is conservative.
    `corrected` is √(D² − E D²), with E D² = π²/12 · (1/n + 1/m) without drift. `design_effect` and errors as in `psi`.
    """
    reference, current = _pair_of_counts(reference_counts, current_counts, design_effect)
    n, m = reference.sum(), current.sum()
    value = float(np.abs(np.cumsum(reference) / n - np.cumsum(current) / m).max())
    spread = float(design_effect * (1 / n + 1 / m))
    p_value = float(special.kolmogorov(value / np.sqrt(spread)))
    expected = float(np.sqrt(np.pi / 2) * np.log(2) * np.sqrt(spread))
    corrected = float(np.sqrt(max(0.0, value**2 - np.pi**2 / 12 * spread)))
    return Divergence(value, expected, corrected, p_value, int(n), int(m), "KS at the reference's edges")


def _pair_of_counts(reference: ArrayLike, current: ArrayLike, design_effect: float) -> tuple[Floats, Floats]:
    x, y = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected two tables of counts over the same bins, found shapes {x.shape} and {y.shape}")
    for counts in (x, y):
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise ValueError("expected counts that are finite and not negative")
        if counts.sum() == 0:
            raise ValueError("expected rows in both tables, found an empty one")
    if not (np.isfinite(design_effect) and design_effect >= 1):
        raise ValueError(f"expected a design effect of at least 1, found {design_effect}")
    return x, y


def _index(reference: Floats, current: Floats) -> Any:
    """PSI over the last axis, half a row added to every bin."""
    p, q = reference + HALF_A_ROW, current + HALF_A_ROW
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    return ((q - p) * np.log(q / p)).sum(axis=-1)


def _deal(x: Floats, y: Floats, rng: np.random.Generator, draws: int, *, exact: bool) -> tuple[Floats, Floats]:
    """Pairs of tables, each of shape (draws, bins), as they come out when both have one distribution."""
    pooled = x + y
    whole = exact and float(pooled.sum()) < _HYPERGEOMETRIC_LIMIT and bool((x % 1 == 0).all() and (y % 1 == 0).all())
    if whole:
        counts = pooled.astype(np.int64)
        first = rng.multivariate_hypergeometric(counts, int(x.sum()), size=draws, method="marginals")
        return first.astype(np.float64), (counts - first).astype(np.float64)
    sizes = [max(1, round(table.sum())) for table in (x, y)]
    first, second = (rng.multinomial(size, pooled / pooled.sum(), size=draws) for size in sizes)
    return first.astype(np.float64), second.astype(np.float64)


def _tail(drawn: Floats, value: float) -> float:
    """P(a draw ≥ value): counted, or beyond the last draws from a Pearson type III curve with their first moments.

    Counting alone cannot go below 1/(draws + 1), and many columns watched every hour are tested at far less
    (Mielke and Berry 2007).
    """
    beyond = int((drawn >= value - 1e-12).sum())
    counted = (beyond + 1) / (len(drawn) + 1)
    spread = float(drawn.std())
    if beyond >= _EXCEEDANCES or spread == 0:
        return counted
    from scipy import stats as sps  # a second to import, and seldom needed

    skew = float(sps.skew(drawn))
    return float(min(counted, sps.pearson3.sf(value, skew, loc=drawn.mean(), scale=spread)))
