"""What a canary does next: who may start, stop and finish it, and what is due at a controller's tick. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from holdfast.errors import Refused, UserError
from holdfast.release.attempt import Attempt, Status
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.commands import (
    Decided,
    DrillBack,
    DrillEnd,
    DrillOut,
    Finish,
    Hold,
    Observation,
    Resume,
    Return,
    Start,
    Tick,
)
from holdfast.release.policy import policy_notices
from holdfast.release.roles import evidence_for, newest_judgement, stop_at_foreign, stop_at_living, wanted_version
from holdfast.release.routing import Routing
from holdfast.release.state import ReleaseState

DRILL_SECONDS = 60.0  # after which a drill that has not ended was interrupted
_ENDINGS = {Decision.ROLL_BACK: "rolled_back", Decision.INVALID: "invalid"}


def decide_start(state: ReleaseState, command: Start) -> Decided:
    """Start; Refused without a passing report, a fresh drill, or with a plan that cannot succeed."""
    stop_at_foreign(state)
    stop_at_living(state)
    if state.champion is None:
        raise Refused(
            "there is no champion, so a canary has nothing to be compared with.",
            hint="Type `holdfast release promote`.",
        )
    version = wanted_version(state, command.version)
    if version.version == state.champion.version:
        raise Refused(f"version {version.version} is the champion already.", hint="Stage another version.")
    _must_have_drilled(state, command)
    if command.override is not None and not command.override.strip():
        raise UserError("--override needs a reason.", hint='Type --override "why".')
    if command.weak and not command.override:
        raise Refused(
            command.weak[0],
            hint='Change the plan, or take it on your name: holdfast release start --override "REASON".',
            reason_code="plan_cannot_succeed",
        )
    judgement = newest_judgement(state, version) if command.override else evidence_for(state, version, command)
    granted = {
        "policy": dict(command.policy),
        "policy_digest": command.policy_digest,
        "override": command.override,
        "anchor": command.anchor,
        "report": None if judgement is None else judgement.report,
    }
    payload = {
        "release": f"r{state.length}-{version.digest[-6:]}",
        "candidate": version.version,
        "champion": state.champion.version,
        "router": command.router,
        "plan": command.plan.to_json(),
        "granted": granted,
    }
    evidence = {} if judgement is None else {"report": judgement.report}
    return Decided("started", payload, evidence, (*command.weak, *policy_notices(state.policy, command.policy)))


def _must_have_drilled(state: ReleaseState, command: Start) -> None:
    """Nothing may shift traffic before the way back has been tried."""
    drill, hint = state.drill, "Type `holdfast release drill`."
    if drill is None or drill.ended is None:
        raise Refused("the way back was never tried on this system.", hint=hint, reason_code="no_drill")
    if not drill.ok:
        raise Refused("the last drill found that the way back does not work.", hint=hint, reason_code="no_drill")
    champion = "" if state.champion is None else state.champion.version
    if (drill.champion, drill.router) != (champion, command.router):
        raise Refused(
            f"the way back was tried with version {drill.champion} and the router {drill.router}, "
            f"not with version {champion} and {command.router}.",
            hint=hint,
            reason_code="no_drill",
        )
    age = _hours(drill.ended, command.now)
    if age > command.plan.drill_max_hours:
        raise Refused(
            f"the way back was tried {age:.0f} h ago, longer than {command.plan.drill_max_hours:g} h.",
            hint=hint,
            reason_code="no_drill",
        )


def decide_hold(state: ReleaseState, command: Hold) -> Decided | None:
    """Hold; None where a person holds it already. Refused where there is nothing to hold."""
    living = _living(state)
    if living.status is Status.HELD and living.held_by != "policy":
        return None
    if living.status not in (Status.RUNNING, Status.HELD):
        raise Refused(f"release {living.id} is {_words(living)}; only a running one can be paused.")
    return Decided("held", {"by": "person", "reason": command.reason})


def decide_resume(state: ReleaseState, command: Resume) -> Decided | None:
    """Resume; None where it runs."""
    del command
    living = _living(state)
    if living.status is Status.RUNNING:
        return None
    if living.status is not Status.HELD:
        raise Refused(f"release {living.id} is {_words(living)}; only a held one can be resumed.")
    return Decided("resumed", {})


def decide_finish(state: ReleaseState, command: Finish) -> Decided | None:
    """Promote on somebody's name; None where it is being promoted. Refused where the candidate does not answer."""
    stop_at_foreign(state)
    living, seen = _living(state), command.seen
    if not command.reason.strip():
        raise UserError("promoting a canary by hand needs a reason.", hint='Type --override "why".')
    if living.status is Status.PROMOTING:
        return None
    if living.status not in (Status.RUNNING, Status.HELD):
        raise Refused(f"release {living.id} is {_words(living)}; only a running or held one can be promoted.")
    if seen.is_dead(living.candidate):
        raise Refused(f"version {living.candidate} does not answer, so it is not promoted.", reason_code="unhealthy")
    if not seen.files.get(living.candidate):
        raise Refused(
            f"version {living.candidate} cannot be fetched from the registry now, so it is not promoted.",
            reason_code="version_gone",
        )
    return Decided("promoting", {"by": "person", "override": command.reason, "reason": command.reason})


