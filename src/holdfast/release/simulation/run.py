"""One release played through from its first look to its decision: the same code as in production, over looks in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from holdfast.evidence.sums import Closed, Evidence
from holdfast.release.canary.judge import alarms, judge
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.canary.plan import HOUR, CanaryPlan
from holdfast.release.canary.series import Series
from holdfast.release.simulation.stream import Stream
from holdfast.release.simulation.traffic import Traffic
from holdfast.stats.arms import CANARY

SIX_HOURS = 6 * 3600


class Source(Protocol):
    """Where the evidence of one step comes from: a recorded log, or declared traffic."""

    def block(self, begin: int, looks: int, look: int) -> Evidence: ...

    def closed(self, number: int) -> Closed: ...


@dataclass(frozen=True)
class Turn:
    """A judgement that changed something: after how many hours and canary requests."""

    hours: float
    canary_requests: int
    judgement: Judgement


@dataclass(frozen=True)
class Played:
    """Every turn of one release, the last of them its end, and the course of each guardrail up to there."""

    turns: tuple[Turn, ...]
    series: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)

    @property
    def end(self) -> Turn:
        return self.turns[-1]


def blocks(until: int, look: int = 60) -> Iterator[tuple[int, int, int]]:
    """(begin, looks, seconds a look) from 0 to `until`: every 2 s for ten minutes, every 10 s for an hour, then every `look` s.

    Blocks end at whole multiples of six hours, so that no planned look falls inside one.
    """
    for first, last, seconds in ((0, 600, 2), (600, 3600, 10), (3600, until, look)):
        begin = first
        while begin < min(last, until):
            stop = min(begin + SIX_HOURS - begin % SIX_HOURS, last, until)
            looks = max((stop - begin) // seconds, 1)
            yield begin, looks, seconds
            begin = begin + looks * seconds


def play(plan: CanaryPlan, source: Callable[[int], Source], *, draw: bool = False, until: float = math.inf) -> Played:
    """One release under `plan`; `source` gives the evidence of each step. `draw` keeps the course of every guardrail.

    After `until` hours there is no more evidence: the last judgement stands as it is, even if it decides nothing.
    """
    before, requests, turns = 0.0, 0, []
    series = Series(plan) if draw else None
    for step in range(len(plan.steps)):
        length = plan.total_hours - before if step == plan.last else plan.steps[step].hours
        length = min(length, until - before)
        turn = _play_step(plan, step, source(step), max(round(length * HOUR), 1), before, requests, series)
        turns.append(turn)
        if turn.judgement.decision is not Decision.ADVANCE:
            break
        before, requests = turn.hours, turn.canary_requests
    return Played(tuple(turns), {} if series is None else series.points())


def _play_step(
    plan: CanaryPlan, step: int, source: Source, until: int, before: float, requests: int, series: Series | None
) -> Turn:
    """The turn with which a step ends."""
    for begin, looks, seconds in blocks(until):
        evidence = source.block(begin, looks, seconds)
        raised = alarms(plan, step, evidence)
        at = int(raised.argmax()) if raised.any() else looks - 1
        if series is not None:
            series.add(step, evidence.at(slice(at + 1)), before)
        now = evidence.at(at)
        hours = before + float(now.seconds) / HOUR
        due = [k for k, look in enumerate(plan.looks) if step == plan.last and abs(look * HOUR - now.seconds) < 1]
        judgement = judge(plan, step, now, hours, source.closed(due[0]) if due and not raised.any() else None)
        if judgement.decision is not Decision.CONTINUE:
            return Turn(hours, requests + int(now.requests[CANARY]), judgement)
    return Turn(hours, requests + int(now.requests[CANARY]), judgement)


def play_traffic(traffic: Traffic, plan: CanaryPlan, seed: int, *, draw: bool = False) -> Played:
    """One release under declared traffic."""
    rng = np.random.default_rng(seed)
    return play(plan, lambda step: Stream(traffic, plan, step, rng), draw=draw)
