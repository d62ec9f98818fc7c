"""How far one column of a table is from the reference's, as PSI and KS with their sampling errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.data._categories import Categories
from holdfast.data._grid import Grid
from holdfast.data._numbers import NumberSummary
from holdfast.data.profile import ColumnProfile
from holdfast.stats.divergence import Divergence, ks, psi

Floats = npt.NDArray[np.float64]

TOP = 50  # categories that have a bin of their own; the others share one
SHOWN = 20  # bins in a report


@dataclass(frozen=True)
class Distance:
    """PSI, and KS where the column is ordered; `bins` are shares for a chart."""

    psi: Divergence
    ks: Divergence | None
    bins: tuple[Mapping[str, Any], ...]


def distance(reference: ColumnProfile, current: ColumnProfile, design_effect: float) -> Distance | None:
    """The distance of two profiles of a column; None where one has no rows or was not counted in the other's bins."""
    counted = _counts(reference, current)
    if counted is None:
        return None
    labels, x, y, ordered = counted
    if x.sum() == 0 or y.sum() == 0:
        return None
    weight = _weight_of_sample(reference, design_effect)
    between = psi(x * weight, y, design_effect=design_effect)
    beside = None
    if ordered is not None and ordered[0].sum() > 0 and ordered[1].sum() > 0:
        beside = ks(ordered[0] * weight, ordered[1], design_effect=design_effect)
    return Distance(between, beside, _series(labels, x / x.sum(), y / y.sum()))


def _weight_of_sample(reference: ColumnProfile, design_effect: float) -> float:
    """What to weigh the reference's rows with, when its shares were read from a sample of its rows.

    With N rows of which s were sampled, Var of a share ∝ deff/N + (1/s − 1/N), the second term being the sample's own
    error; 1 when all rows were counted.
    """
    sampled, of = _sampled(reference)
    if not 0 < sampled < of:
        return 1.0
    return (design_effect / of) / (design_effect / of + 1 / sampled - 1 / of)


def _sampled(reference: ColumnProfile) -> tuple[int, int]:
    if isinstance(reference.baseline, Categories):
        return reference.baseline.rows, reference.rows - reference.nulls
    if isinstance(reference.baseline, Grid) and reference.numbers is not None:
        return reference.baseline.total, reference.numbers.finite
    return 0, 0


_Counted = tuple[list[str], Floats, Floats, tuple[Floats, Floats] | None]


def _counts(reference: ColumnProfile, current: ColumnProfile) -> _Counted | None:
    nulls = np.array([reference.nulls]), np.array([current.nulls])
    if reference.kind != current.kind and "null" not in (reference.type, current.type):
        return None
    if reference.kind == current.kind and reference.numbers is not None and current.numbers is not None:
        return _number_counts(reference, reference.numbers, current, current.numbers, nulls)
    if reference.kind == current.kind == "categorical":
        return _category_counts(reference, current, nulls)
    present = reference.rows - reference.nulls, current.rows - current.nulls
    return ["present", "null"], _joined([present[0]], nulls[0]), _joined([present[1]], nulls[1]), None


def _number_counts(
    reference: ColumnProfile, one: NumberSummary, current: ColumnProfile, two: NumberSummary, nulls: tuple[Any, Any]
) -> _Counted | None:
    grid = reference.baseline
    odd = [np.array([n.nan, n.below, n.above]) for n in (one, two)]
    labels = ["NaN", "−∞", "∞", "null"]
    if not isinstance(grid, Grid):  # the reference has no finite value at all
        ends = [_joined([n.finite], strange, null) for n, strange, null in zip((one, two), odd, nulls, strict=True)]
        return None if one.finite else (["a number", *labels], ends[0], ends[1], None)
    if two.against is None or current.mark != grid.mark:
        return None
    groups = grid.psi_groups()
    x = grid.counts * (one.finite / max(1, grid.total))
    cells = (x, two.against.astype(np.float64))
    bins = [np.bincount(groups, values, groups.max() + 1) for values in cells]
    ordered = [_joined([n.below], values, [n.above]) for n, values in zip((one, two), cells, strict=True)]
    return (
        [*_names(grid, groups), *labels],
        _joined(bins[0], odd[0], nulls[0]),
        _joined(bins[1], odd[1], nulls[1]),
        (ordered[0], ordered[1]),
    )


def _category_counts(reference: ColumnProfile, current: ColumnProfile, nulls: tuple[Any, Any]) -> _Counted | None:
    known, counted = reference.baseline, current.categories
    if not isinstance(known, Categories) or counted is None or counted.against is None or current.mark != known.mark:
        return None
    present = reference.rows - reference.nulls
    x = known.counts * (present / max(1, known.rows))
    y = counted.against[:-1].astype(np.float64)
    # Chosen by both tables together: values chosen for a high count in one of them would seem to fall in the other.
    top = np.argsort(-(x + y), kind="stable")[:TOP]
    others = max(0.0, present - x[top].sum()), counted.against.sum() - y[top].sum()
    return (
        [*(known.values[place] for place in top), "other", "null"],
        _joined(x[top], [others[0]], nulls[0]),
        _joined(y[top], [others[1]], nulls[1]),
        None,
    )


def _joined(*parts: Any) -> Floats:
    return np.concatenate([np.asarray(part, np.float64) for part in parts])


def _names(grid: Grid, groups: npt.NDArray[np.intp]) -> list[str]:
    """A label for each PSI bin: a point as `= 3`, else its end as `≤ 4.5`, `> 9` for the last."""
    names = []
    for group in range(int(groups.max()) + 1):
        cells = np.flatnonzero(groups == group)
        last = int(cells[-1])
        if len(cells) == 1 and last % 2 == 1:
            names.append(f"= {grid.edges[last // 2]:.6g}")
        elif last == len(groups) - 1:
            names.append(f"> {grid.edges[max(0, (int(cells[0]) - 1) // 2)]:.6g}")
        else:
            names.append(f"{'≤' if last % 2 else '<'} {grid.edges[last // 2]:.6g}")
    return names


def _series(labels: list[str], p: Floats, q: Floats) -> tuple[Mapping[str, Any], ...]:
    shown = sorted(np.argsort(-(p + q), kind="stable")[:SHOWN].tolist())
    return tuple(
        {"bin": labels[i], "reference": float(p[i]), "current": float(q[i])} for i in shown if p[i] > 0 or q[i] > 0
    )
