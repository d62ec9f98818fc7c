"""What is counted of a numeric, temporal or list-length column while a table streams by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.data._blocks import Block
from holdfast.data._grid import Grid
from holdfast.data._ranks import Counts, cell_counts


@dataclass
class NumberSummary:
    """Counts and moments of finite values; `against` holds exact counts between the edges of a reference.

    Counts, `minimum` and `maximum` merge exactly, `mean` and `m2` (the sum of squared deviations) to rounding
    (Chan, Golub and LeVeque 1979).
    """

    finite: int = 0
    nan: int = 0
    below: int = 0  # −∞
    above: int = 0  # +∞
    minimum: float | None = None
    maximum: float | None = None
    mean: float = 0.0
    m2: float = 0.0
    against: Counts | None = None

    @property
    def variance(self) -> float | None:
        """The sample variance of the finite values; None for fewer than two."""
        return self.m2 / (self.finite - 1) if self.finite > 1 else None

    @classmethod
    def of(cls, block: Block, reference: Grid | None) -> NumberSummary:
        """The summary of one block; exact whatever the order of its rows."""
        present, finite = block.present, block.finite
        against = cell_counts(finite, reference.edges) if reference is not None else None
        if len(finite) == len(present):
            nan = below = above = 0
        else:
            nan = int(np.isnan(present).sum())
            below, above = int((present == -np.inf).sum()), int((present == np.inf).sum())
        if len(finite) == 0:
            return cls(nan=nan, below=below, above=above, against=against)
        low, high = block.bounds if len(finite) == len(present) else (float(finite.min()), float(finite.max()))
        centre = float(finite.mean(dtype=np.float64))
        spread = finite - centre
        spread *= spread  # not np.dot, whose threads would spin on every core
        return cls(len(finite), nan, below, above, low, high, centre, float(spread.sum()), against)

    def merge(self, other: NumberSummary) -> NumberSummary:
        """The summary of both parts."""
        total = self.finite + other.finite
        step = other.mean - self.mean
        share = other.finite / total if total else 0.0
        return NumberSummary(
            finite=total,
            nan=self.nan + other.nan,
            below=self.below + other.below,
            above=self.above + other.above,
            minimum=_known(min, self.minimum, other.minimum),
            maximum=_known(max, self.maximum, other.maximum),
            mean=self.mean + step * share,
            m2=self.m2 + other.m2 + step * step * self.finite * share,
            against=None if self.against is None or other.against is None else self.against + other.against,
        )

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "finite": self.finite, "nan": self.nan, "minus_infinity": self.below, "plus_infinity": self.above,
            "min": self.minimum, "max": self.maximum, "mean": _finite(self.mean), "m2": _finite(self.m2),
        }  # fmt: skip
        if self.against is not None:
            document["against"] = self.against.tolist()
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> NumberSummary:
        against = document.get("against")
        return cls(
            finite=document["finite"],
            nan=document["nan"],
            below=document["minus_infinity"],
            above=document["plus_infinity"],
            minimum=document["min"],
            maximum=document["max"],
            mean=float("nan") if document["mean"] is None else document["mean"],
            m2=float("nan") if document["m2"] is None else document["m2"],
            against=None if against is None else np.array(against, np.int64),
        )


def _known(choose: Any, one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return choose(known) if known else None


def _finite(value: float) -> float | None:
    """JSON has no infinity: squares of values near 1e300 have no finite sum."""
    return value if np.isfinite(value) else None
