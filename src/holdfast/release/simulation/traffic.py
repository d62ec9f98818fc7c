"""Traffic that is declared instead of recorded: users who come back, a daily cycle, an effect of the canary.

The outcome of a request is, with probability √icc, its unit's own shared draw, else a fresh one: two requests of one unit then
correlate by `icc` whatever the distribution. Every request is drawn; only counts by look and bucket are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from holdfast.release.canary.plan import DAY_HOURS, HOUR

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class DeclaredMetric:
    """An outcome's mean for each variant: of 0 or 1, or, with `sd`, of a Beta distribution on [0, 1] (a normal one elsewhere).

    `swing` is the distance from the bottom to the top of its daily cycle, in its own units.
    """

    name: str
    champion: float
    canary: float
    sd: float | None = None
    swing: float = 0.0

    def means(self, seconds: Array, canary: npt.NDArray[np.bool_]) -> Array:
        """The mean of requests of units that came at `seconds`, shape (n,)."""
        cycle = self.swing / 2 * np.sin(2 * np.pi * seconds / (DAY_HOURS * HOUR))
        found = np.where(canary, self.canary, self.champion) + cycle
        return np.clip(found, 0.0, 1.0) if self.on_unit_interval else found

    @property
    def on_unit_interval(self) -> bool:
        if self.sd is None:
            return True
        return all(0 < mean < 1 and self.sd**2 < mean * (1 - mean) for mean in (self.champion, self.canary))

    def successes(self, rng: np.random.Generator, means: Array, requests: int, icc: float) -> Ints:
        """How many of each unit's requests have the outcome 1, shape (n,)."""
        if requests == 1 or icc == 0:
            return np.asarray(rng.binomial(requests, means), np.int64)
        alike = np.sqrt(icc)
        shared = rng.random(len(means)) < means
        return np.asarray(rng.binomial(requests, alike * shared + (1 - alike) * means), np.int64)

    def values(self, rng: np.random.Generator, means: Array, requests: int, icc: float) -> Array:
        """The outcomes of each unit's requests where they are no mere 0 and 1, shape (n, requests)."""
        own = self._draw(rng, np.repeat(means, requests)).reshape(-1, requests)
        if requests == 1 or icc == 0:
            return own
        shared = self._draw(rng, means)
        return np.where(rng.random(own.shape) < np.sqrt(icc), shared[:, None], own)

    def _draw(self, rng: np.random.Generator, means: Array) -> Array:
        assert self.sd is not None  # noqa: S101 - only asked with a standard deviation
        if not self.on_unit_interval:
            return rng.normal(means, self.sd)
        means = np.clip(means, 1e-6, 1 - 1e-6)
        size = np.maximum(means * (1 - means) / self.sd**2 - 1, 1e-6)
        return rng.beta(means * size, (1 - means) * size)


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """`rate` requests a second, by units of `requests_per_unit` requests each, spread evenly over `visit_hours`.

    `assigned_share` is the share that the canary really gets, where it is not the one asked for; `fault_rates` are the
    champion's and the canary's.
    """

    rate: float
    metrics: tuple[DeclaredMetric, ...]
    requests_per_unit: int = 1
    icc: float = 0.0
    visit_hours: float = 6.0
    fault_rates: tuple[float, float] = (0.0, 0.0)
    assigned_share: float | None = None

    @property
    def visit_seconds(self) -> int:
        """How long a unit's requests are spread; a unit of one request makes it at once."""
        return round(self.visit_hours * HOUR) if self.requests_per_unit > 1 else 0
