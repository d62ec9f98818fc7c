"""A recorded log under a policy: the project's own, or one guardrail that is named."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.config.canary import full_name
from holdfast.config.loader import load_project
from holdfast.config.schema import ReleaseConfig
from holdfast.errors import UserError
from holdfast.evidence.log import FileLog, take
from holdfast.evidence.measures import Measure
from holdfast.pipeline.simulating import single_step_plan
from holdfast.release.canary.baseline import recent_latency, recent_rate
from holdfast.release.canary.plan import CanaryPlan, GuardrailPlan
from holdfast.release.canary.planning import canary_plan
from holdfast.release.simulation.many import Simulation
from holdfast.release.simulation.replay import Recorded, replay, replay_equals

LATENCY = "builtin.latency_p99_ms"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be replayed: files, and a project file or one outcome with its margin. Hours; `delay` in minutes."""

    log: Path
    outcomes: Path | None = None
    plan_file: Path | None = None
    metric: str | None = None
    max_drop: float | None = None
    max_rise: float | None = None
    share: float | None = None
    hours: float | None = None
    delay: float = 30.0
    unit_window: float = 12.0
    repeats: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Replayed:
    """The replay, the plan it was under, how often equal variants were rolled back (None: not asked), and what to know."""

    plan: CanaryPlan
    found: Simulation
    equals: Simulation | None
    begin: int
    notices: tuple[str, ...]


def replay_log(asked: Asked) -> Replayed:
    """Play a recorded log through the decision. UserError for a log or a plan that cannot be used."""
    begun = time.perf_counter()
    release = _declared(asked)
    taken = take(FileLog(asked.log, asked.outcomes), None, _outcome_names(asked, release))
    recorded = Recorded.of(taken)
    plan, notices = _plan(asked, release, recorded)
    played = replay(recorded, plan)
    found = Simulation((played.end,), played, time.perf_counter() - begun)
    equals = None
    if asked.repeats > 1:
        again = time.perf_counter()
        ends = tuple(replay_equals(recorded, plan, asked.seed + n) for n in range(asked.repeats))
        equals = Simulation(ends, played, time.perf_counter() - again)
    return Replayed(plan, found, equals, recorded.begin, (*notices, *taken.left_out.sentences()))


def _declared(asked: Asked) -> ReleaseConfig | None:
    """The project's `release:`; None where one outcome is named instead."""
    if asked.metric is not None:
        return None
    file = asked.plan_file or Path("holdfast.yaml")
    if asked.plan_file is None and not file.is_file():
        raise UserError(
            "a recorded log needs a policy.", hint="Name a project file with --plan, or an outcome with --metric."
        )
    release = load_project(file).config.release
    if release.canary is None:
        raise UserError(f"{file} declares no canary.", hint="Add `release: {canary: …, guardrails: …}`.")
    return release


def _outcome_names(asked: Asked, release: ReleaseConfig | None) -> list[str]:
    if release is None:
        return [str(asked.metric).removeprefix("outcomes.")]
    names = [full_name(name) for name in release.guardrails]
    return [name.removeprefix("outcomes.") for name in names if name.startswith("outcomes.")]


def _plan(asked: Asked, release: ReleaseConfig | None, recorded: Recorded) -> tuple[CanaryPlan, list[str]]:
    """The plan with the shares that the log tells, and what had to be assumed."""
    notices: list[str] = []
    steps = recorded.recorded_steps()
    plan = _one_guardrail(asked, recorded, notices) if release is None else _project_plan(release, recorded, notices)
    if steps is not None and asked.share is None:
        rest = max(plan.max_hours - sum(step.hours for step in steps[:-1]), steps[-1].hours)
        plan = replace(plan, steps=(*steps[:-1], replace(steps[-1], hours=rest)))
        notices.append(f"the log tells its own shares: {', '.join(f'{step.share:.3g}' for step in steps)}.")
    return plan, notices


def _project_plan(release: ReleaseConfig, recorded: Recorded, notices: list[str]) -> CanaryPlan:
    rows = recorded.taken.rows
    before = rows.take(rows.micros < recorded.begin)
    latency = recent_latency(before)
    if latency is None:
        latency = recent_latency(rows)
        notices.append("the champion's p99 is of the replayed log itself: there is no traffic before the canary in it.")
    declared = {full_name(name): guardrail for name, guardrail in release.guardrails.items()}
    slow_ms = None
    if LATENCY in declared and latency is not None:
        slow_ms = latency.p99_ms + (declared[LATENCY].max_rise or 0.0)
    share = latency.share_slower(slow_ms) if latency is not None and slow_ms is not None else 0.0
    return canary_plan(release, slow_ms=slow_ms, slow_share=share, rate=recent_rate(rows))


def _one_guardrail(asked: Asked, recorded: Recorded, notices: list[str]) -> CanaryPlan:
    share = asked.share
    if share is None:
        share = recorded.measured_share()
        notices.append(f"the canary's share was measured, {share:.2%}, so that the sample ratio cannot be wrong.")
    outcome = str(asked.metric).removeprefix("outcomes.")
    measure = Measure(name=outcome, source="outcome", outcome=outcome, delay=asked.delay * 60)
    rises = asked.max_rise is not None
    margin = asked.max_rise if rises else asked.max_drop or 0.0
    guardrail = GuardrailPlan(
        name=outcome, measure=measure, harm="rise" if rises else "drop", margin=float(margin or 0.0)
    )
    hours = asked.hours or max(recorded.hours, 24.0)
    return single_step_plan((guardrail,), share, hours, asked.unit_window, delay_hours=asked.delay / 60)