def decide_return(state: ReleaseState, command: Return) -> Decided | None:
    """Go back to the champion; None where that is under way. Refused where the champion is the one that does not answer."""
    living = _living(state)
    if living.status is Status.ROLLING_BACK:
        return None
    if command.seen.is_dead(living.champion):
        raise Refused(
            f"version {living.champion}, the champion, does not answer: traffic stays where it is.",
            hint="Repair it, or promote the canary if that is the healthy one.",
            reason_code="unhealthy",
        )
    return Decided("returning", {"by": "person", "into": command.into, "reason": command.reason, "metric": None})


def decide_drill_out(state: ReleaseState, command: DrillOut) -> Decided:
    """Begin a drill; Refused while a release or another drill is under way."""
    stop_at_living(state)
    if state.champion is None:
        raise Refused("there is no champion yet, so there is no way back to try.")
    payload = {
        "drill": f"d{state.length}",
        "share": command.share,
        "champion": state.champion.version,
        "router": command.router,
    }
    return Decided("drill_out", payload)


def decide_drill_back(state: ReleaseState, command: DrillBack) -> Decided | None:
    """Take the drill's users back; None where nobody is out."""
    del command
    return Decided("drill_back", {}) if state.drill is not None and state.drill.is_out else None


def decide_drill_end(state: ReleaseState, command: DrillEnd) -> Decided | None:
    """Close the drill; None where none is living."""
    if state.drill is None or not state.drill.is_living:
        return None
    payload = {"ok": not command.problems, "problems": list(command.problems), "seconds": dict(command.seconds)}
    return Decided("drilled", payload)


def decide_tick(state: ReleaseState, command: Tick) -> Decided | None:
    """What is due: first the router's confirmation, then what the state of the release asks for."""
    seen = command.seen
    if seen.reachable and state.routed < state.epoch and _as_wanted(state.routing, seen.routing):
        return Decided("routed", {"epoch": state.epoch})
    drill = state.drill
    if drill is not None and drill.is_living:
        interrupted = _seconds(drill.began, seen.now) > DRILL_SECONDS
        return decide_drill_end(state, DrillEnd(problems=("interrupted",), seconds={})) if interrupted else None
    living = state.living
    if living is None or not seen.reachable:
        return None
    if seen.trip is not None and seen.trip.release == living.id and living.is_shifting:
        return _go_back(living, seen, seen.trip.told, "breaker")
    return _DUE[living.status](state, living, seen)


def _pending(state: ReleaseState, living: Attempt, seen: Observation) -> Decided | None:
    """Warm the canary up once the champion answers and the candidate's files are there."""
    del state
    if seen.is_dead(living.champion) or not seen.files.get(living.candidate):
        return None
    return Decided("warming", {})


def _warming(state: ReleaseState, living: Attempt, seen: Observation) -> Decided | None:
    """The first share once the canary answers; back if it does not within its time."""
    if state.routed < state.epoch:
        return None
    if seen.is_dead(living.candidate):
        late = _hours(living.entered, seen.now) > living.plan.warm_hours
        why = seen.why.get(living.candidate)
        reason = f"the canary did not answer in its time to warm up{f': {why}' if why else ''}"
        return _go_back(living, seen, reason, "health") if late else None
    return Decided("shifted", {"step": 0, "share": living.plan.steps[0].share})


def _running(state: ReleaseState, living: Attempt, seen: Observation) -> Decided | None:
    """What the canary's health and the evidence ask for."""
    if seen.is_dead(living.candidate):
        return _go_back(living, seen, f"version {living.candidate} does not answer", "health")
    found = seen.judgement
    harmed = found is not None and found.decision is Decision.ROLL_BACK
    if seen.lapsed and not harmed:
        return _restarted()
    if found is None or state.routed < state.epoch:
        return None
    return _by_evidence(state, living, seen, found)


def _restarted() -> Decided:
    """The canary's users were with the champion meanwhile, so the step's evidence begins anew."""
    return Decided("restarted", {"reason": "the router had been left alone for longer than its lease"})


