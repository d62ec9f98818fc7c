"""Declared traffic as evidence, block of looks by block of looks: what the summaries of a gateway would hold then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from holdfast.evidence.bursts import burst_margins
from holdfast.evidence.sample import LEVELS, level_for
from holdfast.evidence.sums import ARMS, BUCKETS, Closed, Evidence, Sums
from holdfast.release.canary.plan import HOUR, CanaryPlan
from holdfast.release.simulation.traffic import DeclaredMetric, Traffic

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Times = npt.NDArray[np.int32]

CELLS = ARMS * BUCKETS
_REQUESTS, _UNITS, _FAULTS = "requests", "units", "faults"  # what is counted beside the metrics


@dataclass(frozen=True)
class Events:
    """Things that happened: when (seconds of the step), in which cell, with what weight (None: 1)."""

    seconds: Times
    cells: Times
    weights: Array | None = None

    def since_start(self) -> Events:
        """Without what happened before the step began."""
        kept = self.seconds >= 0
        return Events(self.seconds[kept], self.cells[kept], None if self.weights is None else self.weights[kept])

    def binned(self, begin: int, looks: int, look: int, cells: int = CELLS) -> Array:
        """Sums by look and cell, shape (looks, cells); what lies outside is left out."""
        flat = (self.seconds - begin) // look * cells + self.cells
        inside = (flat >= 0) & (flat < looks * cells)
        weights = self.weights
        if not inside.all():
            flat, weights = flat[inside], None if weights is None else weights[inside]
        return np.asarray(np.bincount(flat, weights, looks * cells), float).reshape(looks, cells)


@dataclass(frozen=True)
class Units:
    """Units that came in one stretch of time: their cell (arm · BUCKETS + bucket), and when they made requests, (n, K)."""

    cells: Times
    seconds: Times

    @property
    def canary(self) -> npt.NDArray[np.bool_]:
        return self.cells >= BUCKETS


class Stream:
    """One step of a canary under declared traffic. Blocks are asked for in order, from second 0 on, without a gap."""

    def __init__(self, traffic: Traffic, plan: CanaryPlan, step: int, rng: np.random.Generator) -> None:
        self.traffic, self.plan, self.rng = traffic, plan, rng
        self.share = plan.steps[step].share
        self._metrics = [m for m in traffic.metrics if m.name in {g.name for g in plan.guardrails}]
        self._drawn: list[dict[str, Events]] = []  # visits that reach into blocks of another length of looks
        self._tail: dict[str, Array] = {}  # the same, already in looks of the length `_look`
        self._look = 0
        self._sums: dict[str, Array] = {}
        self._closing = [round(hours * HOUR) for hours in plan.looks] if step == plan.last else []
        names = [_REQUESTS, _UNITS, *(metric.name for metric in self._metrics)]
        self._closed = {name: np.zeros((len(self._closing) + 1, CELLS)) for name in names}

    def block(self, begin: int, looks: int, look: int) -> Evidence:
        """The evidence at the ends of `looks` stretches of `look` seconds each, from second `begin` on."""
        end = begin + looks * look
        early = self.traffic.visit_seconds if begin == 0 else 0  # visits that had begun before the step did
        self._drawn.append(self._draw(begin - early, end))
        increments = self._increments(begin, looks, look)
        burst, increments[_FAULTS] = self._faults(increments[_REQUESTS], begin, look)
        return self._evidence(begin, looks, look, increments, burst)

    def closed(self, number: int) -> Closed:
        """The units whose window has closed by planned look `number`; ask after the block that ends there."""
        upto = {name: found[: number + 1].sum(axis=0).reshape(ARMS, BUCKETS) for name, found in self._closed.items()}
        sums = {}
        for guardrail in self.plan.guardrails:
            total = upto[_source(guardrail.name, guardrail.measure.source)]
            sums[guardrail.name] = Sums(total=total, mass=upto[_REQUESTS])
        return Closed(seconds=float(self._closing[number]), sums=sums, units=upto[_UNITS])

    def _increments(self, begin: int, looks: int, look: int) -> dict[str, Array]:
        """What happened in each look. Visits that go on later are kept, as looks once those have their final length."""
        settled = look == self._look
        reach = looks + self.traffic.visit_seconds // look + 1 if settled else looks
        found = {}
        for name in self._drawn[0]:
            cells = ARMS * LEVELS if name == _UNITS else CELLS
            dense = sum((drawn[name].binned(begin, reach, look, cells) for drawn in self._drawn), np.zeros(()))
            if name in self._tail:
                dense[: len(self._tail[name])] += self._tail[name][:reach]
            found[name] = dense[:looks]
            if settled:
                self._tail[name] = dense[looks:]
        if settled:
            self._drawn = []
        self._look = look
        return found

    def _draw(self, begin: int, end: int) -> dict[str, Events]:
        """All that the units do that come from `begin` to `end`; what happened before second 0 is dropped."""
        units = self._arrivals(begin, end)
        first = units.seconds.min(axis=1, initial=np.iinfo(np.int32).max)
        lived = None
        if begin < 0:
            lived = units.seconds >= 0
            first = np.where(lived, units.seconds, np.iinfo(np.int32).max).min(axis=1)
        look = np.searchsorted(self._closing, first + round(self.plan.window_hours * HOUR))
        each = np.full(len(first), float(units.seconds.shape[1])) if lived is None else lived.sum(axis=1).astype(float)
        self._close(_REQUESTS, look, units.cells, each)
        self._close(_UNITS, look, units.cells, (each > 0).astype(float))
        level = np.minimum(self.rng.geometric(0.5, len(first)) - 1, LEVELS - 1)
        cells = np.repeat(units.cells, units.seconds.shape[1])
        events = {
            _REQUESTS: Events(units.seconds.ravel(), cells).since_start(),
            _UNITS: Events(first, (units.canary * LEVELS + level).astype(np.int32)),
        }
        for place, metric in enumerate(self._metrics):
            events[metric.name] = self._outcomes(place, metric, units, look)
        return events

    def _arrivals(self, begin: int, end: int) -> Units:
        traffic, rng = self.traffic, self.rng
        count = int(rng.poisson(traffic.rate / traffic.requests_per_unit * (end - begin)))
        share = self.share if traffic.assigned_share is None else traffic.assigned_share
        cells = rng.integers(0, BUCKETS, count, dtype=np.int32)
        cells[rng.random(count) < share] += BUCKETS
        seconds = rng.integers(begin, end, (count, 1), dtype=np.int32)
        if traffic.requests_per_unit > 1:
            shape = (count, traffic.requests_per_unit)
            seconds = seconds + rng.integers(0, max(traffic.visit_seconds, 1), shape, dtype=np.int32)
        return Units(cells, seconds)

    def _outcomes(self, place: int, metric: DeclaredMetric, units: Units, look: Ints) -> Events:
        """The events of one metric. The times of a unit's requests are exchangeable, so any of them may be its successes."""
        traffic, (count, requests) = self.traffic, units.seconds.shape
        means = metric.means(units.seconds[:, 0].astype(float), units.canary)
        if metric.sd is None:
            successes = metric.successes(self.rng, means, requests, traffic.icc)
            unit = np.repeat(np.arange(count), successes)
            slot = np.arange(len(unit)) - np.repeat(np.cumsum(successes) - successes, successes)
            slot = (slot + place * max(requests // 5, 1)) % requests
            weights = None
        else:
            unit, slot = np.divmod(np.arange(count * requests), requests)
            weights = metric.values(self.rng, means, requests, traffic.icc).ravel()
        seconds = units.seconds[unit, slot]
        ours = np.ones(len(unit)) if weights is None else weights
        if len(seconds) and seconds.min() < 0:
            ours = ours * (seconds >= 0)
        self._close(metric.name, look, units.cells, np.asarray(np.bincount(unit, ours, count), float))
        return Events(seconds, units.cells[unit], weights).since_start()

    def _close(self, name: str, look: Ints, cells: Times, each: Array) -> None:
        """Add each unit to the planned look by which its window has closed; the last row is for those that never do."""
        flat = look * CELLS + cells
        self._closed[name] += np.bincount(flat, each, self._closed[name].size).reshape(-1, CELLS)

    def _faults(self, requests: Array, begin: int, look: int) -> tuple[Array, Array]:
        """Faults among the block's requests: the burst margin by look, and their counts by look and cell."""
        rates = np.repeat(self.traffic.fault_rates, BUCKETS)
        burst = np.full(len(requests), -np.inf)
        if not rates.any():
            return burst, np.zeros(requests.shape)
        counts = self.rng.binomial(requests.astype(np.int64), rates)
        at, cell = np.nonzero(counts)
        repeats = counts[at, cell]
        at, cell = np.repeat(at, repeats), np.repeat(cell, repeats)
        seconds, margins = burst_margins(
            begin + look * (at + self.rng.random(len(at))),
            np.arange(len(at), dtype=np.uint64),
            (cell >= BUCKETS).astype(np.int64),
            share=self.share,
            stretch=self.plan.burst_seconds,
            alpha=self.plan.burst_alpha,
        )
        np.maximum.at(burst, np.minimum((seconds - begin) // look, len(burst) - 1).astype(int), margins)
        return burst, counts.astype(float)

    def _evidence(self, begin: int, looks: int, look: int, increments: dict[str, Array], burst: Array) -> Evidence:
        totals = {}
        for name, found in increments.items():
            found[0] += self._sums.get(name, 0.0)
            totals[name] = np.cumsum(found, axis=0, out=found)
            self._sums[name] = found[-1].copy()
        by_level = totals[_UNITS].reshape(looks, ARMS, LEVELS)
        beyond = by_level[..., ::-1].cumsum(axis=-1)[..., ::-1]  # units at each level or above
        level = level_for(beyond.sum(axis=1))
        sampled = np.take_along_axis(beyond, level[:, None, None], axis=-1)[..., 0]
        mass = totals[_REQUESTS].reshape(looks, ARMS, BUCKETS)
        return Evidence(
            seconds=begin + look * np.arange(1.0, looks + 1),
            sums=self._guardrail_sums(totals, mass),
            units=sampled * 2.0 ** level[:, None],
            sampled=sampled,
            level=level,
            crossed=np.zeros(looks),
            requests=mass.sum(axis=-1),
            burst=burst,
        )

    def _guardrail_sums(self, totals: dict[str, Array], mass: Array) -> dict[str, Sums]:
        unbounded = {metric.name for metric in self._metrics if not metric.on_unit_interval}
        sums = {}
        for guardrail in self.plan.guardrails:
            total = totals[_source(guardrail.name, guardrail.measure.source)].reshape(mass.shape)
            sums[guardrail.name] = Sums(total=total, mass=mass, within=guardrail.name not in unbounded)
        return sums


def _source(name: str, source: str) -> str:
    """Under which name the events of a guardrail are counted."""
    return {"requests": _REQUESTS, "error": _FAULTS}.get(source, name)
