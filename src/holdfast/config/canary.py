"""What a canary's declaration contradicts itself in. Pure: sentences with the place they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from holdfast.config.schema import Guardrail, ReleaseConfig

OUTCOMES, BUILTIN = "outcomes.", "builtin."
BUILTINS = ("error", "latency_p99_ms", "requests_per_unit")

Problem = tuple[tuple[str | int, ...], str, str | None]


def full_name(name: str) -> str:
    """`click` is `outcomes.click`, `error` is `builtin.error`."""
    if name.startswith((OUTCOMES, BUILTIN)):
        return name
    return f"{BUILTIN if name in BUILTINS else OUTCOMES}{name}"


def canary_problems(release: ReleaseConfig) -> Iterator[Problem]:
    """(location below `release`, sentence, hint) of everything that cannot be meant."""
    yield from _guardrail_problems(release)
    if release.canary is not None:
        yield from _step_problems(release)
        yield from _time_problems(release)


def _guardrail_problems(release: ReleaseConfig) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, guardrail in release.guardrails.items():
        place, full = ("guardrails", name), full_name(name)
        if full in seen:
            yield place, f"{name} and {seen[full]} are the same guardrail.", "Keep one."
        seen[full] = name
        yield from ((place, *problem) for problem in _problems_of(full, guardrail))


def _problems_of(name: str, guardrail: Guardrail) -> Iterator[tuple[str, str | None]]:
    builtin = name.removeprefix(BUILTIN) if name.startswith(BUILTIN) else None
    if builtin is not None and builtin not in BUILTINS:
        yield (
            f"there is no built-in guardrail {builtin!r}.",
            f"There are {', '.join(BUILTINS)}; outcomes are outcomes.NAME.",
        )
        return
    drop, rise = guardrail.max_drop, guardrail.max_rise
    if drop is None and rise is None:
        yield f"{name} says neither max_drop nor max_rise.", "Say how much worse it may become: `max_drop: 0.005`."
    if builtin in ("error", "latency_p99_ms") and drop is not None:
        yield f"a drop of {name} harms nobody.", "Declare `max_rise`."
    if builtin != "requests_per_unit" and drop is not None and rise is not None:
        yield f"{name} has max_drop and max_rise.", "Keep the one that harms."
    if builtin == "requests_per_unit" and None not in (drop, rise) and drop != rise:
        yield f"{name} has two different margins.", "Give max_drop and max_rise the same value, or keep one."
    if builtin is not None and (guardrail.absent, guardrail.delay, guardrail.cap) != (None, None, None):
        yield f"{name} is measured by Holdfast itself.", "Remove absent, delay and cap; they are for outcomes."
    if builtin is None and guardrail.absent is None:
        yield (
            f"{name} does not say what a request without that outcome means.",
            "Add `absent: zero` or `absent: missing`.",
        )
    if builtin is None and guardrail.delay is None:
        yield f"{name} does not say how late that outcome may come.", "Add `delay:`, such as 30m."


def _step_problems(release: ReleaseConfig) -> Iterator[Problem]:
    assert release.canary is not None  # noqa: S101 - the caller looked
    steps = release.canary.steps
    for number, (step, following) in enumerate(pairwise(steps)):
        if step.hours is None:
            yield (
                ("canary", "steps", number),
                "a step before the last one does not say how long it lasts.",
                "Add `hours:`.",
            )
        if following.share <= step.share:
            place = ("canary", "steps", number + 1)
            yield (
                place,
                f"the share falls from {step.share:g} to {following.share:g}.",
                "Shares rise from step to step.",
            )
    if not release.guardrails:
        yield ("canary",), "a canary without a guardrail could not be judged.", "Add `guardrails:` beside it."


def _time_problems(release: ReleaseConfig) -> Iterator[Problem]:
    assert release.canary is not None  # noqa: S101 - the caller looked
    canary = release.canary
    earlier = sum(step.hours or 0.0 for step in canary.steps[:-1])
    last = canary.max_hours - earlier
    lasting = canary.steps[-1].hours
    if last < canary.min_hours:
        left = f"the earlier steps take {earlier:g} h and leave {last:g} h of max_hours"
        message = f"{left}, less than min_hours ({canary.min_hours:g})."
        yield ("canary", "max_hours"), message, f"Set max_hours to at least {earlier + canary.min_hours:g}."
    elif lasting is not None and lasting < canary.min_hours:
        place = ("canary", "steps", len(canary.steps) - 1, "hours")
        yield (
            place,
            f"the last step lasts {lasting:g} h, less than min_hours {canary.min_hours:g}.",
            "Leave its hours out: it lasts until the end.",
        )
    delay = max((g.delay.total_seconds() / 3600 for g in release.guardrails.values() if g.delay), default=0.0)
    window = canary.unit_window.total_seconds() / 3600
    if window >= canary.max_hours:
        yield (
            ("canary", "unit_window"),
            f"unit_window {window:g} h is not shorter than max_hours {canary.max_hours:g}.",
            "No unit's window would ever close.",
        )
    elif last >= canary.min_hours and not looks_of(canary, delay):
        closing = f"unit_window and the longest delay ({window + delay:g} h)"
        message = f"no whole day of the last step ({last:g} h) is later than {closing}."
        yield ("canary",), message, "Make max_hours longer, or unit_window and delay shorter."


def looks_of(canary: Any, delay_hours: float) -> list[float]:
    """The hours of the last step at which promotion is asked: whole days by which some unit's window can have closed."""
    last = canary.max_hours - sum(step.hours or 0.0 for step in canary.steps[:-1])
    end = last + (canary.extend_hours if canary.on_undecided == "extend" else 0.0)
    window = canary.unit_window.total_seconds() / 3600
    days = range(1, int(end // 24) + 1)
    return [24.0 * day for day in days if 24.0 * day >= canary.min_hours and 24.0 * day > window + delay_hours]
