"""Bursts of faults: an exact e-value inside each stretch of time, from units that met a fault there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.stats.assignment import burst_log_evidence, share_of_error

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RATIO = 2.0  # a burst is the canary's where its rate is more than this many times the champion's
LEAST_UNITS = 5


def burst_margins(
    seconds: Array,
    units: npt.NDArray[np.uint64],
    arms: npt.NDArray[np.int64],
    *,
    share: float,
    stretch: float,
    alpha: float,
) -> tuple[Array, Array]:
    """When faults came and the log e-value of their stretch then, less the threshold of that stretch.

    `seconds` are the faults' times since the step began; a unit counts once a stretch of `stretch` seconds. The error `alpha`
    is spent over all stretches, 6/π²/i² of it on the i-th; without error no margin is ever reached. Returns (seconds, margins),
    sorted by time.
    """
    number = np.floor(seconds / stretch).astype(np.int64)
    kept = first_of_stretch(seconds, units, number)
    number, canary = number[kept], arms[kept] == 1
    begins = np.searchsorted(number, number)  # of each stretch among the kept faults
    k = np.cumsum(canary) - (np.cumsum(canary) - canary)[begins]
    h = np.cumsum(~canary) - (np.cumsum(~canary) - ~canary)[begins]
    spent = np.log(alpha) if alpha > 0 else -np.inf
    margin = burst_log_evidence(k, h, share, ratio=RATIO) + spent + np.log(share_of_error(number + 1.0))
    return seconds[kept], np.where(k >= LEAST_UNITS, margin, -np.inf)


def first_of_stretch(times: npt.NDArray[Any], units: npt.NDArray[np.uint64], number: Ints) -> Ints:
    """The faults, by their places in the order of time, that are the first of their unit in their stretch `number`.

    Of faults at the same time the one that comes first counts.
    """
    order = np.argsort(times, kind="stable")
    by_unit = np.lexsort((units[order], number[order]))  # stable, so each unit's faults stay in the order of time
    stretches, names = number[order][by_unit], units[order][by_unit]
    first = np.ones(len(order), np.bool_)
    first[1:] = (stretches[1:] != stretches[:-1]) | (names[1:] != names[:-1])
    found: Ints = order[np.sort(by_unit[first])]
    return found
