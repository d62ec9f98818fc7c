"""A judgement of a canary as a report: the checks, each guardrail's course, and what went in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from holdfast._version import __version__
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.canary.plan import CanaryPlan
from holdfast.store import canonical_json, digest
from holdfast.verdict import CheckResult, Report

WORDS = {
    Decision.CONTINUE: "still open",
    Decision.ADVANCE: "the next share",
    Decision.PROMOTE: "promoted",
    Decision.ROLL_BACK: "rolled back",
    Decision.INVALID: "stopped as invalid",
    Decision.UNDECIDED: "undecided",
}


def canary_report(
    plan: CanaryPlan,
    judgement: Judgement,
    series: Mapping[str, Iterable[Mapping[str, Any]]],
    *,
    hours: float,
    created: str,
    model: str | None = None,
    candidate: str | None = None,
    champion: str | None = None,
    notices: Iterable[str] = (),
    inputs: Mapping[str, Any] | None = None,
) -> Report:
    """The report of one judgement; `series` are courses by guardrail, `hours` since the first request, `created` UTC text."""
    over = judgement.decision in (Decision.ROLL_BACK, Decision.INVALID, Decision.PROMOTE)
    drawn = tuple(_drawn(check, series, over=over) for check in judgement.checks)
    return Report(
        title="Canary",
        checks=drawn,
        model=model,
        candidate=candidate,
        champion=champion,
        inputs={
            "holdout": None,
            "data": None,
            "commit": None,
            "plan": plan_digest(plan),
            "decision": judgement.decision.value,
            **(inputs or {}),
        },
        notices=(told(judgement, hours), *notices),
        created=created,
        holdfast=__version__,
    )


def _drawn(check: CheckResult, series: Mapping[str, Iterable[Mapping[str, Any]]], *, over: bool) -> CheckResult:
    """The check with its course; once it is decided, what is still open only informs."""
    return replace(
        check, series=tuple(series.get(check.name, ())), on_inconclusive="report" if over else check.on_inconclusive
    )


def told(judgement: Judgement, hours: float) -> str:
    """The decision and its moment; why, where no check says it."""
    said = f"{WORDS[judgement.decision]} after {hours:,.2f} h"
    return f"{said}." if judgement.metric is not None else f"{said}: {judgement.reason}"


def plan_digest(plan: CanaryPlan) -> str:
    """The name of a plan: the hash of what it says."""
    return digest(canonical_json(plan.to_json()))
