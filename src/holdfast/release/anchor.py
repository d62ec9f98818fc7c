"""The anchor: the best champion of the last 90 days, so that many small legal steps down do not add up. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

WINDOW = timedelta(days=90)


@dataclass(frozen=True, kw_only=True)
class Tenure:
    """One version's time as champion, in UTC text; `until` is None for the one who serves.

    `score` is what it was released with: {"metric", "value", "direction", "holdout"}; None where nobody measured it.
    """

    version: str
    since: str
    until: str | None = None
    score: Mapping[str, Any] | None = None


def began(
    tenures: tuple[Tenure, ...], version: str, time: str, score: Mapping[str, Any] | None = None
) -> tuple[Tenure, ...]:
    """`tenures` after `version` became champion at `time`. Without a `score` of its own it keeps the one it had."""
    if score is None:
        score = next((t.score for t in reversed(tenures) if t.version == version), None)
    closed = (*tenures[:-1], replace(tenures[-1], until=time)) if tenures else ()
    return (*closed, Tenure(version=version, since=time, score=score))


def anchor_after(
    tenures: Sequence[Tenure], anchor: str | None, now: str, unhealthy: Collection[str], *, better: bool
) -> str | None:
    """The anchor after the champion has changed at `now` to the last of `tenures`.

    A new champion takes it where it was measured `better` than the anchor. Otherwise the anchor stays, until its last day
    as champion is more than 90 days past or it was rolled back from; then it is the best of those who are left.
    """
    if not tenures:
        return None
    if better:
        return tenures[-1].version
    recent = [t for t in tenures if t.version not in unhealthy and _is_recent(t, now)]
    if any(t.version == anchor for t in recent):
        return anchor
    return _best(recent) if recent else tenures[-1].version


def _is_recent(tenure: Tenure, now: str) -> bool:
    return tenure.until is None or datetime.fromisoformat(now) - datetime.fromisoformat(tenure.until) <= WINDOW


def _best(tenures: Sequence[Tenure]) -> str:
    """The highest score; the earliest champion where the scores cannot be compared."""
    scores = [t.score for t in tenures if t.score is not None]
    kinds = {(s.get("metric"), s.get("direction"), s.get("holdout")) for s in scores}
    if len(scores) < len(tenures) or len(kinds) != 1:
        return tenures[0].version
    sign = -1.0 if scores[0].get("direction") == "lower" else 1.0
    ranked = [(sign * float(score["value"]), -place) for place, score in enumerate(scores)]
    return tenures[-max(ranked)[1]].version
