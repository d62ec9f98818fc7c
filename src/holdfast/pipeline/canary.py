"""A project's canary: its router, its log, its plan from the champion's recent traffic, and its controller."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from holdfast.config.canary import full_name
from holdfast.errors import Refused, UserError
from holdfast.evidence.delta_log import DeltaLog
from holdfast.evidence.log import FileLog, PredictionLog, Taken, take
from holdfast.pipeline.releasing import beats_anchor, promote_candidate
from holdfast.pipeline.workspace import Workspace
from holdfast.release import canaries, reconcile, rollback
from holdfast.release.canary.baseline import Latency, baseline_of, recent_latency, recent_rate
from holdfast.release.canary.plan import CanaryPlan
from holdfast.release.canary.planning import canary_plan
from holdfast.release.canary.resolution import Resolution, hopeless, resolutions
from holdfast.release.commands import Start
from holdfast.release.commit import Done
from holdfast.release.controller import Controller, Sighting
from holdfast.release.drill import drill
from holdfast.release.drills import Drill
from holdfast.release.lease import Lease
from holdfast.release.pointing import point, point_recorded
from holdfast.release.reconcile import Foreign
from holdfast.release.routers import open_router
from holdfast.release.routing import TrafficRouter
from holdfast.release.summaries import STILL_SECONDS, SummaryWatch
from holdfast.release.watch import LAG_SECONDS, EvidenceWatch, LogWatch
from holdfast.verdict import utc_text

LATENCY = "builtin.latency_p99_ms"


@dataclass(frozen=True)
class Planned:
    """The plan of the next canary, what the traffic can resolve by when, and why it cannot succeed (empty: it can)."""

    plan: CanaryPlan
    resolutions: tuple[Resolution, ...]
    weak: tuple[str, ...]
    hours: float

    def to_json(self) -> dict[str, Any]:
        return {
            "plan": self.plan.to_json(),
            "log_hours": round(self.hours, 2),
            "resolution": [found.to_json() for found in self.resolutions],
            "weak": list(self.weak),
        }


class Canary:
    """What a project's canary needs of the world, each opened when first used.

    `still_seconds` of the workspace's clock may pass before a replica's summary counts as standing still, and a planned look
    is taken `lag_seconds` late.
    """

    def __init__(
        self, workspace: Workspace, *, still_seconds: float = STILL_SECONDS, lag_seconds: float = LAG_SECONDS
    ) -> None:
        self.workspace, self.still_seconds, self.lag_seconds = workspace, still_seconds, lag_seconds
        self.declared = workspace.config.release

    @cached_property
    def router(self) -> TrafficRouter:
        if self.declared.router is None:
            raise UserError(
                "no router is declared, so nothing can shift traffic.",
                hint="Add `release: {router: file:routing.json}`, or haproxy:SOCKET (docs/routers.md).",
                reason_code="no_router",
            )
        work = self.workspace
        return open_router(self.declared.router, work.root, store=work.store, model=work.model)

    @cached_property
    def log(self) -> PredictionLog:
        declared = self.declared.log
        if declared is None:
            if self._is_gateway:
                return DeltaLog(self.workspace.store, self.workspace.model)
            raise UserError(
                "no prediction log is declared, so a canary could not be judged.",
                hint="Add `release: {log: {predictions: PATH, outcomes: PATH}}`, or serve with router gateway:.",
                reason_code="no_log",
            )
        path = self.workspace.project.path
        return FileLog(path(declared.predictions), None if declared.outcomes is None else path(declared.outcomes))

    def controller(self, *, lease: Lease | None = None) -> Controller:
        """One that acts for this project; as a command does where it has no `lease`."""
        work = self.workspace
        watch = self._watch()
        return Controller(work.ledger, work.registry, self.router, work.model, watch, lease=lease, clock=work.clock)

    @property
    def _is_gateway(self) -> bool:
        """Whether `holdfast serve` answers: then the log is the store's tables, and its replicas flush summaries."""
        return (self.declared.router or "").startswith("gateway:")

    def _watch(self) -> EvidenceWatch:
        work = self.workspace
        if self._is_gateway and self.declared.log is None:
            return SummaryWatch(self.log, work.store, work.model, self.still_seconds, self.lag_seconds)
        return LogWatch(self.log, work.store, work.model, self.lag_seconds)

    def lease(self) -> Lease:
        """The right to act, for this process."""
        return Lease(self.workspace.store, self.workspace.model, f"{socket.gethostname()}:{os.getpid()}")

    def planned(self) -> Planned:
        """The plan, with what the champion's recent log says of it."""
        per_request = self.router.sticky == "request"
        taken = take(self.log, None, self._outcome_names(), per_request=per_request)
        latency = recent_latency(taken.rows)
        slow_ms = self._slow_ms(latency)
        plan = canary_plan(
            self.declared,
            sticky=self.router.sticky,
            slow_ms=slow_ms,
            slow_share=latency.share_slower(slow_ms) if latency is not None and slow_ms is not None else 0.0,
            rate=recent_rate(taken.rows),
        )
        return _resolved(plan, taken)

    def start(
        self,
        planned: Planned,
        *,
        version: str | None = None,
        report: str | None = None,
        override: str | None = None,
    ) -> Done:
        """Begin a canary as `planned`, if report, drill and plan allow it."""
        work = self.workspace
        command = Start(
            plan=planned.plan,
            policy=work.policy,
            policy_digest=work.policy_digest,
            router=self.router.name,
            now=utc_text(work.clock()),
            version=version,
            report=report,
            override=override,
            anchor=beats_anchor(work, work.state(), version),
            weak=planned.weak,
        )
        return canaries.start(work.ledger, work.registry, self.router, work.model, command)

    def drill(self) -> Drill:
        """Try the way back."""
        work = self.workspace
        return drill(work.ledger, work.registry, self.router, work.model)

    def promote(self, *, version: str | None, report: str | None, override: str | None) -> Done:
        """Promote: the living canary on somebody's name; else at once, and the router is told.

        Where a canary and a router are declared, a version that no canary has tried needs `override`.
        """
        work = self.workspace
        state = work.state()
        if state.living is not None and override is not None:
            return canaries.finish(work.ledger, work.registry, self.router, work.model, reason=override)
        tried = self.declared.canary is not None and self.declared.router is not None and state.champion is not None
        if tried and override is None and state.living is None:
            raise Refused(
                "a canary is declared, and no user has tried this version yet.",
                hint='Type `holdfast release start`; or promote at once on your name: --override "REASON".',
                reason_code="no_canary",
            )
        done = promote_candidate(work, version=version, report=report, override=override)
        self._tell()
        return done

    def rollback(self, *, to: str | None, reason: str | None) -> Done:
        """The way back, whatever the state: a living canary is taken back, else the champion gives way to the one before."""
        work = self.workspace
        if work.state().living is not None:
            if to is not None:
                raise UserError(
                    "--to makes no sense while a canary is under way.", hint="`holdfast release rollback` ends it."
                )
            return canaries.take_back(work.ledger, self.router, work.model, reason=reason)
        done = rollback(work.ledger, work.registry, work.model, to=to, reason=reason)
        self._tell()
        return done

    def reconcile(self, foreign: Foreign | None) -> list[str]:
        """Make aliases and routes match the ledger; sentences of what was changed."""
        work = self.workspace
        changes = list(reconcile(work.ledger, work.registry, work.model, foreign=foreign).changes)
        if self.declared.router is not None:
            before, wanted = self.router.read(), work.state().routing
            point(self.router, work.state())
            if wanted is not None and (before is None or not before.same_as(wanted)):
                changes.append(f"the router was told again (epoch {wanted.epoch})")
        return changes

    def sighting(self) -> Sighting | None:
        """What the evidence says now of a running canary; None where none is running or nothing is known."""
        living = self.workspace.state().living
        if living is None or living.since is None or (self.declared.log is None and not self._is_gateway):
            return None
        return self._watch().look(living, self.workspace.clock())

    def _tell(self) -> None:
        if self.declared.router is not None:
            point_recorded(self.router, self.workspace.state())

    def _outcome_names(self) -> list[str]:
        names = [full_name(name) for name in self.declared.guardrails]
        return [name.removeprefix("outcomes.") for name in names if name.startswith("outcomes.")]

    def _slow_ms(self, latency: Latency | None) -> float | None:
        """The champion's p99 plus the tolerated rise; None where latency is no guardrail or nothing is known of it."""
        declared = {full_name(name): guardrail for name, guardrail in self.declared.guardrails.items()}
        if LATENCY not in declared or latency is None:
            return None
        return latency.p99_ms + (declared[LATENCY].max_rise or 0.0)


def _resolved(plan: CanaryPlan, taken: Taken) -> Planned:
    baseline = baseline_of(taken, plan)
    if baseline is None:
        why = (
            f"the log does not hold enough of the champion's traffic ({plan.window_hours:g} h and the longest delay are "
            "needed) to say what this canary could show"
        )
        return Planned(plan, (), (f"{why}.",), 0.0)
    found = resolutions(plan, baseline)
    weak = [reason for one in found if (reason := hopeless(one, plan)) is not None]
    return Planned(plan, tuple(found), tuple(weak), baseline.hours)
