"""Who may have which role: staging, promoting, rolling back, the anchor. Pure."""

from __future__ import annotations

from holdfast.errors import Refused, UserError
from holdfast.release.commands import Decided, Promote, ResetAnchor, Rollback, Stage, Start
from holdfast.release.policy import policy_notices
from holdfast.release.state import Judgement, ReleaseState, ReleaseVersion
from holdfast.verdict import Verdict


def decide_stage(state: ReleaseState, command: Stage) -> Decided | None:
    """Stage a version; None where it is staged already."""
    stop_at_foreign(state)
    number = known_version(state, command.version).version
    if state.champion is not None and state.champion.version == number:
        raise Refused(f"version {number} is the champion already.", hint="Stage another version.")
    if state.candidate is not None and state.candidate.version == number:
        return None
    return Decided("staged", {"version": number})


def decide_promotion(state: ReleaseState, command: Promote) -> Decided:
    """Promote; Refused where the evidence is missing and nobody takes it on his name."""
    stop_at_foreign(state)
    stop_at_living(state)
    version = wanted_version(state, command.version)
    champion = None if state.champion is None else state.champion.version
    if champion == version.version:
        raise Refused(f"version {version.version} is the champion already.")
    if command.override is not None and not command.override.strip():
        raise UserError("--override needs a reason.", hint='Type --override "why".')
    judgement = newest_judgement(state, version) if command.override else evidence_for(state, version, command)
    payload = {
        "version": version.version,
        "from": champion,
        "first_release": champion is None,
        "policy": dict(command.policy),
        "policy_digest": command.policy_digest,
        "override": command.override,
        "anchor": command.anchor,
    }
    evidence = {} if judgement is None else {"report": judgement.report}
    return Decided("promoted", payload, evidence, tuple(_notices(state, version, command)))


def evidence_for(state: ReleaseState, version: ReleaseVersion, command: Promote | Start) -> Judgement:
    """The report that allows `version`: the newest on it under this policy and against the present champion, if it passed.

    `command.report` may name it; a report that a later one of the same kind contradicts does not count.
    """
    about = [j for j in state.judgements if j.digest == version.digest]
    named = [j for j in about if command.report in (None, j.report)]
    champion = None if state.champion is None else state.champion.version
    gate = f"Type: holdfast gate --candidate {version.uri or version.version}"
    if not named:
        which = f"report {command.report[:19]}…" if command.report else "no report on record"
        since = " since it was rolled back from" if version.version in state.unhealthy else ""
        raise Refused(
            f"{which} names version {version.version}{since}, so nothing shows that it may be released.", hint=gate
        )
    if all(j.champion != champion for j in named):
        theirs = _called(named[-1].champion)
        raise Refused(
            f"the report of version {version.version} compares it with {theirs}, "
            f"and the champion is {_called(champion)}.",
            hint=gate,
        )
    fitting = [j for j in about if j.champion == champion and j.policy == command.policy_digest]
    if not any(j in named for j in fitting):
        raise Refused(
            f"version {version.version} was judged under another policy than the one declared now.", hint=gate
        )
    newest = fitting[-1]
    if newest.verdict is not Verdict.PASS:
        raise Refused(
            f"the gate's verdict on version {version.version} is {newest.verdict.value}, not pass.",
            hint='Train a better one, or take it on your name: holdfast release promote --override "REASON".',
        )
    passed = [j for j in fitting if j in named and j.verdict is Verdict.PASS]
    if not passed:
        raise Refused(f"report {str(command.report)[:19]}… did not pass.", hint=f"The newest is {newest.report}.")
    return passed[-1]


def decide_rollback(state: ReleaseState, command: Rollback) -> Decided | None:
    """Roll back; None where `to` is the champion already. Refused where there is nothing sound to go back to."""
    stop_at_foreign(state)
    stop_at_living(state)
    if state.champion is None:
        raise Refused("there is no champion, so there is nothing to roll back.")
    champion = state.champion.version
    if command.to == champion:
        return None
    target = state.previous.version if command.to is None and state.previous is not None else command.to
    ways = ", ".join(state.ways_back())
    others = f"Sound earlier champions: {ways}." if ways else "Promote a better version instead."
    if target is None:
        raise Refused(
            f"there is nothing to roll back to: version {champion} has no sound champion before it.", hint=others
        )
    known_version(state, target)
    if target in state.unhealthy:
        raise Refused(f"version {target} was itself rolled back from.", hint=others)
    if not state.is_sound(target):
        raise Refused(f"version {target} was never champion, so a rollback cannot go there.", hint=others)
    return Decided("rolled_back", {"from": champion, "to": target, "reason": command.reason})


def decide_reset(state: ReleaseState, command: ResetAnchor) -> Decided | None:
    """Reset the anchor to the champion; None where it is the anchor already."""
    stop_at_foreign(state)
    if state.champion is None:
        raise Refused("there is no champion, so there is nothing to anchor to.")
    if not command.reason.strip():
        raise UserError("resetting the anchor needs a reason.")
    if state.anchor == state.champion:
        return None
    before = None if state.anchor is None else state.anchor.version
    return Decided("anchor_reset", {"from": before, "to": state.champion.version, "reason": command.reason})


def stop_at_foreign(state: ReleaseState) -> None:
    """Refused while an alias stands where somebody else moved it."""
    if state.foreign:
        alias, number = next(iter(state.foreign.items()))
        raise Refused(
            f"somebody else moved the alias {alias} to version {number}.",
            hint="Type `holdfast release reconcile --accept` or `--restore`.",
            reason_code="foreign_change",
        )


def stop_at_living(state: ReleaseState) -> None:
    """Refused while a release is under way, or the way back is being tried."""
    living = state.living
    if living is not None:
        raise Refused(
            f"release {living.id} of version {living.candidate} is {living.status.value.replace('_', ' ')}.",
            hint="Look with `holdfast release status`; `holdfast release abort` ends it.",
            reason_code="release_under_way",
        )
    if state.drill is not None and state.drill.is_living:
        raise Refused(
            f"the way back is being tried (drill {state.drill.id}).",
            hint="Wait a minute; a drill that was interrupted is closed by the controller, or by the next drill.",
            reason_code="drill_under_way",
        )


def known_version(state: ReleaseState, number: str) -> ReleaseVersion:
    """The version in the ledger; UserError where it is not there."""
    if number not in state.versions:
        known = ", ".join(sorted(state.versions, key=int)) or "none"
        raise UserError(
            f"there is no version {number} in the ledger (known: {known}).", hint="Type `holdfast register`."
        )
    return state.versions[number]


def wanted_version(state: ReleaseState, number: str | None) -> ReleaseVersion:
    """The version called `number`, by default the staged candidate; Refused where nothing is staged."""
    if number is not None:
        return known_version(state, number)
    if state.candidate is None:
        raise Refused("no version is staged.", hint="Type `holdfast run`, or `holdfast stage --version N`.")
    return state.candidate


def newest_judgement(state: ReleaseState, version: ReleaseVersion) -> Judgement | None:
    """What a gate said last of `version`, whatever it was."""
    return next((j for j in reversed(state.judgements) if j.digest == version.digest), None)


def _notices(state: ReleaseState, version: ReleaseVersion, command: Promote) -> list[str]:
    first = "first release: there is no champion yet, and nothing to roll back to."
    notices = [first] if state.champion is None else []
    if version.version in state.unhealthy:
        notices.append(f"version {version.version} was rolled back from before.")
    return notices + policy_notices(state.policy, command.policy)


def _called(champion: str | None) -> str:
    return "no champion" if champion is None else f"version {champion}"
