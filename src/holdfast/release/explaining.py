"""The story of one release: its plan, what happened, what decided it, what would have settled it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.errors import UserError
from holdfast.ledger import Event
from holdfast.release.attempt import Attempt
from holdfast.release.canary.plan import CanaryPlan
from holdfast.release.canary.telling import subject
from holdfast.release.state import evolve, fold
from holdfast.release.story import story
from holdfast.verdict import Report, Verdict


@dataclass(frozen=True)
class Explanation:
    """Lines for people, the attempt as it ended (or stands), and the digest of the report that decided it."""

    attempt: Attempt
    plan: tuple[str, ...]
    story: tuple[str, ...]
    report: str | None


def explain(events: Sequence[Event], release: str | None = None) -> Explanation:
    """The release called `release` (default: the latest); UserError where there is none."""
    begins = [n for n, event in enumerate(events) if event.type == "started"]
    named = [n for n in begins if release in (None, events[n].payload["release"])]
    if not named:
        known = ", ".join(str(events[n].payload["release"]) for n in begins[-5:]) or "none"
        raise UserError(
            f"there is no release {release or ''}".rstrip() + f" (known: {known}).", hint="Type `holdfast ledger show`."
        )
    begin = named[-1]
    end = next((n for n in begins if n > begin), len(events))
    states = [fold(events[: begin + 1])]
    for event in events[begin + 1 : end]:
        states.append(evolve(states[-1], event))
    over = next((n for n, state in enumerate(states) if state.living is None), len(states) - 1)
    attempt = states[over].attempt
    assert attempt is not None  # noqa: S101 - it was started
    told = [event for event in events[begin : begin + over + 1] if event.type != "judged"]
    return Explanation(attempt, plan_lines(attempt.plan), tuple(story(told, every=False)), attempt.report)


def plan_lines(plan: CanaryPlan) -> tuple[str, ...]:
    """The plan in words."""
    steps = ", then ".join(
        f"{step.share:.3g} of the {plan.unit}s for {step.hours:g} h" if n < plan.last else f"{step.share:.3g}"
        for n, step in enumerate(plan.steps)
    )
    looks = ", ".join(f"{look:g}" for look in plan.looks)
    lines = [
        f"steps: {steps}, at most {plan.total_hours:g} h in all; undecided then: {plan.on_undecided}",
        f"promotion is asked after {looks} h of the last step, of {plan.unit}s that were followed for {plan.window_hours:g} h",
    ]
    for guardrail in plan.guardrails:
        amount = f"{guardrail.margin:.1%}" if guardrail.relative else f"{guardrail.margin:g}"
        ways = {"drop": "may drop by", "rise": "may rise by", "both": "may change by"}[guardrail.harm]
        lines.append(
            f"{subject(guardrail)} {ways} {amount} (α {plan.harm_alpha(plan.last, guardrail):.4f} in the last step)"
        )
    return tuple(lines)


def open_lines(report: Report) -> tuple[str, ...]:
    """What was still open when it was decided, and what would have settled it."""
    return tuple(
        f"{check.name}: about {check.needed_n:,} {check.unit}s of the canary would have settled it, {check.n or 0:,} were seen"
        for check in report.checks
        if check.verdict is Verdict.INCONCLUSIVE and check.needed_n
    )
