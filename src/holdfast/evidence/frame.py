"""What the evidence of one step is asked: its measures, its beginning, its share, and how time is cut into looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from holdfast.evidence.contributions import checked, delay_of, micros_of
from holdfast.evidence.measures import Measure

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One step: evidence can be added up only where all of this is the same. Times are UTC microseconds."""

    measures: Mapping[str, Measure]
    share: float
    begin_micros: int
    burst_seconds: float = 60.0
    burst_alpha: float = 0.002

    def __post_init__(self) -> None:
        for measure in self.measures.values():
            checked(measure)

    @cached_property
    def delays(self) -> tuple[int, ...]:
        """The different delays of the measures in microseconds, 0 always among them."""
        return tuple(sorted({0, *(delay_of(measure) for measure in self.measures.values())}))

    @cached_property
    def by_delay(self) -> Mapping[int, Mapping[str, Measure]]:
        """The measures of each delay whose values have to be added up; of requests only the count is needed."""
        counted = {name: measure for name, measure in self.measures.items() if measure.source != "requests"}
        return {d: {n: m for n, m in counted.items() if delay_of(m) == d} for d in self.delays}

    @cached_property
    def names_by_delay(self) -> Mapping[int, tuple[str, ...]]:
        """The names of all measures of each delay."""
        return {d: tuple(n for n, m in self.measures.items() if delay_of(m) == d) for d in self.delays}

    @cached_property
    def outcomes(self) -> Mapping[str, Mapping[str, Measure]]:
        """The names of the outcomes that are needed, each with the measures of it."""
        found: dict[str, dict[str, Measure]] = {}
        for name, measure in self.measures.items():
            if measure.source == "outcome":
                found.setdefault(str(measure.outcome), {})[name] = measure
        return found

    @property
    def longest(self) -> int:
        """The longest delay in microseconds."""
        return self.delays[-1]

    def to_json(self) -> dict[str, Any]:
        """The document that `from_json` reads."""
        measures = {name: measure.to_json() for name, measure in self.measures.items()}
        return {
            "measures": measures,
            "share": self.share,
            "begin_micros": self.begin_micros,
            "burst_seconds": self.burst_seconds,
            "burst_alpha": self.burst_alpha,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        measures = {name: Measure.from_json(found) for name, found in document["measures"].items()}
        return cls(**{**{name: document[name] for name in cls.__dataclass_fields__}, "measures": measures})


@dataclass(frozen=True)
class Span:
    """`looks` stretches of `look` microseconds each, from the moment `begin` on; each holds its end and not its beginning."""

    begin: int
    looks: int
    look: int

    @classmethod
    def of(cls, frame: Frame, begin: float, looks: int, look_seconds: float) -> Self:
        """From seconds of the step."""
        return cls(frame.begin_micros + micros_of(begin), looks, micros_of(look_seconds))

    @property
    def end(self) -> int:
        """The moment of the last look."""
        return self.begin + self.looks * self.look

    def look_of(self, moments: Ints) -> Ints:
        """The look at which each moment up to the end is first seen, (n,); what lies before the span is seen at the first."""
        if self.looks == 1:
            return np.zeros(len(moments), np.int64)
        return np.maximum((moments - self.begin - 1) // self.look, 0)
