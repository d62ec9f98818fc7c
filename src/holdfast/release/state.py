"""Who is champion, previous and candidate: a fold over the events of one stream. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from holdfast.ledger import Event
from holdfast.verdict import Verdict

ANCHOR_LIFE = timedelta(days=90)


@dataclass(frozen=True, kw_only=True)
class ReleaseVersion:
    """A registered version as the ledger knows it: its number, the hash of its content, and what it was made from."""

    version: str
    digest: str
    uri: str | None = None
    run_id: str | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "digest": self.digest,
            "uri": self.uri,
            "run_id": self.run_id,
            "lineage": dict(self.lineage),
        }


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A gate's report on record: whom it judged, against which champion (a version) and under which policy."""

    report: str
    verdict: Verdict
    digest: str
    champion: str | None
    policy: str
    number: int


@dataclass(frozen=True, kw_only=True)
class ReleaseState:
    """The release of one model after `length` events, the last of them `head`.

    `history` holds earlier champions, the latest last; `unhealthy` are versions that were rolled back from; `foreign`
    maps an alias that somebody else moved to where it points; `mentioned` are the aliases the ledger ever spoke of.
    """

    versions: Mapping[str, ReleaseVersion] = field(default_factory=dict)
    champion: ReleaseVersion | None = None
    candidate: ReleaseVersion | None = None
    history: tuple[str, ...] = ()
    unhealthy: frozenset[str] = frozenset()
    anchor: ReleaseVersion | None = None
    anchored: str | None = None
    policy: Mapping[str, Any] | None = None
    judgements: tuple[Judgement, ...] = ()
    foreign: Mapping[str, str] = field(default_factory=dict)
    mentioned: frozenset[str] = frozenset()
    ledger_id: str | None = None
    length: int = 0
    head: str | None = None

    @property
    def previous(self) -> ReleaseVersion | None:
        """Where a rollback goes: the latest earlier champion that is not unhealthy."""
        for number in reversed(self.history):
            if number not in self.unhealthy and (self.champion is None or number != self.champion.version):
                return self.versions[number]
        return None

    def aliases(self) -> dict[str, str | None]:
        """Where each alias that the ledger has spoken of belongs; None for nowhere."""
        roles = {"champion": self.champion, "previous": self.previous, "candidate": self.candidate}
        return {
            name: None if version is None else version.version
            for name, version in roles.items()
            if name in self.mentioned
        }


def fold(events: Iterable[Event]) -> ReleaseState:
    """The state after `events`."""
    state = ReleaseState()
    for event in events:
        state = evolve(state, event)
    return state


def evolve(state: ReleaseState, event: Event) -> ReleaseState:
    """The state after one more event; an event of an unknown type changes nothing but the length and the head."""
    change = _CHANGES.get(event.type)
    if change is not None:
        state = change(state, event)
    return replace(state, length=event.number + 1, head=event.digest, ledger_id=state.ledger_id or event.id)


def _registered(state: ReleaseState, event: Event) -> ReleaseState:
    version = ReleaseVersion(**event.payload)
    return replace(state, versions={**state.versions, version.version: version})


def _judged(state: ReleaseState, event: Event) -> ReleaseState:
    payload = event.payload
    made = Judgement(
        report=event.evidence["report"],
        verdict=Verdict(payload["verdict"]),
        digest=payload["candidate"]["digest"],
        champion=payload["champion"],
        policy=payload["policy"],
        number=event.number,
    )
    return replace(state, judgements=(*state.judgements, made))


def _staged(state: ReleaseState, event: Event) -> ReleaseState:
    version = state.versions[event.payload["version"]]
    return replace(state, candidate=version, mentioned=state.mentioned | {"candidate"})


def _promoted(state: ReleaseState, event: Event) -> ReleaseState:
    version = state.versions[event.payload["version"]]
    history = state.history if state.champion is None else (*state.history, state.champion.version)
    candidate = None if state.candidate and state.candidate.version == version.version else state.candidate
    promoted = replace(
        state,
        champion=version,
        candidate=candidate,
        history=history,
        unhealthy=state.unhealthy - {version.version},
        policy=event.payload.get("policy"),
        mentioned=state.mentioned | {"champion", "previous", "candidate"},
    )
    if state.anchor is None or event.payload.get("anchor") or _expired(state.anchored, event.time):
        return replace(promoted, anchor=version, anchored=event.time)
    return promoted


def _expired(anchored: str | None, now: str) -> bool:
    return anchored is None or datetime.fromisoformat(now) - datetime.fromisoformat(anchored) > ANCHOR_LIFE


def _rolled_back(state: ReleaseState, event: Event) -> ReleaseState:
    target = state.versions[event.payload["to"]]
    history = state.history
    if target.version in history:
        history = history[: len(history) - 1 - history[::-1].index(target.version)]
    bad = event.payload["from"]
    back = replace(
        state,
        champion=target,
        history=history,
        unhealthy=state.unhealthy | {bad},
        mentioned=state.mentioned | {"champion", "previous"},
    )
    if state.anchor is not None and state.anchor.version == bad:
        return replace(back, anchor=target, anchored=event.time)
    return back


def _adopted(state: ReleaseState, event: Event) -> ReleaseState:
    versions = {**state.versions, **{v["version"]: ReleaseVersion(**v) for v in event.payload["versions"]}}
    aliases = event.payload["aliases"]
    champion = versions[aliases["champion"]]
    previous = aliases.get("previous")
    return replace(
        state,
        versions=versions,
        champion=champion,
        candidate=versions.get(aliases.get("candidate", "")),
        history=(previous,) if previous else (),
        anchor=champion,
        anchored=event.time,
        mentioned=state.mentioned | set(aliases) | {"champion"},
    )


def _foreign_change(state: ReleaseState, event: Event) -> ReleaseState:
    return replace(state, foreign={**state.foreign, event.payload["alias"]: event.payload["found"]})


def _accepted(state: ReleaseState, event: Event) -> ReleaseState:
    alias, found = event.payload["alias"], ReleaseVersion(**event.payload["version"])
    known = replace(
        state,
        versions={**state.versions, found.version: state.versions.get(found.version, found)},
        foreign={name: number for name, number in state.foreign.items() if name != alias},
        mentioned=state.mentioned | {alias},
    )
    version = known.versions[found.version]
    if alias == "candidate":
        return replace(known, candidate=version)
    if alias == "previous":
        return replace(known, history=(*known.history, version.version), unhealthy=known.unhealthy - {version.version})
    history = known.history if state.champion is None else (*known.history, state.champion.version)
    return replace(known, champion=version, history=history, unhealthy=known.unhealthy - {version.version})


def _restored(state: ReleaseState, event: Event) -> ReleaseState:
    left = {name: number for name, number in state.foreign.items() if name != event.payload["alias"]}
    return replace(state, foreign=left)


def _anchor_reset(state: ReleaseState, event: Event) -> ReleaseState:
    return replace(state, anchor=state.champion, anchored=event.time)


_CHANGES: Mapping[str, Callable[[ReleaseState, Event], ReleaseState]] = {
    "registered": _registered,
    "judged": _judged,
    "staged": _staged,
    "promoted": _promoted,
    "rolled_back": _rolled_back,
    "adopted": _adopted,
    "foreign_change": _foreign_change,
    "accepted": _accepted,
    "restored": _restored,
    "anchor_reset": _anchor_reset,
}
