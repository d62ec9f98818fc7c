"""What people do to a release. Each action looks at the world, appends one event, and makes the registry match. Thin."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holdfast.errors import OutsideError, Refused
from holdfast.ledger import Event, Ledger
from holdfast.registry import Registry
from holdfast.release.commands import Decided, Promote, ResetAnchor, Rollback, Stage
from holdfast.release.commit import Done, commit
from holdfast.release.decide import decide
from holdfast.release.evidence import confirm, score_of, stored_report
from holdfast.release.ownership import check_owner, guard_first_release
from holdfast.release.reconcile import converge, read_state, stream_of
from holdfast.release.roles import decide_promotion
from holdfast.release.state import ReleaseState, ReleaseVersion, fold
from holdfast.release.story import rows, story
from holdfast.store import canonical_json, digest
from holdfast.verdict import Verdict


def record_judgement(
    ledger: Ledger,
    model: str,
    *,
    report: str,
    verdict: Verdict,
    candidate: Mapping[str, Any],
    champion: str | None,
    policy: Mapping[str, Any],
) -> Event:
    """Write that a gate judged `candidate` (uri, digest, run_id, version) against version `champion`."""
    payload = {
        "verdict": verdict.value,
        "candidate": dict(candidate),
        "champion": champion,
        "policy": digest(canonical_json(dict(policy))),
    }
    return ledger.append_latest(stream_of(model), "judged", payload, evidence={"report": report})


def register(
    ledger: Ledger,
    registry: Registry,
    model: str,
    *,
    uri: str,
    digest: str,
    run_id: str | None,
    lineage: Mapping[str, Any],
) -> ReleaseVersion:
    """Make what `uri` names a version, in the registry and then in the ledger; the same content gives the same version."""
    state = read_state(ledger, model)
    guard_first_release(state, registry, model)
    check_owner(state, registry.model_tags(model), model)
    known = _registered(state, registry, model, digest)
    if known is None:
        made = registry.register(model, uri, run_id, {"holdfast.digest": digest})
        known = ReleaseVersion(version=made.version, digest=digest, uri=uri, run_id=run_id, lineage=lineage)
        commit(ledger, model, lambda now: _registration(now, known))
    converge(ledger, registry, model)
    return known


def stage(ledger: Ledger, registry: Registry, model: str, number: str) -> ReleaseVersion:
    """Make version `number` the candidate."""
    state = _prepared(ledger, registry, model)
    guard_first_release(state, registry, model, role="candidate")

    def choose(now: ReleaseState) -> Decided | None:
        decided = decide(now, Stage(version=number))
        _must_be_there(registry, model, number)
        return decided

    state, _ = commit(ledger, model, choose)
    converge(ledger, registry, model)
    return state.versions[number]


def promote(ledger: Ledger, registry: Registry, model: str, command: Promote) -> Done:
    """Make a version the champion: of any number of promoters at once exactly one wins, the others get Conflict.

    Raises Refused where the stored report does not allow it and nobody overrides, or where the champion could not be
    rolled back to; OutsideError where the version itself is gone.
    """
    _prepared(ledger, registry, model)

    def choose(now: ReleaseState) -> Decided:
        decided = decide_promotion(now, command)
        _must_be_there(registry, model, decided.payload["version"])
        if now.champion is not None:
            _must_be_a_way_back(registry, model, now, now.champion.version)
        return _with_evidence(ledger, now, command, decided)

    _, decided = commit(ledger, model, choose)
    number, was = decided.payload["version"], decided.payload["from"]
    done = converge(ledger, registry, model)
    message = f"version {number} is the champion" + (f" (was version {was})." if was else ".")
    return Done(message, number, (*decided.notices, *done.complaints(model)))


def rollback(
    ledger: Ledger, registry: Registry, model: str, *, to: str | None = None, reason: str | None = None
) -> Done:
    """Make an earlier champion the champion again; where it is that already, say so."""
    _prepared(ledger, registry, model)

    def choose(now: ReleaseState) -> Decided | None:
        decided = decide(now, Rollback(to=to, reason=reason))
        if decided is not None:
            _must_exist_to_go_back(registry, model, now, decided.payload["to"])
        return decided

    _, decided = commit(ledger, model, choose)
    done = converge(ledger, registry, model)
    if decided is None:
        return Done(f"version {to} is the champion already.", str(to), tuple(done.complaints(model)))
    number, bad = decided.payload["to"], decided.payload["from"]
    message = f"version {number} is the champion again; version {bad} is not."
    return Done(message, number, tuple(done.complaints(model)))


def reset_anchor(ledger: Ledger, registry: Registry, model: str, *, reason: str) -> Done:
    """Measure total loss from the present champion on."""
    _prepared(ledger, registry, model)
    state, decided = commit(ledger, model, lambda now: decide(now, ResetAnchor(reason=reason)))
    converge(ledger, registry, model)
    number = "" if state.champion is None else state.champion.version
    return Done(f"version {number} is the anchor{'' if decided else ' already'}.", number)


def status(ledger: Ledger, model: str) -> dict[str, Any]:
    """Champion, previous, candidate, anchor and the canary as plain data, the history in rows, the story in sentences."""
    events = ledger.read(stream_of(model))
    state = fold(events)
    roles = {
        "champion": state.champion,
        "previous": state.previous,
        "candidate": state.candidate,
        "anchor": state.anchor,
    }
    found: dict[str, Any] = {name: None if v is None else v.to_json() for name, v in roles.items()}
    return {
        **found,
        "unhealthy": sorted(state.unhealthy, key=int),
        "foreign": dict(state.foreign),
        "release": None if state.attempt is None else state.attempt.to_json(),
        "drill": None if state.drill is None else dataclasses.asdict(state.drill),
        "routing": None if state.routing is None else state.routing.to_json(),
        "history": rows(events),
        "story": story(events, every=False),
    }


def _prepared(ledger: Ledger, registry: Registry, model: str) -> ReleaseState:
    """The state to act on, after what an earlier crash left undone was done and what others moved was noticed."""
    guard_first_release(read_state(ledger, model), registry, model)
    converge(ledger, registry, model)
    return read_state(ledger, model)


def _registered(state: ReleaseState, registry: Registry, model: str, digest: str) -> ReleaseVersion | None:
    same = (version for version in reversed(list(state.versions.values())) if version.digest == digest)
    return next((version for version in same if registry.version(model, version.version) is not None), None)


def _registration(state: ReleaseState, made: ReleaseVersion) -> Decided | None:
    before = state.versions.get(made.version)
    if before is not None and before.digest == made.digest:
        return None  # somebody else registered the same at the same time
    if before is not None:
        raise Refused(
            f"{made.uri} is version {made.version} already, which had other content when it was registered.",
            hint="Log the new model in a run of its own.",
        )
    return Decided("registered", made.to_json())


def _with_evidence(ledger: Ledger, state: ReleaseState, command: Promote, decided: Decided) -> Decided:
    """The promotion with what its stored report says, after the report itself has confirmed the record of it."""
    name = decided.evidence.get("report")
    if name is None:
        return decided
    report = stored_report(ledger.store, name)
    if not command.override:
        confirm(report, state.versions[decided.payload["version"]], state.champion, command.policy_digest)
    return replace(decided, payload={**decided.payload, "score": score_of(report)})


def _must_be_there(registry: Registry, model: str, number: str) -> None:
    if not registry.has_files(model, number):
        raise OutsideError(
            f"version {number} of {model} can no longer be fetched from the registry.",
            hint="Register it again with `holdfast register`.",
            reason_code="version_gone",
        )


def _must_be_a_way_back(registry: Registry, model: str, state: ReleaseState, champion: str) -> None:
    """Refused where the champion, the future way back, can no longer be fetched."""
    if not registry.has_files(model, champion):
        raise Refused(
            f"there would be nothing to roll back to: version {champion}, the champion, "
            "can no longer be fetched from the registry.",
            hint=f"Restore it, or roll back first{_named(registry, model, state)}.",
            reason_code="no_way_back",
        )


def _must_exist_to_go_back(registry: Registry, model: str, state: ReleaseState, number: str) -> None:
    if not registry.has_files(model, number):
        raise OutsideError(
            f"version {number} of {model} can no longer be fetched from the registry, so a rollback cannot go there.",
            hint=f"Restore it, or go further back{_named(registry, model, state)}.",
            reason_code="version_gone",
        )


def _named(registry: Registry, model: str, state: ReleaseState) -> str:
    """The command that goes back to what is still there."""
    there = next((number for number in state.ways_back() if registry.has_files(model, number)), None)
    return "" if there is None else f": holdfast release rollback --to {there}"
