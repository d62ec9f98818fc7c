"""What people do to a canary. Each command looks at the world, writes one event, and tells the router. Thin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from holdfast.errors import OutsideError, Refused
from holdfast.ledger import Ledger
from holdfast.registry import Registry
from holdfast.release.commands import Decided, Finish, Hold, Observation, Resume, Return, Start
from holdfast.release.commit import Done, commit
from holdfast.release.decide import decide
from holdfast.release.evidence import confirm, score_of, stored_report
from holdfast.release.pointing import point_recorded
from holdfast.release.reconcile import converge, read_state
from holdfast.release.routing import TrafficRouter
from holdfast.release.state import ReleaseState
from holdfast.verdict import utc_text


def start(ledger: Ledger, registry: Registry, router: TrafficRouter, model: str, command: Start) -> Done:
    """Begin a canary. Traffic is shifted by the controller, once the canary answers.

    Raises Refused where report, drill or plan do not allow it; OutsideError where the candidate or the way back cannot be
    fetched, or the router is away.
    """
    converge(ledger, registry, model)
    router.read()

    def choose(now: ReleaseState) -> Decided | None:
        decided = decide(now, command)
        assert decided is not None  # noqa: S101 - a start always leads somewhere
        for number in (decided.payload["candidate"], decided.payload["champion"]):
            if not registry.has_files(model, number):
                raise OutsideError(
                    f"version {number} of {model} can no longer be fetched from the registry.",
                    hint="Register it again before a canary starts.",
                    reason_code="version_gone",
                )
        return _with_score(ledger, now, command, decided)

    _, decided = commit(ledger, model, choose)
    payload: Mapping[str, Any] = {} if decided is None else decided.payload
    notices = () if decided is None else decided.notices
    message = f"release {payload['release']} of version {payload['candidate']} is pending."
    return Done(message, str(payload["candidate"]), notices)


def pause(ledger: Ledger, model: str, *, reason: str) -> Done:
    """Leave the shares as they are; harm still ends it."""
    state, decided = commit(ledger, model, lambda now: decide(now, Hold(reason=reason)))
    return _done(state, "is held" if decided else "is held already")


def resume(ledger: Ledger, model: str) -> Done:
    """Go on after a pause or a hold."""
    state, decided = commit(ledger, model, lambda now: decide(now, Resume()))
    return _done(state, "goes on" if decided else "is running already")


def finish(ledger: Ledger, registry: Registry, router: TrafficRouter, model: str, *, reason: str) -> Done:
    """Promote the canary on somebody's name; the controller does the rest, as after a decision by evidence."""
    candidate = _candidate(read_state(ledger, model))
    seen = replace(_seen(ledger, router), files={candidate: registry.has_files(model, candidate)})
    state, decided = commit(ledger, model, lambda now: decide(now, Finish(reason=reason, seen=seen)))
    point_recorded(router, read_state(ledger, model))
    return _done(state, "is being promoted" if decided else "is being promoted already")


def take_back(
    ledger: Ledger,
    router: TrafficRouter,
    model: str,
    *,
    reason: str | None,
    into: Literal["rolled_back", "aborted"] = "rolled_back",
) -> Done:
    """Everybody back to the champion, now: written, and the router told, before anything else is looked at."""
    try:
        seen = _seen(ledger, router)
    except OutsideError:
        seen = Observation(now=utc_text(ledger.clock()), reachable=False)
    command = Return(seen=seen, reason=reason, into=into)
    state, decided = commit(ledger, model, lambda now: decide(now, command))
    point_recorded(router, read_state(ledger, model))
    return _done(state, "is rolled back" if decided else "is rolled back already")


def _seen(ledger: Ledger, router: TrafficRouter) -> Observation:
    return Observation(now=utc_text(ledger.clock()), routing=router.read(), health=dict(router.health()))


def _candidate(state: ReleaseState) -> str:
    if state.living is None:
        raise Refused("no release is under way.", hint="Type `holdfast release start`.", reason_code="no_release")
    return state.living.candidate


def _done(state: ReleaseState, what: str) -> Done:
    living = state.living
    name, number = ("", "") if living is None else (living.id, living.candidate)
    return Done(f"release {name} of version {number} {what}.", number)


def _with_score(ledger: Ledger, state: ReleaseState, command: Start, decided: Decided) -> Decided:
    """The start with what its stored report says, after the report itself has confirmed the record of it."""
    name = decided.evidence.get("report")
    if name is None:
        return decided
    report = stored_report(ledger.store, name)
    if not command.override:
        confirm(report, state.versions[decided.payload["candidate"]], state.champion, command.policy_digest)
    granted = {**decided.payload["granted"], "score": score_of(report)}
    return replace(decided, payload={**decided.payload, "granted": granted})
