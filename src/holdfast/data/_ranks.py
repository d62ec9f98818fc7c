"""How many values lie below each edge, exactly, without sorting the values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_CELLS = 1 << 14
_SORTED = 4096  # fewer values are sorted outright
_NARROW = 1 << 16  # integers of a smaller range are counted one by one


def cell_counts(values: npt.NDArray[Any], edges: Floats) -> Counts:
    """Counts of `values` (n,), all finite, in the 2E + 1 cells of sorted, distinct `edges` (E,).

    The cells are (−∞, e₀), {e₀}, (e₀, e₁), {e₁}, …, (e₋₁, ∞): a point that holds much of the mass has a cell of its
    own, so constant columns and integers are told apart exactly.
    """
    if len(values) == 0:
        return np.zeros(2 * len(edges) + 1, np.int64)
    below, upto = _ranks(values, edges)
    ranks = np.empty(2 * len(edges), np.int64)
    ranks[0::2], ranks[1::2] = below, upto
    return np.diff(ranks, prepend=0, append=len(values))


def _ranks(values: npt.NDArray[Any], edges: Floats) -> tuple[Counts, Counts]:
    """For each edge the number of values < edge and ≤ edge."""
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        if high - low < _NARROW:
            return _ranks_of_integers(values, low, edges)
    floats = values.astype(np.float64, copy=False)
    width = edges[-1] - edges[0]
    scale = (_CELLS - 3) / width if width > 0 else 0.0
    if len(values) < _SORTED or not np.isfinite(width) or not 0 < scale < np.inf:
        return _ranks_by_sorting(floats, edges)
    return _ranks_by_grid(floats, edges, scale)


def _ranks_by_sorting(values: Floats, edges: Floats) -> tuple[Counts, Counts]:
    ordered = np.sort(values)
    return np.searchsorted(ordered, edges, "left"), np.searchsorted(ordered, edges, "right")


def _ranks_of_integers(values: npt.NDArray[Any], low: int, edges: Floats) -> tuple[Counts, Counts]:
    wide = values if values.dtype.itemsize == 8 else values.astype(np.int64)  # int8 has no room for a difference
    counted = np.bincount((wide - wide.dtype.type(low)).astype(np.int64))
    present = np.flatnonzero(counted)
    total = np.concatenate([[0], np.cumsum(counted[present])])
    distinct = (present + low).astype(np.float64)
    return total[np.searchsorted(distinct, edges, "left")], total[np.searchsorted(distinct, edges, "right")]


def _ranks_by_grid(values: Floats, edges: Floats, scale: float) -> tuple[Counts, Counts]:
    """Count on a fine even grid; only values that share a grid cell with an edge are sorted.

    Exact because the map to grid cells never decreases: what lies in an earlier cell than an edge is smaller.
    """
    cells, marks = _to_grid(values, edges[0], scale), _to_grid(edges, edges[0], scale)
    close = np.zeros(_CELLS, bool)
    close[marks] = True
    counted = np.bincount(cells, minlength=_CELLS)
    far = np.where(close, 0, counted).cumsum()[marks]  # in cells before the edge's own, without the close ones
    ordered = np.sort(values[close[cells]])
    below, upto = np.searchsorted(ordered, edges, "left"), np.searchsorted(ordered, edges, "right")
    return far + below, far + upto


def _to_grid(values: Floats, low: float, scale: float) -> npt.NDArray[np.intp]:
    places = values * scale
    places += 1.0 - low * scale
    np.clip(places, 0, _CELLS - 1, out=places)
    return places.astype(np.intp)
