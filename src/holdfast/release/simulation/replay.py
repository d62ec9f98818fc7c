"""A recorded log through the same decision: what would this policy have done, and how often does it roll back equals?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from holdfast.errors import UserError
from holdfast.evidence.log import Taken
from holdfast.evidence.measures import Measure
from holdfast.evidence.rows import Rows
from holdfast.evidence.step import Step
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.canary.plan import HOUR, CanaryPlan, StepPlan
from holdfast.release.simulation.run import Played, Turn, play
from holdfast.stats.arms import CANARY, CHAMPION

MICROS = 1e6


@dataclass(frozen=True)
class Recorded:
    """A log that is to be replayed: rows, outcomes, and the moment of the first canary request (UTC microseconds)."""

    taken: Taken
    begin: int

    @classmethod
    def of(cls, taken: Taken) -> Recorded:
        """UserError for a log without a canary."""
        canary = np.flatnonzero(taken.rows.arm == CANARY)
        if not len(canary):
            raise UserError(
                "the log holds no request whose variant is canary, so there is nothing to replay.",
                hint="Expected the column `variant` to say champion or canary.",
                reason_code="no_canary",
            )
        return cls(taken, int(taken.rows.micros[canary[0]]))

    @property
    def hours(self) -> float:
        """From the first canary request to the last request."""
        return max((int(self.taken.rows.micros[-1]) - self.begin) / MICROS / HOUR, 1 / HOUR)

    def recorded_steps(self) -> tuple[StepPlan, ...] | None:
        """The shares that the log itself tells, in the order in which they came; None where it does not."""
        rows = self.taken.rows
        if rows.share is None:
            return None
        live = rows.share[(rows.micros >= self.begin) & (rows.share > 0) & (rows.share < 1)]
        times = rows.micros[(rows.micros >= self.begin) & (rows.share > 0) & (rows.share < 1)]
        if not len(live):
            return None
        begins = np.flatnonzero(np.r_[True, live[1:] != live[:-1]])
        if len(begins) > 20:
            return None  # shares that change from row to row are no steps
        ends = [*times[begins[1:]], self.taken.rows.micros[-1]]
        hours = [(end - start) / MICROS / HOUR for start, end in zip(times[begins], ends, strict=True)]
        return tuple(StepPlan(share=float(live[n]), hours=hour) for n, hour in zip(begins, hours, strict=True))

    def measured_share(self) -> float:
        """The canary's part of the units that met either variant since the canary began."""
        rows = self.taken.rows.take(self.taken.rows.micros >= self.begin)
        counts = [len(np.unique(rows.unit[rows.arm == arm])) for arm in (CHAMPION, CANARY)]
        return counts[CANARY] / sum(counts)


def replay(recorded: Recorded, plan: CanaryPlan) -> Played:
    """What `plan` would have done on the recorded log; where the log ends before it is decided, it stays undecided."""
    played = play(plan, lambda step: _source(recorded, plan, step), draw=True, until=recorded.hours)
    end = played.end
    if end.judgement.decision is not Decision.CONTINUE:
        return played
    reason = f"the log ends after {recorded.hours:.2f} h: {end.judgement.reason}"
    open_end = replace(end, judgement=Judgement(Decision.UNDECIDED, reason, None, end.judgement.checks))
    return replace(played, turns=(*played.turns[:-1], open_end))


def replay_equals(recorded: Recorded, plan: CanaryPlan, seed: int) -> Turn:
    """The same with the champion's units dealt anew into the plan's last share: nothing differs, whatever is found."""
    rows = recorded.taken.rows
    champion = rows.take((rows.arm == CHAMPION) & (rows.micros >= recorded.begin))
    dealt = _dealt(champion, plan.steps[-1].share, seed)
    one_step = replace(plan, steps=(StepPlan(share=plan.steps[-1].share, hours=plan.max_hours),))
    equals = replace(recorded, taken=replace(recorded.taken, rows=dealt))
    return replay(equals, one_step).end


def _dealt(rows: Rows, share: float, seed: int) -> Rows:
    """Each unit into an arm by a hash of its own and the seed."""
    mixed = (rows.unit ^ np.uint64(seed * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
    drawn = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    return replace(rows.core(), arm=(drawn < share).astype(np.int8))


def _source(recorded: Recorded, plan: CanaryPlan, step: int) -> Step:
    """The evidence of one step: it begins where the plan says that it does."""
    measures: Mapping[str, Measure] = {guardrail.name: guardrail.measure for guardrail in plan.guardrails}
    source = Step(
        measures,
        plan.steps[step].share,
        recorded.begin + round(plan.begins(step) * HOUR * MICROS),
        burst_seconds=plan.burst_seconds,
        burst_alpha=plan.burst_alpha,
        closing=[look * HOUR for look in plan.looks] if step == plan.last else (),
        window_seconds=plan.window_hours * HOUR,
        keep=True,
    )
    rows = recorded.taken.rows.core()
    if plan.sticky == "request":
        rows = replace(rows, unit=rows.id)
    source.feed(rows, recorded.taken.outcomes, recorded.taken.left_out)
    return source
