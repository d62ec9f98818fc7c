"""Which units and which slices carry a loss between two sets of predictions. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.gates.evidence import Array, Rows
from holdfast.stats import Metric
from holdfast.stats.goodness import unit_goodness

SHOWN_UNITS = 6
SHOWN_SLICES = 3


@dataclass(frozen=True)
class Carriers:
    """Where a loss comes from.

    `rows` (k,) are the first rows of the units that lost most, `before` and `after` (k,) how well each model did there;
    `slices` the slices with the largest shares of the whole loss: (name, share of the loss, share of the units).
    """

    rows: npt.NDArray[np.int64]
    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]
    slices: tuple[tuple[str, float, float], ...]
    lost: int
    units: int

    def to_json(self) -> dict[str, Any]:
        slices = [{"slice": name, "share_of_loss": loss, "share_of_units": units} for name, loss, units in self.slices]
        return {"units_that_lost": self.lost, "units": self.units, "slices": slices}


def carriers(metric: Metric, rows: Rows, before: Array, after: Array) -> Carriers:
    """Trace the loss from `before` to `after` (predictions, (n,) or (n, K)) to its units and slices."""
    first, old = unit_goodness(metric, rows.labels, before, rows.groups)
    _, new = unit_goodness(metric, rows.labels, after, rows.groups)
    loss = old - new
    worst = np.argsort(-loss, kind="stable")[:SHOWN_UNITS]
    worst = worst[loss[worst] > 0]
    return Carriers(
        rows=first[worst],
        before=old[worst],
        after=new[worst],
        slices=_slices(rows.slices, first, loss),
        lost=int((loss > 0).sum()),
        units=len(loss),
    )


def _slices(
    columns: Mapping[str, Array], first: npt.NDArray[np.int64], loss: npt.NDArray[np.float64]
) -> tuple[tuple[str, float, float], ...]:
    """The slices whose share of the net loss exceeds their share of the units, the largest first."""
    total = float(loss.sum())
    if total <= 0:
        return ()
    found = []
    for name, values in columns.items():
        names, codes = np.unique(values[first].astype(str), return_inverse=True)
        carried = np.bincount(codes, weights=loss, minlength=len(names)) / total
        units = np.bincount(codes, minlength=len(names)) / len(first)
        found += [(f"{name} = {n}", float(c), float(u)) for n, c, u in zip(names, carried, units, strict=True) if c > u]
    return tuple(sorted(found, key=lambda item: -item[1])[:SHOWN_SLICES])
