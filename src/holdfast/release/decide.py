"""What may happen next: a state and a command give the payload of the next event, or a reason why not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import Refused, UserError
from holdfast.release.state import Judgement, ReleaseState, ReleaseVersion
from holdfast.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Promote:
    """Make `version` (default: the staged candidate) the champion, on the word of `report` or by `override`.

    `policy` is the policy as declared now and `policy_digest` its hash; `anchor` says that the candidate beat the anchor.
    """

    policy: Mapping[str, Any]
    policy_digest: str
    version: str | None = None
    report: str | None = None
    override: str | None = None
    anchor: bool = False


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """Go back to `to` (default: the previous champion)."""

    to: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Decided:
    """The next event's payload and evidence, and what the user should hear beside it."""

    type: str
    payload: Mapping[str, Any]
    evidence: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def decide_stage(state: ReleaseState, number: str) -> Decided | None:
    """Stage version `number`; None where it is staged already."""
    version = known_version(state, number)
    if state.champion is not None and state.champion.version == number:
        raise Refused(f"version {number} is the champion already.", hint="Stage another version.")
    if state.candidate is not None and state.candidate.version == number:
        return None
    return Decided("staged", {"version": version.version})


def decide_promotion(state: ReleaseState, command: Promote) -> Decided:
    """Promote; Refused with the reason and the next command where the evidence or the way back is missing."""
    stop_at_foreign(state)
    version = _wanted(state, command.version)
    if state.champion is not None and state.champion.version == version.version:
        raise Refused(f"version {version.version} is the champion already.")
    if command.override is not None and not command.override.strip():
        raise UserError("--override needs a reason.", hint='Type --override "why".')
    judgement = None if command.override else evidence_for(state, version, command)
    first = state.champion is None
    payload = {
        "version": version.version,
        "from": None if first else state.champion.version,  # type: ignore[union-attr]
        "first_release": first,
        "policy": dict(command.policy),
        "policy_digest": command.policy_digest,
        "override": command.override,
        "anchor": command.anchor,
    }
    evidence = {} if judgement is None else {"report": judgement.report}
    return Decided("promoted", payload, evidence, tuple(_notices(state, command, first=first)))


def evidence_for(state: ReleaseState, version: ReleaseVersion, command: Promote) -> Judgement:
    """The newest passing report about this version, this policy and the current champion."""
    about = [j for j in state.judgements if j.digest == version.digest]
    if command.report is not None:
        about = [j for j in about if j.report == command.report]
    champion = None if state.champion is None else state.champion.version
    gate = f"holdfast gate --candidate {version.uri or version.version}"
    if not about:
        which = f"report {command.report[:19]}…" if command.report else "no report on record"
        raise Refused(
            f"{which} names version {version.version}, so nothing shows that it may be released.", hint=f"Type: {gate}"
        )
    current = [j for j in about if j.champion == champion]
    if not current:
        theirs = about[-1].champion
        raise Refused(
            f"the report of version {version.version} compares it with {_called(theirs)}, and the champion is {_called(champion)}.",
            hint=f"Type: {gate}",
        )
    same_policy = [j for j in current if j.policy == command.policy_digest]
    if not same_policy:
        raise Refused(
            f"version {version.version} was judged under another policy than the one declared now.",
            hint=f"Type: {gate}",
        )
    newest = same_policy[-1]
    if newest.verdict is not Verdict.PASS:
        raise Refused(
            f"the gate's verdict on version {version.version} is {newest.verdict.value}, not pass.",
            hint='Train a better one, or take it on your name: holdfast release promote --override "REASON".',
        )
    return newest


def decide_rollback(state: ReleaseState, command: Rollback) -> Decided | None:
    """Roll back; None where `to` is the champion already. Refused where there is nothing sound to go back to."""
    if state.champion is None:
        raise Refused("there is no champion, so there is nothing to roll back.")
    if command.to == state.champion.version:
        return None
    if command.to is None:
        target = state.previous
        if target is None:
            raise Refused(
                f"there is nothing to roll back to: version {state.champion.version} is the only champion there was.",
                hint="Name a registered version with --to.",
            )
    else:
        target = known_version(state, command.to)
        if target.version in state.unhealthy:
            raise Refused(f"version {target.version} was itself rolled back from.", hint="Name another with --to.")
    return Decided("rolled_back", {"from": state.champion.version, "to": target.version, "reason": command.reason})


def stop_at_foreign(state: ReleaseState) -> None:
    """Refused while an alias stands where somebody else moved it."""
    if state.foreign:
        alias, number = next(iter(state.foreign.items()))
        raise Refused(
            f"somebody else moved the alias {alias} to version {number}.",
            hint="Type `holdfast release reconcile --accept` or `--restore`.",
            reason_code="foreign_change",
        )


def known_version(state: ReleaseState, number: str) -> ReleaseVersion:
    """The version in the ledger; UserError where it is not there."""
    if number not in state.versions:
        known = ", ".join(sorted(state.versions, key=int)) or "none"
        raise UserError(
            f"there is no version {number} in the ledger (known: {known}).", hint="Type `holdfast register`."
        )
    return state.versions[number]


def loosened(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    """One sentence for each limit that `new` sets looser than `old`: a lower min, a wider margin, a limit that is gone."""
    if old is None:
        return []
    sentences = []
    before, after = dict(_limits(old)), dict(_limits(new))
    for name, limit in before.items():
        if name not in after:
            sentences.append(f"the policy no longer has {name} (it was {limit:g}).")
            continue
        lower_is_stricter = not name.endswith((".min", "confidence"))
        if after[name] != limit and (after[name] > limit) == lower_is_stricter:
            sentences.append(f"the policy is looser: {name} went from {limit:g} to {after[name]:g}.")
    return sentences


def _limits(policy: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Every number of a policy by its path, without what is no limit."""
    found: list[tuple[str, float]] = []
    for name, value in policy.items():
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(value, Mapping):
            found += _limits(value, path)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and name not in _NO_LIMITS:
            found.append((path, float(value)))
    return found


_NO_LIMITS = {"calls", "batch_rows", "min_units"}


def _wanted(state: ReleaseState, number: str | None) -> ReleaseVersion:
    if number is not None:
        return known_version(state, number)
    if state.candidate is None:
        raise Refused("no version is staged.", hint="Type `holdfast run`, or `holdfast stage --version N`.")
    return state.candidate


def _notices(state: ReleaseState, command: Promote, *, first: bool) -> list[str]:
    notices = ["first release: there is no champion yet, and nothing to roll back to."] if first else []
    version = command.version or (state.candidate.version if state.candidate else None)
    if version in state.unhealthy:
        notices.append(f"version {version} was rolled back from before.")
    return notices + loosened(state.policy, command.policy)


def _called(champion: str | None) -> str:
    return "no champion" if champion is None else f"version {champion}"
