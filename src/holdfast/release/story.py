"""The ledger in sentences and rows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from holdfast.ledger import Event

_CHANGES_OF_ROLES = {"adopted", "staged", "promoted", "rolled_back", "accepted"}
_QUIET = {"routed", "warming", "drill_out", "drill_back"}  # steps of the machine that people need not read


def story(events: Iterable[Event], *, every: bool = True) -> list[str]:
    """One sentence an event: when, who, what, why. Without `every`, the machine's own small steps are left out."""
    events = [event for event in events if every or event.type not in _QUIET]
    return [f"{event.time[:19].replace('T', ' ')}  {sentence(event)}  ({_who(event)})" for event in events]


def rows(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Who was what when: {"number", "time", "who", "what", "version", "why", "run_url"} for each change of a role."""
    return [
        {
            "number": event.number,
            "time": event.time,
            "who": event.who,
            "what": event.type,
            "version": _version(event),
            "why": event.payload.get("override") or event.payload.get("reason") or event.evidence.get("report"),
            "run_url": event.ci.get("run_url"),
        }
        for event in events
        if event.type in _CHANGES_OF_ROLES
    ]


def sentence(event: Event) -> str:
    """What one event says; its type where that is unknown here."""
    tell = _SENTENCES.get(event.type)
    try:
        return event.type if tell is None else tell(event)
    except (KeyError, TypeError):
        return event.type


def _who(event: Event) -> str:
    actor = event.ci.get("actor")
    return event.who.split(" <")[0] + (f", in CI for {actor}" if actor else "")


def _version(event: Event) -> str | None:
    payload = event.payload
    if event.type == "adopted":
        return _text(payload["aliases"].get("champion"))
    if event.type == "accepted":
        return _text(payload["version"]["version"])
    return _text(payload.get("version", payload.get("to")))


def _text(number: object) -> str | None:
    return None if number is None else str(number)


def _judged(event: Event) -> str:
    payload = event.payload
    against = f"against version {payload['champion']}" if payload["champion"] else "without a champion"
    return f"the gate said {payload['verdict']} of {payload['candidate']['uri']}, {against}"


def _promoted(event: Event) -> str:
    payload = event.payload
    was = " as the first release" if payload["first_release"] else f" after version {payload['from']}"
    why = f", by override: {payload['override']}" if payload.get("override") else ""
    return f"version {payload['version']} became champion{was}{why}"


def _rolled_back(event: Event) -> str:
    payload = event.payload
    why = f": {payload['reason']}" if payload.get("reason") else ""
    return f"rolled back from version {payload['from']} to version {payload['to']}{why}"


def _adopted(event: Event) -> str:
    number = event.payload["aliases"].get("champion")
    what = "adopted the registry without a champion" if number is None else f"adopted version {number} as the champion"
    old = event.payload.get("taken_over")
    return what + (f", from the ledger {old[:8]}…" if old else "")


def _restored(event: Event) -> str:
    number = event.payload["version"]
    return f"restored {event.payload['alias']} to {'nowhere' if number is None else f'version {number}'}"


def _started(event: Event) -> str:
    payload = event.payload
    steps = ", ".join(f"{step['share']:.3g}" for step in payload["plan"]["steps"])
    name = payload["override"] if "override" in payload else payload["granted"].get("override")
    why = f", by override: {name}" if name else ""
    return f"release {payload['release']} of version {payload['candidate']} was started (shares {steps}){why}"


def _shifted(event: Event) -> str:
    return f"step {event.payload['step'] + 1}: {event.payload['share']:.2%} of the users to the canary"


def _held(event: Event) -> str:
    by = "a person" if event.payload["by"] == "person" else "the policy"
    return f"held by {by}: {event.payload['reason']}"


def _promoting(event: Event) -> str:
    by = "on a person's word" if event.payload["by"] == "person" else "by evidence"
    return f"everybody to the candidate, {by}: {event.payload['reason']}"


def _returning(event: Event) -> str:
    ways = {"invalid": "the experiment is invalid", "aborted": "aborted", "rolled_back": "rolling back"}
    reason = event.payload.get("reason")
    return ways[event.payload["into"]] + (f": {reason}" if reason else "")


def _returned(event: Event) -> str:
    return f"everybody is with the champion again ({event.payload['into'].replace('_', ' ')})"


def _drilled(event: Event) -> str:
    payload = event.payload
    if payload["ok"]:
        return "the way back was tried and works" + _took(payload["seconds"])
    return f"the way back was tried and does not work: {'; '.join(payload['problems'])}"


def _took(seconds: Mapping[str, float]) -> str:
    return f" ({1000 * seconds['back']:.0f} ms)" if "back" in seconds else ""


_SENTENCES: Mapping[str, Callable[[Event], str]] = {
    "registered": lambda e: f"version {e.payload['version']} was registered from {e.payload['uri']}",
    "judged": _judged,
    "staged": lambda e: f"version {e.payload['version']} was staged",
    "promoted": _promoted,
    "rolled_back": _rolled_back,
    "adopted": _adopted,
    "foreign_change": lambda e: f"somebody else moved {e.payload['alias']} to version {e.payload['found']}",
    "accepted": lambda e: f"accepted {e.payload['alias']} = version {e.payload['version']['version']}",
    "restored": _restored,
    "started": _started,
    "warming": lambda _: "the canary is warming up",
    "shifted": _shifted,
    "restarted": lambda e: f"the step begins anew: {e.payload['reason']}",
    "looked": lambda e: f"promotion was asked at planned look {e.payload['look'] + 1}: {e.payload['reason']}",
    "held": _held,
    "resumed": lambda _: "resumed",
    "promoting": _promoting,
    "returning": _returning,
    "returned": _returned,
    "routed": lambda e: f"the router has confirmed what event {e.payload['epoch']} asked",
    "drill_out": lambda e: f"a drill: {e.payload['share']:.0%} of the users to the champion as its own canary",
    "drill_back": lambda _: "the drill's users back",
    "drilled": _drilled,
    "anchor_reset": lambda e: f"the anchor was reset to the champion: {e.payload.get('reason') or 'no reason given'}",
}
