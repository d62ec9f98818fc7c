"""What people do to a release. Each action appends one event, then makes the registry match. Thin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.errors import Conflict, OutsideError, Refused, UserError
from holdfast.ledger import Event, Ledger
from holdfast.registry import Registry
from holdfast.release.decide import (
    Decided,
    Promote,
    Rollback,
    decide_promotion,
    decide_rollback,
    decide_stage,
)
from holdfast.release.reconcile import (
    adopted_version,
    check_owner,
    guard_first_release,
    read_state,
    reconcile,
    stream_of,
)
from holdfast.release.state import ReleaseState, ReleaseVersion
from holdfast.release.story import story
from holdfast.store import canonical_json, digest
from holdfast.verdict import Verdict

_TRIES = 20


@dataclass(frozen=True)
class Done:
    """An action that took place: one sentence, notices, and the version that it is about."""

    message: str
    version: str
    notices: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"message": self.message, "version": self.version, "notices": list(self.notices)}


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
    for _ in range(_TRIES):
        state = read_state(ledger, model)
        check_owner(state, registry.model_tags(model), model)
        known = [version for version in state.versions.values() if version.digest == digest]
        if known and registry.version(model, known[-1].version) is not None:
            return known[-1]
        made = registry.register(model, uri, run_id, {"holdfast.digest": digest})
        version = ReleaseVersion(version=made.version, digest=digest, uri=uri, run_id=run_id, lineage=lineage)
        try:
            ledger.append(stream_of(model), "registered", version.to_json(), expected=state.length)
        except Conflict:
            continue
        return version
    raise Conflict(f"the ledger of {model} kept changing while a version was to be registered.")


def stage(ledger: Ledger, registry: Registry, model: str, number: str) -> ReleaseVersion:
    """Make version `number` the candidate."""
    state = read_state(ledger, model)
    guard_first_release(state, registry, model)
    decided = decide_stage(state, number)
    if decided is not None:
        _append(ledger, model, state, decided)
    reconcile(ledger, registry, model)
    return state.versions[number]


def promote(ledger: Ledger, registry: Registry, model: str, command: Promote) -> Done:
    """Make a version the champion: of any number of promoters at once exactly one wins, the others get Conflict."""
    state = read_state(ledger, model)
    guard_first_release(state, registry, model)
    check_owner(state, registry.model_tags(model), model)
    decided = decide_promotion(state, command)
    number = decided.payload["version"]
    _must_exist(registry, model, number)
    if state.champion is not None:
        _way_back(registry, model, state.champion)
    _append(ledger, model, state, decided)
    reconcile(ledger, registry, model)
    was = f" (was version {state.champion.version})" if state.champion else ""
    return Done(f"version {number} is the champion{was}.", number, decided.notices)


def rollback(
    ledger: Ledger, registry: Registry, model: str, *, to: str | None = None, reason: str | None = None
) -> Done:
    """Make an earlier champion the champion again."""
    state = read_state(ledger, model)
    decided = decide_rollback(state, Rollback(to=to, reason=reason))
    if decided is None:
        reconcile(ledger, registry, model)
        return Done(f"version {to} is the champion already.", str(to))
    number = decided.payload["to"]
    _must_exist(registry, model, number)
    _append(ledger, model, state, decided)
    reconcile(ledger, registry, model)
    return Done(f"version {number} is the champion again; version {decided.payload['from']} is not.", number)


def adopt(ledger: Ledger, registry: Registry, model: str, known: Mapping[str, Mapping[str, Any]] | None = None) -> Done:
    """Record the registry's aliases (or its stage Production) as the state to start from.

    `known` may say more of a version than the registry does: its digest and lineage.
    """
    state = read_state(ledger, model)
    if state.champion is not None:
        raise Refused(f"the ledger knows a champion already: version {state.champion.version}.")
    aliases = {k: v for k, v in registry.aliases(model).items() if k in ("champion", "previous", "candidate")}
    if "champion" not in aliases:
        staged = registry.stage_champion(model)
        if staged is None:
            raise UserError(f"{model} has no champion in {registry.uri}, so there is nothing to adopt.")
        aliases["champion"] = staged.version
    versions = [
        {**adopted_version(registry, model, number, state), **(known or {}).get(number, {})}
        for number in sorted(set(aliases.values()), key=int)
    ]
    decided = Decided("adopted", {"aliases": aliases, "versions": versions})
    _append(ledger, model, state, decided)
    reconcile(ledger, registry, model)
    return Done(f"adopted version {aliases['champion']} as the champion of {model}.", aliases["champion"])


def status(ledger: Ledger, model: str) -> dict[str, Any]:
    """Champion, previous, candidate and anchor as plain data, and the story in sentences."""
    events = ledger.read(stream_of(model))
    state = read_state(ledger, model)
    roles = {
        "champion": state.champion,
        "previous": state.previous,
        "candidate": state.candidate,
        "anchor": state.anchor,
    }
    found: dict[str, Any] = {name: None if v is None else v.to_json() for name, v in roles.items()}
    return {**found, "unhealthy": sorted(state.unhealthy), "foreign": dict(state.foreign), "story": story(events)}


def _append(ledger: Ledger, model: str, state: ReleaseState, decided: Decided) -> Event:
    return ledger.append(
        stream_of(model), decided.type, decided.payload, evidence=decided.evidence, expected=state.length
    )


def _must_exist(registry: Registry, model: str, number: str) -> None:
    if registry.version(model, number) is None:
        raise OutsideError(f"version {number} of {model} no longer exists in the registry.", reason_code="version_gone")


def _way_back(registry: Registry, model: str, champion: ReleaseVersion) -> None:
    """Refused where the champion, the future way back, is gone."""
    if registry.version(model, champion.version) is None:
        raise Refused(
            f"there would be nothing to roll back to: version {champion.version}, the champion, is gone from the registry.",
            hint="Restore it, or roll back to a version that exists first.",
            reason_code="no_way_back",
        )
