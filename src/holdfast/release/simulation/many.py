"""Many releases under the same plan: how often it rolls back, promotes, and how soon."""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.release.canary.judgement import Decision
from holdfast.release.canary.plan import CanaryPlan
from holdfast.release.simulation.run import Played, Turn, play_traffic
from holdfast.release.simulation.traffic import Traffic
from holdfast.verdict import utc_text

FEW = 3  # so many are played in this process: starting others takes a second


@dataclass(frozen=True)
class Simulation:
    """The ends of all repeats, the first one's course, and how many seconds it took."""

    ends: tuple[Turn, ...]
    first: Played
    seconds: float

    def count(self, decision: Decision) -> int:
        return sum(end.judgement.decision is decision for end in self.ends)

    def quantile(self, share: float, what: str) -> float:
        """The `share` quantile of "hours" or "canary_requests" until a decision; undecided counts as infinite."""
        values = sorted(_until_decision(end, what) for end in self.ends)
        place = share * (len(values) - 1)
        low, high = values[math.floor(place)], values[math.ceil(place)]
        return high if math.isinf(high) and place > math.floor(place) else low + (high - low) * (place % 1 or 0.0)

    def to_json(self) -> dict[str, Any]:
        """The document of `holdfast release simulate --json`; an infinite quantile is null."""
        return {
            "schema": 1,
            "repeats": len(self.ends),
            "rolled_back": self.count(Decision.ROLL_BACK),
            "promoted": self.count(Decision.PROMOTE),
            "undecided": self.count(Decision.UNDECIDED),
            "invalid": self.count(Decision.INVALID),
            "median_canary_requests": _finite(self.quantile(0.5, "canary_requests"), whole=True),
            "p90_canary_requests": _finite(self.quantile(0.9, "canary_requests"), whole=True),
            "median_hours": _finite(self.quantile(0.5, "hours")),
            "seconds": round(self.seconds, 3),
        }


def simulate(traffic: Traffic, plan: CanaryPlan, *, repeats: int, seed: int, jobs: int | None = None) -> Simulation:
    """`repeats` releases under declared traffic, each with a seed of its own; on all cores but for a few repeats."""
    begun = time.perf_counter()
    first = play_traffic(traffic, plan, _seed(seed, 0), draw=True)
    rest = [_seed(seed, number) for number in range(1, repeats)]
    ends = [first.end, *_ends(traffic, plan, rest, jobs or os.cpu_count() or 1)]
    return Simulation(tuple(ends), first, time.perf_counter() - begun)


def decision_rows(turns: Sequence[Turn], *, begin: int | None = None) -> list[dict[str, Any]]:
    """One row {"at", "hours", "decision", "metric", "estimate", "low", "high", "reason"} a turn.

    `begin` is when a recorded release began, in UTC microseconds; declared traffic has no `at`.
    """
    rows = []
    for turn in turns:
        check = turn.judgement.check
        rows.append(
            {
                "at": None if begin is None else _at(begin, turn.hours),
                "hours": round(turn.hours, 4),
                "decision": turn.judgement.decision.value,
                "metric": turn.judgement.metric,
                "estimate": None if check is None else check.estimate,
                "low": None if check is None else check.low,
                "high": None if check is None else check.high,
                "reason": turn.judgement.reason,
                "canary_requests": turn.canary_requests,
            }
        )
    return rows


def _at(begin: int, hours: float) -> str:
    return utc_text(datetime.fromtimestamp(begin / 1e6, UTC) + timedelta(hours=hours))


def _ends(traffic: Traffic, plan: CanaryPlan, seeds: list[int], jobs: int) -> list[Turn]:
    one = functools.partial(_end, traffic, plan)
    if len(seeds) <= FEW or jobs == 1:
        return [one(seed) for seed in seeds]
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("forkserver")) as pool:
        return list(pool.map(one, seeds, chunksize=max(len(seeds) // (8 * jobs), 1)))


def _end(traffic: Traffic, plan: CanaryPlan, seed: int) -> Turn:
    return play_traffic(traffic, plan, seed).end


def _seed(seed: int, number: int) -> int:
    return seed * 1_000_003 + number


def _until_decision(end: Turn, what: str) -> float:
    undecided = end.judgement.decision is Decision.UNDECIDED
    return math.inf if undecided else float(getattr(end, what))


def _finite(value: float, *, whole: bool = False) -> float | int | None:
    if not math.isfinite(value):
        return None
    return round(value) if whole else round(value, 4)
