"""Which units met which arm, look by look: the sample as it was at every look."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from holdfast.evidence.contributions import CHUNK
from holdfast.evidence.frame import Span
from holdfast.evidence.rows import Rows
from holdfast.evidence.sample import LEVELS, Hashes, UnitCounts, UnitSample, at_level, levels_of, unit_counts
from holdfast.evidence.sums import ARMS

Ints = npt.NDArray[np.int64]


def meet(sample: UnitSample, rows: Rows, span: Span) -> tuple[UnitSample, UnitCounts]:
    """The sample with the units of `rows`, which are in the order of time, and what it was at every look of `span`."""
    met, crossed = np.zeros((span.looks, ARMS, LEVELS), np.int64), np.zeros((span.looks, LEVELS), np.int64)
    begin = sample.level
    met[0], crossed[0] = sample.by_level()
    start = 0
    while start < len(rows):
        stop = start + (CHUNK << sample.level)  # about CHUNK of them are of units in the sample
        places = start + np.flatnonzero(at_level(rows.unit[start:stop], sample.level))
        sampled, start = rows.take(places), stop
        new = [_first_meetings(sample, sampled, arm, span) for arm in range(ARMS)]
        for arm, (units, looks, _) in enumerate(new):
            np.add.at(met[:, arm], (looks, levels_of(units)), 1)
        units, looks = _crossings(*new)
        np.add.at(crossed, (looks, levels_of(units)), 1)
        for arm, (units, _, _) in enumerate(new):
            sample = sample.with_units(units, np.full(len(units), 1 << arm, np.uint8))
    return sample, unit_counts(met.cumsum(axis=0), crossed.cumsum(axis=0), begin, sample.capacity)


Meetings = tuple[Hashes, Ints, npt.NDArray[np.bool_]]


def _first_meetings(sample: UnitSample, rows: Rows, arm: int, span: Span) -> Meetings:
    """Units that meet this arm for the first time, at which look, and whether the sample knows them from the other one."""
    mine = np.flatnonzero(rows.arm == arm)
    units, first = np.unique(rows.unit[mine], return_index=True)
    known = sample.known(units)
    new = known & (1 << arm) == 0
    return units[new], span.look_of(rows.micros[mine[first[new]]]), known[new] > 0


def _crossings(champion: Meetings, canary: Meetings) -> tuple[Hashes, Ints]:
    """Units that have met both arms now, and at which look."""
    _, a, b = np.intersect1d(champion[0], canary[0], assume_unique=True, return_indices=True)
    units = [champion[0][champion[2]], canary[0][canary[2]], champion[0][a]]
    looks = [champion[1][champion[2]], canary[1][canary[2]], np.maximum(champion[1][a], canary[1][b])]
    return np.concatenate(units), np.concatenate(looks)