def _by_evidence(state: ReleaseState, living: Attempt, seen: Observation, found: Judgement) -> Decided | None:
    if found.decision in _ENDINGS:
        return _go_back(living, seen, found.reason, found.metric, into=_ENDINGS[found.decision])
    if found.decision is Decision.PROMOTE:
        return _promote(state, living, seen, found)
    if found.decision is Decision.ADVANCE:
        step = living.step + 1
        return Decided("shifted", {"step": step, "share": living.plan.steps[step].share}, _evidence(seen))
    if found.decision is Decision.UNDECIDED:
        return _undecided(living, seen, found)
    if seen.look is not None and seen.look not in living.looks:
        return Decided("looked", {"look": seen.look, "reason": found.reason}, _evidence(seen))
    return None


def _undecided(living: Attempt, seen: Observation, found: Judgement) -> Decided | None:
    """At the end of the time: as the policy says."""
    if living.plan.on_undecided == "rollback":
        return _go_back(living, seen, found.reason, None)
    return Decided("held", {"by": "policy", "reason": found.reason}, _evidence(seen))


def _promote(state: ReleaseState, living: Attempt, seen: Observation, found: Judgement) -> Decided | None:
    """Only with the report in hand, the files there, and no alias moved by others."""
    ready = seen.report is not None and seen.files.get(living.candidate) and not state.foreign
    if not ready:
        return None
    return Decided("promoting", {"by": "evidence", "override": None, "reason": found.reason}, _evidence(seen))


def _held(state: ReleaseState, living: Attempt, seen: Observation) -> Decided | None:
    """Harm, a dead canary and a broken assignment end it all the same; everything else waits for a person."""
    if seen.is_dead(living.candidate):
        return _go_back(living, seen, f"version {living.candidate} does not answer", "health", hold=False)
    found = seen.judgement
    if seen.lapsed and (found is None or found.decision is not Decision.ROLL_BACK):
        return _restarted()
    if found is None or found.decision not in _ENDINGS or state.routed < state.epoch:
        return None
    return _go_back(living, seen, found.reason, found.metric, into=_ENDINGS[found.decision], hold=False)


def _promoting(state: ReleaseState, living: Attempt, seen: Observation) -> Decided | None:
    """The champion's role once everybody is there and the candidate answers; never towards the one that does not."""
    if seen.is_dead(living.candidate):
        return _go_back(living, seen, f"version {living.candidate} does not answer", "health", hold=False)
    if state.routed < state.epoch or not seen.files.get(living.candidate):
        return None
    granted = living.granted
    payload = {
        "version": living.candidate,
        "from": living.champion,
        "first_release": False,
        "policy": granted["policy"],
        "policy_digest": granted["policy_digest"],
        "override": living.override or granted["override"],
        "anchor": granted["anchor"],
        "score": granted.get("score"),
        "release": living.id,
    }
    evidence = {"report": granted["report"], "canary": living.report}
    return Decided("promoted", payload, {name: value for name, value in evidence.items() if value})


def _rolling_back(state: ReleaseState, living: Attempt, seen: Observation) -> Decided | None:
    """Over once the router has confirmed."""
    del seen
    if state.routed < state.epoch:
        return None
    return Decided("returned", {"into": living.into, "reason": living.why, "metric": living.metric})


_DUE: Mapping[Status, Callable[[ReleaseState, Attempt, Observation], Decided | None]] = {
    Status.PENDING: _pending,
    Status.WARMING: _warming,
    Status.RUNNING: _running,
    Status.HELD: _held,
    Status.PROMOTING: _promoting,
    Status.ROLLING_BACK: _rolling_back,
}


def _go_back(
    living: Attempt, seen: Observation, reason: str, metric: str | None, *, into: str = "rolled_back", hold: bool = True
) -> Decided | None:
    """Back to the champion, unless it is the one that does not answer: then traffic stays, and a person is asked for."""
    if not seen.is_dead(living.champion):
        payload = {"by": "evidence", "into": into, "reason": reason, "metric": metric}
        return Decided("returning", payload, _evidence(seen))
    if not hold or living.status is not Status.RUNNING:
        return None
    closed = f"{reason}; but version {living.champion}, the way back, does not answer either: traffic stays"
    return Decided("held", {"by": "policy", "reason": closed}, _evidence(seen))


def _evidence(seen: Observation) -> dict[str, str]:
    return {} if seen.report is None else {"canary": seen.report}


def _living(state: ReleaseState) -> Attempt:
    if state.living is None:
        raise Refused("no release is under way.", hint="Type `holdfast release start`.", reason_code="no_release")
    return state.living


def _words(living: Attempt) -> str:
    return living.status.value.replace("_", " ")


def _as_wanted(wanted: Routing | None, found: Routing | None) -> bool:
    return wanted is not None and found is not None and found.same_as(wanted)


def _seconds(begin: str, end: str) -> float:
    """From one UTC text to another; a clock that went back gives 0."""
    return max((datetime.fromisoformat(end) - datetime.fromisoformat(begin)) / timedelta(seconds=1), 0.0)


def _hours(begin: str, end: str) -> float:
    return _seconds(begin, end) / 3600
