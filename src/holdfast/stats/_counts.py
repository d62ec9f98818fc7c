"""Metrics of the confusion matrix, resampled as counts: a few cells instead of a hundred thousand rows.

Drawing rows with replacement and counting cells label × champion × candidate is a multinomial draw over the observed
cells; the distribution is the same, and it does not grow with the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from holdfast.stats._proportions import share_bounds
from holdfast.stats.interval import Bounds

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Score = Literal["f1", "precision", "recall", "f1_weighted", "f1_macro", "accuracy"]


@dataclass(frozen=True)
class Cells:
    """The observed cells: class numbers (c,) of label, champion and candidate, and the rows in each, (c,)."""

    label: Ints
    champion: Ints
    candidate: Ints
    counts: Ints
    classes: int


def cells_of(label: Ints, champion: Ints, candidate: Ints, classes: int) -> Cells:
    """Count the cells of rows with these class numbers (n,)."""
    codes = (label * classes + champion) * classes + candidate
    if classes**3 <= 4096:
        totals = np.bincount(codes, minlength=classes**3)
        unique = np.flatnonzero(totals)
        counts = totals[unique]
    else:
        unique, counts = np.unique(codes, return_counts=True)
    return Cells(unique // classes**2, unique // classes % classes, unique % classes, counts, classes)


def score_counts(score: Score, label: Ints, predicted: Ints, counts: Floats, classes: int, keep: Ints) -> Floats:
    """The metric of each row of `counts` (r, c), where a cell is (label, predicted); `keep` are the classes that count.

    For the binary scores class 1 is the positive one. A score without any row to divide by is 0, as scikit-learn has it.
    """
    hit = label == predicted
    true, said, right = (_totals(counts, of, classes) for of in (label, predicted, np.where(hit, label, classes)))
    if score == "accuracy":
        return np.asarray(right.sum(axis=1) / counts.sum(axis=1))
    if score == "precision":
        return _ratio(right[:, 1], said[:, 1])
    if score == "recall":
        return _ratio(right[:, 1], true[:, 1])
    if score == "f1":
        return _ratio(2 * right[:, 1], true[:, 1] + said[:, 1])
    f1 = _ratio(2 * right[:, keep], true[:, keep] + said[:, keep])
    if score == "f1_macro":
        return np.asarray(f1.mean(axis=1))
    return np.asarray((f1 * true[:, keep]).sum(axis=1) / true[:, keep].sum(axis=1))


def _totals(counts: Floats, of: Ints, classes: int) -> Floats:
    """Counts summed by class, (r, classes); class number `classes` is dropped."""
    indicator = np.zeros((len(of), classes + 1))
    indicator[np.arange(len(of)), of] = 1
    return np.asarray(counts @ indicator[:, :classes])


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part, dtype=float), where=whole > 0))


def draw(cells: Cells, rng: np.random.Generator, resamples: int, *, stratified: bool) -> Floats:
    """Resampled counts (r, c): one multinomial over all cells or, `stratified`, one inside each true class."""
    if not stratified:
        n = int(cells.counts.sum())
        return rng.multinomial(n, cells.counts / n, size=resamples).astype(np.float64)
    drawn = np.empty((resamples, len(cells.counts)))
    for which in np.unique(cells.label):
        inside = np.flatnonzero(cells.label == which)
        n = int(cells.counts[inside].sum())
        drawn[:, inside] = rng.multinomial(n, cells.counts[inside] / n, size=resamples)
    return drawn


def bca_interval(value: float, drawn: Floats, left_out: Floats, weights: Ints) -> Callable[[float], Bounds]:
    """Bias-corrected and accelerated interval (Efron 1987; Efron and Tibshirani 1993, §14.3).

    `drawn` (r,) are resampled values, `left_out` (c,) the value without one row of each cell, `weights` (c,) the rows of
    the cells. Ties at the value count half, because counts are discrete.
    """
    ordered = np.sort(drawn)
    below = (np.searchsorted(ordered, value, "left") + np.searchsorted(ordered, value, "right")) / 2
    bias = float(ndtri(np.clip(below / len(drawn), 1 / len(drawn), 1 - 1 / len(drawn))))
    centre = np.average(left_out, weights=weights)
    second = float(np.sum(weights * (centre - left_out) ** 2))
    acceleration = float(np.sum(weights * (centre - left_out) ** 3)) / (6 * second**1.5) if second > 0 else 0.0

    def level(side: float) -> float:
        z = bias + float(ndtri(side))
        return float(ndtr(bias + z / max(1e-9, 1 - acceleration * z)))

    def interval(confidence: float) -> Bounds:
        side = (1 - confidence) / 2
        low = np.quantile(ordered, level(side), method="lower")
        high = np.quantile(ordered, level(1 - side), method="higher")
        return float(low), float(high)

    return interval


def event_interval(
    value: float, events: int, n: int, largest: float, limits: tuple[float, float]
) -> Callable[[float], Bounds]:
    """Bounds where fewer than 10 rows carry all the news: exact bounds on their share times what a row can move.

    `largest` is the largest change of the metric that one row can make, times n, and
    `limits` what the metric can be at all.
    """

    def interval(confidence: float) -> Bounds:
        share = events / n
        reach = (share_bounds(events, n, confidence)[1] - share) * largest
        return max(limits[0], value - reach), min(limits[1], value + reach)

    return interval


def largest_change(value_of: Callable[[Ints, Ints, Floats], Any], cells: Cells, which: Ints) -> float:
    """n times the largest change of the metric when one row of any cell is predicted as another class."""
    counts = cells.counts.astype(np.float64)
    base = float(value_of(cells.label, which, counts[None, :])[0])
    biggest = 0.0
    for cell in range(len(counts)):
        less = counts.copy()
        less[cell] -= 1
        label, said = np.r_[cells.label, cells.label[cell]], np.r_[which, 0]
        for other in range(cells.classes):
            said[-1] = other
            biggest = max(biggest, abs(float(value_of(label, said, np.r_[less, 1.0][None, :])[0]) - base))
    return biggest * float(counts.sum())
