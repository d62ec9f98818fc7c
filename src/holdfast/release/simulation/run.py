"""One simulated release, and many: the same decision code as in production, over looks in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from holdfast.release.canary.judge import alarms, judge
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.canary.plan import HOUR, CanaryPlan
from holdfast.release.simulation.stream import Stream
from holdfast.release.simulation.traffic import Traffic
from holdfast.stats.arms import CANARY

SIX_HOURS = 6 * 3600


@dataclass(frozen=True)
class Ending:
    """How one release ended: after how many hours and canary requests, and on what judgement."""

    hours: float
    canary_requests: int
    judgement: Judgement


def blocks(until: int, look: int = 60) -> Iterator[tuple[int, int, int]]:
    """(begin, looks, seconds a look) from 0 to `until`: every 2 s for ten minutes, every 10 s for an hour, then every `look` s.

    Blocks end at whole hours, so that no step's end and no planned look falls inside one.
    """
    stages = [(0, 600, 2), (600, 3600, 10), (3600, until, look)]
    for first, end, seconds in stages:
        begin = first
        while begin < min(end, until):
            stop = min(begin + SIX_HOURS - begin % SIX_HOURS, end, until)
            looks = max((stop - begin) // seconds, 1)
            yield begin, looks, seconds
            begin = begin + looks * seconds


def simulate_release(traffic: Traffic, plan: CanaryPlan, seed: int) -> Ending:
    """One release under declared traffic, until it is decided or its time is over."""
    rng = np.random.default_rng(seed)
    before, requests = 0.0, 0
    for step in range(len(plan.steps)):
        stream = Stream(traffic, plan, step, rng)
        length = plan.total_hours - before if step == plan.last else plan.steps[step].hours
        for begin, looks, seconds in blocks(round(length * HOUR)):
            evidence = stream.block(begin, looks, seconds)
            raised = alarms(plan, step, evidence)
            if raised.any():
                now = evidence.at(int(raised.argmax()))
                hours = before + float(now.seconds) / HOUR
                return Ending(hours, requests + int(now.requests[CANARY]), judge(plan, step, now, hours))
            now = evidence.at(-1)
            hours = before + float(now.seconds) / HOUR
            due = [k for k, at in enumerate(plan.looks) if step == plan.last and abs(at * HOUR - now.seconds) < 1]
            judgement = judge(plan, step, now, hours, stream.closed(due[0]) if due else None)
            if judgement.decision not in (Decision.CONTINUE, Decision.ADVANCE):
                return Ending(hours, requests + int(now.requests[CANARY]), judgement)
        before, requests = hours, requests + int(now.requests[CANARY])
    raise AssertionError("a plan ends with a decision")
