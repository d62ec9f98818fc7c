"""A sample of units of bounded size that is the same whoever counted: by the units' own hashes.

At level j it holds the units whose hash begins with j zero bits; it climbs a level when it would outgrow its capacity (the
adaptive sampling of Wegman; Flajolet 1990). Below its capacity it holds every unit, so small numbers are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Bits = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

CAPACITY = 1 << 15
LEVELS = 32
CHAMPION_MET, CANARY_MET, BOTH_MET = 1, 2, 3


def levels_of(hashes: Hashes) -> npt.NDArray[np.int64]:
    """The highest level at which each unit is still in the sample: its leading zero bits, at most LEVELS − 1."""
    top = (hashes >> np.uint64(64 - LEVELS)).astype(np.float64)
    with np.errstate(divide="ignore"):
        zeros = LEVELS - 1 - np.floor(np.log2(top))
    found: Ints = np.minimum(zeros, LEVELS - 1).astype(np.int64)
    return found


def level_for(counts: npt.NDArray[np.float64], capacity: int = CAPACITY) -> npt.NDArray[np.int64]:
    """The level of samples that would hold `counts` units at level 0, 1, …, shape (..., LEVELS)."""
    fits = counts <= capacity
    found: npt.NDArray[np.int64] = np.where(fits.any(axis=-1), fits.argmax(axis=-1), counts.shape[-1] - 1)
    return found


def at_level(hashes: Hashes, level: int) -> npt.NDArray[np.bool_]:
    """Which units are in a sample of this level, (n,)."""
    found: npt.NDArray[np.bool_] = hashes < np.uint64(1 << (64 - level)) if level else np.ones(len(hashes), np.bool_)
    return found


@dataclass(frozen=True, eq=False)
class UnitSample:
    """The sampled units, (k,), sorted by hash, and which arms each has met: 1 the champion, 2 the canary, 3 both.

    At most `capacity` units (but at the last level, which no real number of units reaches). 9 bytes a unit.
    """

    hashes: Hashes
    arms: Bits
    level: int = 0
    capacity: int = CAPACITY

    @classmethod
    def empty(cls, capacity: int = CAPACITY) -> Self:
        return cls(np.empty(0, np.uint64), np.empty(0, np.uint8), 0, capacity)

    def __len__(self) -> int:
        return len(self.hashes)

    def known(self, hashes: Hashes) -> Bits:
        """Which arms each of these units has met as far as the sample knows, (n,); 0 where it does not know the unit."""
        if not len(self.hashes):
            return np.zeros(len(hashes), np.uint8)
        places = np.searchsorted(self.hashes, hashes)
        there = self.hashes.take(places, mode="clip") == hashes
        return np.where(there, self.arms.take(places, mode="clip"), np.uint8(0))

    def with_units(self, hashes: Hashes, arms: Bits) -> UnitSample:
        """Also with these units, (n,), in any order and any number of times; `arms` are 1, 2 or 3."""
        kept = at_level(hashes, self.level)
        if not kept.any():
            return self
        units, bits = _united(np.concatenate([self.hashes, hashes[kept]]), np.concatenate([self.arms, arms[kept]]))
        level = self.level
        while len(units) > self.capacity and level < LEVELS - 1:
            level += 1
            inside = int(np.searchsorted(units, np.uint64(1 << (64 - level))))
            units, bits = units[:inside], bits[:inside]
        return UnitSample(units.copy(), bits.copy(), level, self.capacity)

    def merged(self, other: UnitSample) -> UnitSample:
        """The sample of all units of both; in whatever order samples are merged, the result is the same."""
        high, low = (self, other) if self.level >= other.level else (other, self)
        return high.with_units(low.hashes, low.arms)

    def by_level(self) -> tuple[Ints, Ints]:
        """Units that met each arm by their highest level, (2, LEVELS), and of those the ones that met both, (LEVELS,)."""
        levels = levels_of(self.hashes)
        met = [np.bincount(levels[(self.arms & bit) > 0], minlength=LEVELS) for bit in (CHAMPION_MET, CANARY_MET)]
        return np.stack(met), np.bincount(levels[self.arms == BOTH_MET], minlength=LEVELS)

    def counts(self) -> UnitCounts:
        """What the sample says at one look, with an axis of one look."""
        met, crossed = self.by_level()
        return unit_counts(met[None], crossed[None], self.level, self.capacity)


@dataclass(frozen=True)
class UnitCounts:
    """What samples say at many looks: units of each arm in the sample, (..., 2), its level and those that met both, (...)."""

    sampled: npt.NDArray[np.float64]
    level: Ints
    crossed: npt.NDArray[np.float64]

    @property
    def units(self) -> npt.NDArray[np.float64]:
        """Units of each arm, estimated where the sample holds only a part of them, (..., 2)."""
        return self.sampled * 2.0 ** self.level[..., None]


def unit_counts(met: Ints, crossed: Ints, begin: int, capacity: int = CAPACITY) -> UnitCounts:
    """From units by their highest level, (..., 2, LEVELS) and (..., LEVELS); the sample had reached the level `begin` before.

    A unit that met both arms takes one place in the sample and counts in both arms.
    """
    beyond = met[..., ::-1].cumsum(axis=-1)[..., ::-1].astype(np.float64)  # units at each level or above
    both = crossed[..., ::-1].cumsum(axis=-1)[..., ::-1].astype(np.float64)
    held = beyond.sum(axis=-2) - both
    held[..., :begin] = np.inf
    level = level_for(held, capacity)
    sampled = np.take_along_axis(beyond, level[..., None, None], axis=-1)[..., 0]
    return UnitCounts(sampled, level, np.take_along_axis(both, level[..., None], axis=-1)[..., 0])


def _united(hashes: Hashes, arms: Bits) -> tuple[Hashes, Bits]:
    """Each unit once, sorted, with all the arms it met."""
    order = np.argsort(hashes, kind="stable")
    hashes, arms = hashes[order], arms[order]
    begins = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    return hashes[begins], np.bitwise_or.reduceat(arms, begins)
