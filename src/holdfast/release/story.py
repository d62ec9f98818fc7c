"""The ledger in sentences. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from holdfast.ledger import Event


def story(events: Iterable[Event]) -> list[str]:
    """One sentence an event: when, who, what, why."""
    return [f"{event.time[:19].replace('T', ' ')}  {sentence(event)}  ({event.who.split(' <')[0]})" for event in events]


def sentence(event: Event) -> str:
    """What one event says."""
    tell = _SENTENCES.get(event.type)
    return event.type if tell is None else tell(event)


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


_SENTENCES: Mapping[str, Callable[[Event], str]] = {
    "registered": lambda e: f"version {e.payload['version']} was registered from {e.payload['uri']}",
    "judged": _judged,
    "staged": lambda e: f"version {e.payload['version']} was staged",
    "promoted": _promoted,
    "rolled_back": _rolled_back,
    "adopted": lambda e: f"adopted version {e.payload['aliases']['champion']} as the champion",
    "foreign_change": lambda e: f"somebody else moved {e.payload['alias']} to version {e.payload['found']}",
    "accepted": lambda e: f"accepted {e.payload['alias']} = version {e.payload['version']['version']}",
    "restored": lambda e: f"restored {e.payload['alias']} to version {e.payload['version']}",
    "anchor_reset": lambda _: "the anchor was reset to the champion",
}
