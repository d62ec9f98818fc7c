"""What requests contribute to a measure: a value and a weight each, and what became of their outcomes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.errors import UserError
from holdfast.evidence.firsts import NEVER, First
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.measures import Measure
from holdfast.evidence.rows import Rows

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

MICROS = 1_000_000
CHUNK = 1 << 17  # rows looked at together, so that what is made of them stays in the processor's cache


@dataclass(frozen=True, eq=False)
class Contribution:
    """Of each request, (n,): its value (0 where it has no weight), and whether it has no weight (None: all have).

    Every request weighs 1, or 0 where its value should be there and is not, so weights are what is left of the count.
    """

    value: npt.NDArray[Any]
    missing: Bools | None = None

    @property
    def mass(self) -> npt.NDArray[np.float64]:
        """The weights, (n,)."""
        return np.ones(len(self.value)) if self.missing is None else (~self.missing).astype(np.float64)


def micros_of(seconds: float) -> int:
    """Seconds in whole microseconds."""
    return round(seconds * MICROS)


def delay_of(measure: Measure) -> int:
    """Microseconds after its request from which a value is final; only outcomes have to be waited for."""
    return micros_of(measure.delay) if measure.source == "outcome" else 0


def final_at(measure: Measure, rows: Rows) -> Ints:
    """The moment from which each request's value is final, microseconds, (n,)."""
    return rows.micros + delay_of(measure)


def checked(measure: Measure) -> Measure:
    """The measure; UserError where it does not say what it measures."""
    if measure.source == "outcome" and measure.outcome is None:
        raise UserError(f"The measure {measure.name!r} is of outcomes: expected the name of one.")
    if measure.source == "latency" and measure.slower_than_ms is None:
        raise UserError(
            f"The measure {measure.name!r} is of latency: expected the milliseconds above which a request is slow."
        )
    return measure


def contribution(measure: Measure, rows: Rows, first: First | None = None) -> Contribution:
    """What each of `rows` counts for; `first` holds the outcomes that an outcome's measure needs.

    An outcome counts if it came by the request's time and the delay. One that is no finite number weighs nothing, and neither
    does an absent one where the measure calls it missing; an absent one is 0 elsewhere. A failed request without a latency
    was slow; any other without one weighs nothing.
    """
    if measure.source == "requests":
        return Contribution(np.ones(len(rows), np.bool_))
    if measure.source == "error":
        return Contribution(rows.fault)
    if measure.source == "latency":
        untimed = np.isnan(rows.latency)
        slow = rows.latency > np.float32(measure.slower_than_ms or 0.0)
        return Contribution(slow | (untimed & rows.fault), untimed & ~rows.fault)
    assert first is not None  # noqa: S101 - whoever asks of an outcome has joined it
    there = first.when <= rows.micros + delay_of(measure)
    usable = there & np.isfinite(first.value)
    capped = first.value if measure.cap is None else np.minimum(first.value, measure.cap)
    value = np.where(usable, capped, 0.0)
    return Contribution(value, ~usable if measure.absent == "missing" else there & ~usable)


def fates(measure: Measure, rows: Rows, first: First) -> LeftOut:
    """What became of the outcomes of `rows`, as counts: late, duplicate, contradictory, unusable, early.

    Each outcome has one fate: it is late, or the first of its request (and then perhaps unusable, or early), or the equal or
    the contradiction of the first. Being equal is being the same number, or being no number both.
    """
    found = LeftOut()
    for begin in range(0, len(rows), CHUNK):
        part = slice(begin, begin + CHUNK)
        found += _fates_of_first(measure, rows.micros[part], rows.arm[part], first.when[part], first.value[part])
    if len(first.others.at):
        found += _fates_of_others(measure, rows, first)
    return found


def _fates_of_first(measure: Measure, times: Ints, arms: npt.NDArray[np.int8], when: Ints, value: Any) -> LeftOut:
    came = when != NEVER
    late = came & (when > times + delay_of(measure))
    fate = {"late": late, "early": when < times, "unusable": came & ~late & ~np.isfinite(value)}
    return _counted(measure, arms, fate)


def _fates_of_others(measure: Measure, rows: Rows, first: First) -> LeftOut:
    others, winner = first.others, first.value[first.others.at]
    late = others.micros > rows.micros[others.at] + delay_of(measure)
    equal = (others.value == winner) | (np.isnan(others.value) & np.isnan(winner))
    fate = {"late": late, "duplicate": ~late & equal, "contradictory": ~late & ~equal}
    return _counted(measure, rows.arm[others.at], fate)


def _counted(measure: Measure, arms: npt.NDArray[np.int8], fate: dict[str, Bools]) -> LeftOut:
    counts = (LeftOut.of(f"{name}:{measure.name}", arms[which]) for name, which in fate.items() if which.any())
    return sum(counts, LeftOut())
