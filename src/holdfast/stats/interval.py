"""An estimate and everything that must be said with it: interval, method, unit of randomness, how many units."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Bounds = tuple[float | None, float | None]

_STEPS = 60


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured value with a two-sided interval at `confidence`; a bound that does not exist is None.

    `unit` is the unit of randomness and `n` how many were seen. `shortage` is a sentence where the evidence is too
    scarce for an honest interval: then no verdict may rest on it. `scale="relative"` says that the value is a share of
    the champion's. `interval` gives the bounds at any confidence from the same evidence, so that `at` and `p_below`
    agree with `low` and `high`.
    """

    value: float
    low: float | None
    high: float | None
    confidence: float
    method: str
    unit: str
    n: int
    shortage: str | None = None
    scale: Literal["absolute", "relative"] = "absolute"
    details: Mapping[str, Any] = field(default_factory=dict)
    interval: Callable[[float], Bounds] | None = field(default=None, repr=False, compare=False)

    def at(self, confidence: float) -> Estimate:
        """The same evidence at another confidence."""
        if self.interval is None:
            return replace(self, confidence=confidence)
        low, high = self.interval(confidence)
        return replace(self, confidence=confidence, low=low, high=high)

    def p_below(self, threshold: float) -> float:
        """One-sided p-value of "the true value is at least `threshold`": small where the evidence lies below it.

        It is (1 − c)/2 for the largest confidence c whose interval still ends below `threshold`, found by bisection,
        and 1 − (1 − c)/2 on the other side, so it always agrees with the interval.
        """
        if self.shortage is not None or self.interval is None:
            return 1.0 if not self._clears(threshold) else 0.0
        if self.value < threshold:
            return self._tail(lambda _, high: high is not None and high < threshold)
        return 1.0 - self._tail(lambda low, _: low is not None and low > threshold)

    def _tail(self, clear: Callable[[float | None, float | None], bool]) -> float:
        """The smallest α/2 at which the interval is `clear` of the threshold; 0.5 where none is."""
        assert self.interval is not None  # noqa: S101 - the caller looked
        smallest, largest = 0.0, 0.5
        for _ in range(_STEPS):
            middle = math.sqrt(max(smallest, 1e-12) * largest)
            if middle >= largest * (1 - 1e-9):
                break
            if clear(*self.interval(1 - 2 * middle)):
                largest = middle
            else:
                smallest = middle
        return largest

    def _clears(self, threshold: float) -> bool:
        return self.shortage is None and self.high is not None and self.high < threshold


def measured(
    value: float,
    interval: Callable[[float], Bounds],
    confidence: float,
    *,
    method: str,
    unit: str,
    n: int,
    shortage: str | None = None,
    scale: Literal["absolute", "relative"] = "absolute",
    details: Mapping[str, Any] | None = None,
) -> Estimate:
    """An `Estimate` whose bounds come from `interval`; ValueError for a confidence outside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, found {confidence}")
    low, high = interval(confidence)
    return Estimate(
        value=value,
        low=low,
        high=high,
        confidence=confidence,
        method=method,
        unit=unit,
        n=n,
        shortage=shortage,
        scale=scale,
        details=details or {},
        interval=interval,
    )


def needed_n(estimate: Estimate, threshold: float) -> int | None:
    """About how many units would settle the question if the estimate stayed where it is.

    The half-width falls with 1/√n, so n · (half-width / distance)²; None where the estimate sits on the threshold, where
    a bound is missing, or where even a hundred million units would not do.
    """
    bound = estimate.low if estimate.value >= threshold else estimate.high
    distance = abs(estimate.value - threshold)
    if bound is None or distance == 0:
        return None
    needed = math.ceil(estimate.n * ((estimate.value - bound) / distance) ** 2)
    return None if needed > 100_000_000 else max(needed, estimate.n + 1)
