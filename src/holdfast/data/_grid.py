"""The bins in which a numeric column is compared: edges at the reference's quantiles, points of much mass apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.data._ranks import Counts, Floats, cell_counts

QUANTILES = 199
PSI_BINS = 10
_POINT = 0.5 / PSI_BINS  # a single value with this share of the mass is a bin of its own


@dataclass(frozen=True)
class Grid:
    """Edges (E,) of a column and the counts (2E + 1,) of the values they were made from, in `cell_counts` order."""

    edges: Floats
    counts: Counts

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @property
    def mark(self) -> str:
        """Names these edges: counts between them carry it."""
        return hashlib.sha256(self.edges.tobytes()).hexdigest()[:16]

    def psi_groups(self) -> npt.NDArray[np.intp]:
        """The PSI bin of each cell, (2E + 1,): about `PSI_BINS` bins of equal mass, heavy points apart."""
        shares = self.counts / max(1, self.total)
        groups = np.empty(len(shares), np.intp)
        group, mass, free = 0, 0.0, True  # free: nothing is in the current group yet
        for cell, share in enumerate(shares):
            point = cell % 2 == 1 and share >= _POINT
            if not free and (point or mass >= 1 / PSI_BINS - 1e-9):
                group, mass = group + 1, 0.0
            groups[cell], mass, free = group, mass + share, False
            if point:
                group, mass, free = group + 1, 0.0, True
        return groups

    def to_json(self) -> dict[str, Any]:
        return {"edges": self.edges.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Grid:
        return cls(np.array(document["edges"], np.float64), np.array(document["counts"], np.int64))


def make_grid(values: Floats) -> Grid | None:
    """A grid of finite `values` (n,): all distinct ones where they are few, else 199 quantiles; None for no values."""
    if len(values) == 0:
        return None
    ordered = np.sort(values)
    distinct = ordered[np.concatenate([[True], np.diff(ordered) > 0])]
    if len(distinct) > QUANTILES:
        shares = np.arange(1, QUANTILES + 1) / (QUANTILES + 1)
        distinct = np.unique(ordered[np.ceil(shares * len(ordered)).astype(np.int64) - 1])
    return Grid(distinct, cell_counts(ordered, distinct))


def quantile(grid: Grid, share: float) -> float:
    """About the value below which `share` of the column lies, from the grid."""
    upper = np.append(np.repeat(grid.edges, 2), grid.edges[-1])
    place = np.searchsorted(np.cumsum(grid.counts), share * grid.total, "left")
    return float(upper[min(int(place), len(upper) - 1)])
