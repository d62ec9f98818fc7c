"""A clock that runs many times as fast as time does, the same in every process that is told the same two numbers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self


@dataclass(frozen=True)
class FastClock:
    """`begin` is when it starts, UTC seconds; `speed` is how many of its seconds pass in one."""

    begin: float
    speed: float

    def __call__(self) -> datetime:
        """What it shows: an aware time, as everything that judges takes it."""
        return datetime.fromtimestamp(self.begin + self.hours * 3600, UTC)

    @property
    def hours(self) -> float:
        """Of its own hours, how many have passed since the beginning."""
        return (time.time() - self.begin) * self.speed / 3600

    def seconds(self, hours: float) -> float:
        """How long so many of its hours really last."""
        return hours * 3600 / self.speed

    def __str__(self) -> str:
        return f"{self.begin!r}x{self.speed!r}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From what `str` made of it, for another process."""
        begin, speed = text.split("x")
        return cls(float(begin), float(speed))
