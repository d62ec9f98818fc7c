"""How many rows a unit has, from a bounded sample of units, and what that makes of the sample size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.data.hashing import Hashes

KEPT = 65_536


class UnitSizes:
    """Exact row counts of the `KEPT` units with the smallest hashes: a uniform sample of units that merges exactly.

    A unit among the smallest of all is among the smallest of every part it occurs in, so none of its rows is missed
    (bottom-k sampling: Cohen and Kaplan 2007).
    """

    def __init__(self, hashes: Hashes | None = None, rows: npt.NDArray[np.int64] | None = None) -> None:
        self.hashes = np.empty(0, np.uint64) if hashes is None else hashes
        self.rows = np.empty(0, np.int64) if rows is None else rows

    def add(self, hashes: Hashes) -> None:
        """Count rows by the hash of their unit, (n,)."""
        if len(self.hashes) >= KEPT:
            hashes = hashes[hashes <= self.hashes[-1]]
        self._combine(*np.unique(hashes, return_counts=True))

    def merge(self, other: UnitSizes) -> UnitSizes:
        """The counts of both."""
        merged = UnitSizes(self.hashes, self.rows)
        merged._combine(other.hashes, other.rows)
        return merged

    @property
    def complete(self) -> bool:
        """Whether every unit was kept."""
        return len(self.hashes) < KEPT

    @property
    def units(self) -> int:
        """How many units there are; an estimate (± 0.4 %) beyond `KEPT` of them."""
        if self.complete:
            return len(self.hashes)
        return round((KEPT - 1) / (float(self.hashes[-1]) / 2.0**64))

    @property
    def design_effect(self) -> float:
        """Σm² / Σm over rows per unit m: the design effect of a column that is constant inside units (Kish 1965).

        The largest there can be for means and shares, so tests that use it are conservative; 1 for no units.
        """
        total = int(self.rows.sum())
        return float((self.rows.astype(np.float64) ** 2).sum() / total) if total else 1.0

    def to_json(self) -> dict[str, Any]:
        return {"units": self.units, "design_effect": self.design_effect}

    def _combine(self, hashes: Hashes, rows: npt.NDArray[np.int64]) -> None:
        both = np.concatenate([self.hashes, hashes])
        distinct, place = np.unique(both, return_inverse=True)
        totals = np.bincount(place, np.concatenate([self.rows, rows]), len(distinct)).astype(np.int64)
        self.hashes, self.rows = distinct[:KEPT], totals[:KEPT]
