"""Units that met a fault lately, and what the bursts among them say at every look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from holdfast.evidence.bursts import burst_margins, first_of_stretch
from holdfast.evidence.contributions import MICROS
from holdfast.evidence.frame import Frame, Span
from holdfast.evidence.rows import Rows

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Faults:
    """The first fault of each unit in each stretch, (k,), by time, then unit, then arm. 17 bytes each."""

    micros: Ints
    unit: npt.NDArray[np.uint64]
    arm: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.micros)

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """All faults among `rows`."""
        places = np.flatnonzero(rows.fault)
        return cls(rows.micros[places], rows.unit[places], rows.arm[places])

    @classmethod
    def empty(cls) -> Self:
        return cls.of(Rows.empty())

    def take(self, places: Any) -> Faults:
        return Faults(self.micros[places], self.unit[places], self.arm[places])

    def merged(self, frame: Frame, others: Sequence[Faults]) -> Faults:
        """The first fault of each unit in each stretch among these and all others."""
        if not sum(map(len, others)):
            return self
        parts = [self, *others]
        found = Faults(
            *(np.concatenate(arrays) for arrays in zip(*((p.micros, p.unit, p.arm) for p in parts), strict=True))
        )
        found = found.take(np.lexsort((found.arm, found.unit, found.micros)))
        return found.take(first_of_stretch(found.micros, found.unit, found.stretch(frame)))

    def recent(self, frame: Frame, until: int) -> Faults:
        """Those of the stretch that the moment `until` lies in and of the one before."""
        return self.take(self.stretch(frame) >= _stretch_of(frame, until) - 1) if len(self) else self

    def stretch(self, frame: Frame) -> Ints:
        """The number of each fault's stretch, from 0, (k,)."""
        return np.floor((self.micros - frame.begin_micros) / MICROS / frame.burst_seconds).astype(np.int64)

    def margins(self, frame: Frame) -> tuple[Ints, Array]:
        """When they came, and `burst_margins` then."""
        seconds, margins = burst_margins(
            (self.micros - frame.begin_micros) / MICROS,
            self.unit,
            self.arm.astype(np.int64),
            share=frame.share,
            stretch=frame.burst_seconds,
            alpha=frame.burst_alpha,
        )
        return frame.begin_micros + np.round(seconds * MICROS).astype(np.int64), margins


def bursts_by_look(frame: Frame, known: Faults, new: Faults, span: Span) -> tuple[Array, Faults]:
    """The largest margin of the faults that fell in each look, (looks,), −inf where none did; and the faults to remember.

    `known` are the faults of the current and the last stretch that earlier looks saw. A fault that comes to light late, in one
    of these stretches, has its whole stretch judged again, at the first look; later than that it starts its stretch anew.
    """
    found = np.full(span.looks, -np.inf)
    known = known.recent(frame, span.begin)
    every = known.merged(frame, [new])
    if not len(new):
        return found, every.recent(frame, span.end)
    judged = every.take(np.isin(every.stretch(frame), new.stretch(frame)))
    late = new.take(new.micros <= span.begin)
    micros, margins = judged.margins(frame)
    fell = np.isin(judged.stretch(frame), late.stretch(frame)) | (micros > span.begin)
    np.maximum.at(found, span.look_of(micros[fell]), margins[fell])
    return found, every.recent(frame, span.end)


def _stretch_of(frame: Frame, moment: int) -> int:
    return int((moment - frame.begin_micros) / MICROS // frame.burst_seconds)
