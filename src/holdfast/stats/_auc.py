"""The area under the ROC curve by DeLong's method, in O(n log n)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from holdfast.stats.interval import Bounds

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """AUC and its structural components: of each positive row (m,), and of each negative row (n,)."""

    auc: float
    positive: Floats
    negative: Floats

    def minus(self, other: Components) -> Components:
        return Components(self.auc - other.auc, self.positive - other.positive, self.negative - other.negative)

    @property
    def variance(self) -> float:
        """DeLong, DeLong and Clarke-Pearson (1988), eq. 5 and 6; of a difference where these are differences."""
        m, n = len(self.positive), len(self.negative)
        return float(self.positive.var(ddof=1) / m + self.negative.var(ddof=1) / n)


def components(positive: npt.NDArray[np.bool_], scores: Floats) -> Components:
    """Structural components by midranks (Sun and Xu 2014); ValueError where a class is absent."""
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        raise ValueError("expected both classes among the labels, found only one")
    ranks = _midranks(scores)
    own_positive, own_negative = _midranks(scores[positive]), _midranks(scores[~positive])
    above = (ranks[positive] - own_positive) / n
    below = 1 - (ranks[~positive] - own_negative) / m
    return Components(float(above.mean()), above, below)


def _midranks(values: Floats) -> Floats:
    """Ranks from 1, the mean of theirs for equal values (n,)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def auc_influence(positive: npt.NDArray[np.bool_], found: Components) -> Floats:
    """Each row's share in the AUC, (rows,): for units with several rows (Obuchowski 1997)."""
    rows = len(positive)
    influence = np.empty(rows)
    influence[positive] = (found.positive - found.positive.mean()) * (rows / len(found.positive))
    influence[~positive] = (found.negative - found.negative.mean()) * (rows / len(found.negative))
    return influence


def logit_interval(found: Components) -> Callable[[float], Bounds]:
    """The interval of one AUC on the logit scale, which keeps it inside (0, 1) (Pepe 2003, §5.2.4)."""
    error = float(np.sqrt(found.variance))

    def interval(confidence: float) -> Bounds:
        z = float(ndtri((1 + confidence) / 2))
        centre = np.log(found.auc / (1 - found.auc))
        half = z * error / (found.auc * (1 - found.auc))
        return float(1 / (1 + np.exp(half - centre))), float(1 / (1 + np.exp(-half - centre)))

    return interval


def normal_interval(found: Components) -> Callable[[float], Bounds]:
    """The interval of a difference of two AUCs."""
    error = float(np.sqrt(found.variance))

    def interval(confidence: float) -> Bounds:
        half = float(ndtri((1 + confidence) / 2)) * error
        return found.auc - half, found.auc + half

    return interval
