"""A sample of units of bounded size that is the same whoever counted: by the units' own hashes.

At level j it holds the units whose hash begins with j zero bits; it climbs a level when it would outgrow its capacity (the
adaptive sampling of Wegman; Flajolet 1990). Below its capacity it holds every unit, so small numbers are exact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

CAPACITY = 1 << 15
LEVELS = 32


def levels_of(hashes: Hashes) -> npt.NDArray[np.int64]:
    """The highest level at which each unit is still in the sample: its leading zero bits, at most LEVELS − 1."""
    top = (hashes >> np.uint64(64 - LEVELS)).astype(np.float64)
    with np.errstate(divide="ignore"):
        zeros = LEVELS - 1 - np.floor(np.log2(top))
    return np.minimum(zeros, LEVELS - 1).astype(np.int64)


def level_for(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The level of samples that would hold `counts` units at level 0, 1, …, shape (..., LEVELS)."""
    fits = counts <= CAPACITY
    found: npt.NDArray[np.int64] = np.where(fits.any(axis=-1), fits.argmax(axis=-1), counts.shape[-1] - 1)
    return found
