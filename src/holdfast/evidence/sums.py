"""What a decision about a canary rests on: sums over hash buckets of units, and a few counts. Fixed size, and they add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

BUCKETS = 512
ARMS = 2  # the champion's first, then the canary's


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Σ value and Σ weight of the requests in each bucket, shape (..., 2, BUCKETS); both add over any split of requests.

    `missing` counts requests whose outcome should be there and is not; `within` says that every value lies in [0, 1].
    """

    total: Array
    mass: Array
    missing: Array | None = None
    within: bool = True

    def at(self, look: Any) -> Sums:
        """The sums of one look (or of a slice of them)."""
        missing = None if self.missing is None else self.missing[look]
        return Sums(total=self.total[look], mass=self.mass[look], missing=missing, within=self.within)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known of one step at one look, or at many: leading axes are looks.

    seconds   since the step began, shape (...)
    sums      by guardrail, over requests whose outcome is final
    units     of each arm, shape (..., 2); estimated from the sample where there are many
    sampled   units in the sample of each arm, shape (..., 2), at its `level`, shape (...)
    crossed   units of the sample that met both arms, shape (...)
    requests  of each arm, shape (..., 2)
    burst     the largest log e-value of a burst of the canary's faults, less its threshold, shape (...)
    open      by guardrail, requests too young to have an outcome, shape (..., 2)
    """

    seconds: Array
    sums: Mapping[str, Sums]
    units: Array
    sampled: Array
    level: npt.NDArray[np.int64]
    crossed: Array
    requests: Array
    burst: Array
    open: Mapping[str, Array] = field(default_factory=dict)

    def at(self, look: Any) -> Evidence:
        """The evidence of one look (or of a slice of them)."""
        return Evidence(
            seconds=self.seconds[look],
            sums={name: sums.at(look) for name, sums in self.sums.items()},
            units=self.units[look],
            sampled=self.sampled[look],
            level=self.level[look],
            crossed=self.crossed[look],
            requests=self.requests[look],
            burst=self.burst[look],
            open={name: counts[look] for name, counts in self.open.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Closed:
    """Units whose window has closed by one planned look, with what they did inside it: the evidence of a promotion.

    `sums` are by guardrail, shape (2, BUCKETS), `units` the number of units in each bucket, shape (2, BUCKETS). They add over
    any split of units.
    """

    seconds: float
    sums: Mapping[str, Sums]
    units: Array


def binned(look: npt.NDArray[np.int64], cell: npt.NDArray[np.int64], looks: int, weights: Array | None = None) -> Array:
    """Sums of `weights` (or counts) by look and cell (arm · BUCKETS + bucket), shape (looks, 2, BUCKETS)."""
    flat = look * (ARMS * BUCKETS) + cell
    sums = np.bincount(flat, weights, looks * ARMS * BUCKETS)
    return sums.astype(np.float64, copy=False).reshape(looks, ARMS, BUCKETS)
