"""Intervals of a quantile, as of the latency that 99 of 100 calls stay below, and of two models' difference in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from holdfast.stats.interval import Estimate, measured

Floats = NDArray[np.float64]

MIN_BLOCKS = 30
MIN_CALLS = 3000
_MAX_GROUPS = 60  # adjacent blocks are merged down to this many: short blocks depend on their neighbours
_MAX_SHIFTS = 4000  # tried in an inversion; more than all that matter at p99 of 3,000 calls
_CHUNK = 1000


def calls_needed(q: float, confidence: float = 0.95) -> int:
    """Calls without which a two-sided interval of the quantile `q` from order statistics does not exist."""
    return math.ceil(math.log((1 - confidence) / 2) / math.log(max(q, 1 - q)))


def quantile_interval(values: ArrayLike, q: float, confidence: float = 0.95) -> Estimate:
    """Distribution-free interval of a quantile from order statistics (David and Nagaraja 2003, §7.1).

    `values` has shape (calls,). The value is the smallest observation with at least a share `q` at or below it. Each
    bound misses with probability at most (1 − confidence)/2 when the calls are independent; a bound that does not
    exist is None, and `shortage` says how many calls it takes. Raises ValueError for no or not finite values.
    """
    ordered = np.sort(_finite(values, dimensions=1))
    _check(q, confidence)
    n = len(ordered)
    ranks = np.arange(n)
    up_to = special.betainc(n - ranks, ranks + 1, 1 - q)  # P(Bin(n, q) ≤ rank)
    beyond = special.betainc(ranks + 1, n - ranks, q)

    def interval(confidence: float) -> tuple[float | None, float | None]:
        side = (1 - confidence) / 2
        below = int(np.searchsorted(up_to, side, side="right"))  # ranks l with P(Bin < l) ≤ side
        above = int(np.searchsorted(-beyond, -side, side="left"))  # first u − 1 with P(Bin ≥ u) ≤ side
        return (float(ordered[below - 1]) if below else None), (float(ordered[above]) if above < n else None)

    needed = calls_needed(q, confidence)
    shortage = None if n >= needed else f"{n} calls are too few for an interval of the {_name(q)}: it takes {needed}."
    return measured(
        _quantile(ordered, q),
        interval,
        confidence,
        method="order statistics",
        unit="call",
        n=n,
        shortage=shortage,
    )


def compare_quantiles(
    champion_blocks: ArrayLike,
    candidate_blocks: ArrayLike,
    q: float,
    confidence: float = 0.95,
    seed: int = 0,
    *,
    relative: bool = True,
) -> Estimate:
    """The candidate's quantile less the champion's, from calls that alternate in blocks.

    Both have shape (blocks, calls), and block i of the one was timed beside block i of the other. With `relative` the
    difference is a share of the champion's quantile. The interval holds every shift of the candidate's calls (on the
    log scale where relative) that a paired test of exceedances does not reject; its unit is the pair of blocks, so
    calls that depend on their neighbours do no harm. Fewer than 30 blocks or 3,000 calls give a `shortage`. Nothing
    here is random; `seed` is taken so that all comparisons are called alike. Raises ValueError for values that are not
    finite or, where relative, not positive.
    """
    del seed
    champion, candidate = (_finite(blocks, dimensions=2) for blocks in (champion_blocks, candidate_blocks))
    _check(q, confidence)
    if champion.shape != candidate.shape:
        raise ValueError(f"expected as many calls of both, found {champion.shape} and {candidate.shape}")
    if relative and min(champion.min(), candidate.min()) <= 0:
        raise ValueError("expected positive times")
    before, after = _quantile(champion, q), _quantile(candidate, q)
    value = after / before - 1 if relative else after - before
    shortage = _block_shortage(champion)
    common: dict[str, Any] = {
        "method": "paired exceedances of blocks",
        "unit": "call",
        "n": champion.size,
        "shortage": shortage,
        "scale": "relative" if relative else "absolute",
        "details": {"blocks": len(champion), "champion": before, "candidate": after},
    }
    if shortage is not None:
        return measured(value, lambda _: (None, None), confidence, **common)
    if relative:
        champion, candidate = np.log(champion), np.log(candidate)
    found = _invert(champion, candidate, q)

    def interval(confidence: float) -> tuple[float | None, float | None]:
        low, high = (math.expm1(bound) if relative and bound < 700 else bound for bound in found.bounds(confidence))
        return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)

    return measured(value, interval, confidence, **common)


def _block_shortage(blocks: Floats) -> str | None:
    if len(blocks) >= MIN_BLOCKS and blocks.size >= MIN_CALLS:
        return None
    return (
        f"{blocks.size:,} calls in {len(blocks)} blocks are too few to compare two models: "
        f"it takes {MIN_CALLS:,} calls in {MIN_BLOCKS} blocks."
    )


@dataclass(frozen=True)
class _Inversion:
    """A test of every shift between two models: `statistic[i]` belongs to the shifts edges[i] … edges[i + 1].

    The statistic falls as the shift grows and is t-distributed with `freedom` degrees at the true shift.
    """

    edges: Floats
    statistic: Floats
    freedom: int

    def bounds(self, confidence: float) -> tuple[float, float]:
        """The smallest and the largest shift that is not rejected; infinite where none is rejected on that side."""
        critical = float(special.stdtrit(self.freedom, (1 + confidence) / 2))
        low = int(np.argmax(self.statistic < critical))
        high = len(self.statistic) - 1 - int(np.argmax(self.statistic[::-1] > -critical))
        return float(self.edges[low]), float(self.edges[high + 1])


def _invert(champion: Floats, candidate: Floats, q: float) -> _Inversion:
    """Test every shift of the candidate's calls against the champion's by their exceedances, pair by pair of blocks.

    At the true shift both models exceed their common quantile equally often, so the differences of the counts of
    exceedances in pairs of neighbouring blocks have mean 0, whatever slowed the machine meanwhile; their t-statistic
    is compared with Student's law. Only the slowest calls can exceed, so only they are looked at.
    """
    groups = min(len(champion), _MAX_GROUPS)
    exceeding = 2 * champion.size - _rank(2 * champion.size, q)
    (x, x_group), (y, y_group) = (
        _slowest(blocks, round(1.5 * exceeding) + 1, groups) for blocks in (champion, candidate)
    )
    shifts = np.unique(np.subtract.outer(y, x))
    if len(shifts) > _MAX_SHIFTS:
        shifts = shifts[np.linspace(0, len(shifts) - 1, _MAX_SHIFTS).round().astype(int)]
    edges = np.concatenate([[-np.inf], shifts, [np.inf]])
    tried = np.concatenate([[shifts[0] - 1], (shifts[:-1] + shifts[1:]) / 2, [shifts[-1] + 1]])
    side = np.zeros((len(x) + len(y), groups))
    side[np.arange(len(x)), x_group] = -1
    side[len(x) + np.arange(len(y)), y_group] = 1
    parts = [
        _t_statistic(x, y, part, exceeding, side) for part in np.array_split(tried, math.ceil(len(tried) / _CHUNK))
    ]
    return _Inversion(edges, np.concatenate(parts), groups - 1)


def _t_statistic(x: Floats, y: Floats, shifts: Floats, exceeding: int, side: Floats) -> Floats:
    """Student's t of the differences of exceedances, of shape (shifts,).

    The common quantile is itself estimated, from the sum of all exceedances. Where the two densities around it differ,
    with ρ = (g − f)/(g + f), that moves the mean difference by −ρ times the error of the sum (the delta method);
    so the variance is that of difference − ρ · sum.
    """
    calls = np.concatenate([np.broadcast_to(x, (len(shifts), len(x))), y - shifts[:, None]], axis=1)
    above, common, below = (_largest(calls, round(share * exceeding)) for share in (0.5, 1, 1.5))
    exceeds = (calls > common).astype(np.float64)
    difference, total = exceeds @ side, exceeds @ np.abs(side)
    around = ((calls > below) & (calls <= above)) @ side.sum(axis=1)
    rho = around / np.maximum(1, ((calls > below) & (calls <= above)).sum(axis=1))
    mean = difference.mean(axis=1)
    error = (difference - rho[:, None] * total).std(axis=1, ddof=1) / math.sqrt(side.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean == 0, 0.0, mean / error)


def _largest(calls: Floats, exceeding: int) -> Floats:
    """In each row the value that `exceeding` others exceed, of shape (rows, 1)."""
    place = max(0, calls.shape[1] - 1 - exceeding)
    return np.partition(calls, place, axis=1)[:, [place]]


def _slowest(blocks: Floats, count: int, groups: int) -> tuple[Floats, NDArray[np.int64]]:
    """The `count` largest values and the group of adjacent blocks that each stands in."""
    values = blocks.ravel()
    slowest = np.argpartition(values, max(0, values.size - count))[-count:]
    return values[slowest], (slowest // blocks.shape[1]) * groups // len(blocks)


def _rank(n: int, q: float) -> int:
    """How many of `n` values stand at or below the sample quantile: n·q rounded up, but for rounding errors."""
    return min(n, max(1, math.ceil(n * q - 1e-9)))


def _quantile(values: Floats, q: float) -> float:
    place = _rank(values.size, q) - 1
    return float(np.partition(values.ravel(), place)[place])


def _name(q: float) -> str:
    return f"p{100 * q:g}"


def _finite(values: ArrayLike, *, dimensions: int) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != dimensions or found.size == 0:
        raise ValueError(f"expected values in {dimensions} dimension(s), found the shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError("expected finite values")
    return found


def _check(q: float, confidence: float) -> None:
    if not (0 < q < 1 and 0 < confidence < 1):
        raise ValueError(f"expected a quantile and a confidence within (0, 1), found {q} and {confidence}")
