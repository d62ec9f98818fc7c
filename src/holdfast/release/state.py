"""Who is champion, previous and candidate: a fold over the events of one stream. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from holdfast.errors import Damaged
from holdfast.ledger import Event
from holdfast.release.anchor import Tenure, anchor_after, began
from holdfast.release.attempt import TRANSITIONS, Attempt, begun, confirmed, continued
from holdfast.release.drills import Drill, drill_after
from holdfast.release.routing import Routing
from holdfast.store import known_fields
from holdfast.verdict import Verdict

ROLES = ("champion", "previous", "candidate")


@dataclass(frozen=True, kw_only=True)
class ReleaseVersion:
    """A registered version as the ledger knows it: its number, the hash of its content, and what it was made from."""

    version: str
    digest: str
    uri: str | None = None
    run_id: str | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The payload that `from_json` reads."""
        return {
            "version": self.version,
            "digest": self.digest,
            "uri": self.uri,
            "run_id": self.run_id,
            "lineage": dict(self.lineage),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """A version from an event's payload; fields of later releases of Holdfast are ignored."""
        return cls(**known_fields(cls, document))


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

    `history` is the stack of earlier champions, the latest last; `unhealthy` are versions that were rolled back from;
    `tenures` says who was champion when; `foreign` maps an alias that somebody else moved to where it points;
    `mentioned` are the aliases the ledger ever spoke of; `taken_over` is the ledger that this one replaced. `attempt` is the
    latest canary and `drill` the latest try of the way back, living or ended. `epoch` is the number of the event that last
    changed where requests should go, `routed` the latest epoch that a router has confirmed, `time` the latest event's.
    """

    versions: Mapping[str, ReleaseVersion] = field(default_factory=dict)
    champion: ReleaseVersion | None = None
    candidate: ReleaseVersion | None = None
    history: tuple[str, ...] = ()
    unhealthy: frozenset[str] = frozenset()
    tenures: tuple[Tenure, ...] = ()
    anchor: ReleaseVersion | None = None
    policy: Mapping[str, Any] | None = None
    judgements: tuple[Judgement, ...] = ()
    foreign: Mapping[str, str] = field(default_factory=dict)
    mentioned: frozenset[str] = frozenset()
    ledger_id: str | None = None
    taken_over: str | None = None
    attempt: Attempt | None = None
    drill: Drill | None = None
    epoch: int = -1
    routed: int = -1
    model: str = ""
    time: str = ""
    length: int = 0
    head: str | None = None

    @property
    def living(self) -> Attempt | None:
        """The attempt that is under way."""
        return self.attempt if self.attempt is not None and self.attempt.is_living else None

    @property
    def routing(self) -> Routing | None:
        """Where requests should go; None before there is a champion."""
        if self.champion is None:
            return None
        everybody = Routing(model=self.model, epoch=max(self.epoch, 0), champion=self.champion.version)
        if self.drill is not None and self.drill.is_out:
            return replace(everybody, canary=everybody.champion, share=self.drill.share, release=self.drill.id)
        living = self.living
        if living is None or not living.is_shifting:
            return everybody
        lease = living.plan.lease_seconds
        return replace(everybody, canary=living.candidate, share=living.share, release=living.id, lease_seconds=lease)

    @property
    def previous(self) -> ReleaseVersion | None:
        """Where a rollback goes: the latest earlier champion that is sound."""
        return next((self.versions[number] for number in reversed(self.history) if self.is_sound(number)), None)

    def is_sound(self, number: str) -> bool:
        """Whether version `number` was champion before, is not now, and was never rolled back from since."""
        served = any(tenure.version == number for tenure in self.tenures) or number in self.history
        now = self.champion is not None and self.champion.version == number
        return served and not now and number not in self.unhealthy

    def ways_back(self) -> list[str]:
        """All versions that a rollback may go to, the latest champion first."""
        served = dict.fromkeys([*reversed(self.history), *(tenure.version for tenure in reversed(self.tenures))])
        return [number for number in served if self.is_sound(number)]

    def roles(self) -> dict[str, str | None]:
        """The version in each role; None for nobody."""
        found = (self.champion, self.previous, self.candidate)
        return {role: None if version is None else version.version for role, version in zip(ROLES, found, strict=True)}

    def aliases(self) -> dict[str, str | None]:
        """Where each alias that the ledger has spoken of belongs; None for nowhere."""
        return {role: number for role, number in self.roles().items() if role in self.mentioned}


def fold(events: Iterable[Event]) -> ReleaseState:
    """The state after `events`.

    States of streams that were folded lately are remembered by their head, whose hash stands for all that came before it, so
    a controller that asks again pays for the new events only.
    """
    events = list(events)
    known = next(
        (n for n in range(len(events) - 1, -1, -1) if _is_bound(events[n]) and events[n].digest in _FOLDED), -1
    )
    state = _FOLDED[events[known].digest] if known >= 0 else ReleaseState()
    for event in events[known + 1 :]:
        state = evolve(state, event)
    if events and _is_bound(events[-1]):
        _FOLDED[events[-1].digest] = state
        while len(_FOLDED) > _REMEMBERED:
            _FOLDED.popitem(last=False)
    return state


_FOLDED: OrderedDict[str, ReleaseState] = OrderedDict()
_REMEMBERED = 64


def _is_bound(event: Event) -> bool:
    """Whether the event's hash stands for those before it too."""
    return event.previous is not None or event.number == 0


def evolve(state: ReleaseState, event: Event) -> ReleaseState:
    """The state after one more event; one of an unknown type changes nothing but the length and the head.

    Raises Damaged where the event speaks of what was never recorded.
    """
    before, change = state, _CHANGES.get(event.type)
    if change is not None:
        try:
            state = change(state, event)
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(
                f"event {event.number} of {event.stream} ({event.type}) does not fit those before it: {error!r}.",
                hint="Type `holdfast ledger verify`.",
            ) from None
    return replace(
        _rerouted(before, state, event.number),
        model=event.stream.partition("/")[2],
        time=max(state.time, event.time),
        length=event.number + 1,
        head=event.digest,
        ledger_id=state.ledger_id or event.id,
    )


def _rerouted(before: ReleaseState, after: ReleaseState, number: int) -> ReleaseState:
    """`after` under a new epoch, where the router has something to be told: other routes, or the same for another step."""
    asked, asked_before = ((s.routing, s.attempt and s.attempt.shifted) for s in (after, before))
    return after if asked == asked_before else replace(after, epoch=number)


def _registered(state: ReleaseState, event: Event) -> ReleaseState:
    version = ReleaseVersion.from_json(event.payload)
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
    candidate = None if state.candidate and state.candidate.version == version.version else state.candidate
    if state.living is not None:
        state = replace(state, attempt=continued(state.living, event))
    made = replace(
        _crowned(state, version, event.time, event.payload.get("score")),
        candidate=candidate,
        policy=event.payload.get("policy"),
    )
    return _anchored(made, event, better=bool(event.payload.get("anchor")))


def _rolled_back(state: ReleaseState, event: Event) -> ReleaseState:
    target, bad = state.versions[event.payload["to"]], state.versions[event.payload["from"]]
    history = state.history
    if target.version in history:
        history = history[: len(history) - 1 - history[::-1].index(target.version)]
    back = replace(
        state,
        champion=target,
        history=history,
        unhealthy=state.unhealthy | {bad.version},
        tenures=began(state.tenures, target.version, event.time),
        # What a gate said of it before it failed is no reason to release it again.
        judgements=tuple(j for j in state.judgements if j.digest != bad.digest),
        mentioned=state.mentioned | set(ROLES),
    )
    return _anchored(back, event)


def _adopted(state: ReleaseState, event: Event) -> ReleaseState:
    made = [ReleaseVersion.from_json(version) for version in event.payload["versions"]]
    versions = {**state.versions, **{version.version: version for version in made}}
    aliases = event.payload["aliases"]
    known = replace(
        state,
        versions=versions,
        candidate=versions[aliases["candidate"]] if "candidate" in aliases else state.candidate,
        history=(aliases["previous"],) if "previous" in aliases else state.history,
        taken_over=event.payload.get("taken_over"),
        mentioned=state.mentioned | set(ROLES),
    )
    if "champion" not in aliases:
        return known
    champion = versions[aliases["champion"]]
    tenures = began(state.tenures, champion.version, event.time)
    return replace(known, champion=champion, tenures=tenures, anchor=champion)


def _foreign_change(state: ReleaseState, event: Event) -> ReleaseState:
    return replace(state, foreign={**state.foreign, event.payload["alias"]: event.payload["found"]})


def _accepted(state: ReleaseState, event: Event) -> ReleaseState:
    alias, found = event.payload["alias"], ReleaseVersion.from_json(event.payload["version"])
    known = replace(
        state,
        versions={**state.versions, found.version: state.versions.get(found.version, found)},
        foreign=_without(state.foreign, alias),
        mentioned=state.mentioned | set(ROLES),
    )
    version = known.versions[found.version]
    if alias == "candidate":
        return replace(known, candidate=version)
    if alias == "previous":
        return replace(known, history=(*known.history, version.version), unhealthy=known.unhealthy - {version.version})
    return _anchored(_crowned(known, version, event.time), event)


def _restored(state: ReleaseState, event: Event) -> ReleaseState:
    return replace(state, foreign=_without(state.foreign, event.payload["alias"]))


def _anchor_reset(state: ReleaseState, event: Event) -> ReleaseState:
    del event
    return replace(state, anchor=state.champion)


def _crowned(
    state: ReleaseState, version: ReleaseVersion, time: str, score: Mapping[str, Any] | None = None
) -> ReleaseState:
    """`version` is champion from `time` on; who was it before goes onto the stack."""
    history = state.history if state.champion is None else (*state.history, state.champion.version)
    return replace(
        state,
        champion=version,
        history=tuple(number for number in history if number != version.version),
        unhealthy=state.unhealthy - {version.version},
        tenures=began(state.tenures, version.version, time, score),
        mentioned=state.mentioned | set(ROLES),
    )


def _anchored(state: ReleaseState, event: Event, *, better: bool = False) -> ReleaseState:
    """The state with its anchor, after the champion changed."""
    now = None if state.anchor is None else state.anchor.version
    number = anchor_after(state.tenures, now, event.time, state.unhealthy, better=better)
    return replace(state, anchor=None if number is None else state.versions[number])


def _started(state: ReleaseState, event: Event) -> ReleaseState:
    if state.living is not None:
        raise ValueError(f"a release was started while {state.living.id} was living")
    return replace(state, attempt=begun(event))


def _steered(state: ReleaseState, event: Event) -> ReleaseState:
    """An event of the transition table, to which the table gives the meaning."""
    if state.attempt is None:
        raise ValueError(f"{event.type} without a release")
    return replace(state, attempt=continued(state.attempt, event))


def _returned(state: ReleaseState, event: Event) -> ReleaseState:
    """The attempt is over. A candidate that did harm loses what its gates said of it, and the role."""
    after = _steered(state, event)
    attempt = after.attempt
    if attempt is None or event.payload["into"] != "rolled_back":
        return after
    digest = state.versions[attempt.candidate].digest
    staged = state.candidate is not None and state.candidate.version == attempt.candidate
    return replace(
        after,
        candidate=None if staged else state.candidate,
        judgements=tuple(j for j in state.judgements if j.digest != digest),
    )


def _routed(state: ReleaseState, event: Event) -> ReleaseState:
    epoch = event.payload["epoch"]
    attempt = None if state.attempt is None else confirmed(state.attempt, event.time, epoch)
    return replace(state, routed=max(state.routed, epoch), attempt=attempt)


def _drilled(state: ReleaseState, event: Event) -> ReleaseState:
    return replace(state, drill=drill_after(state.drill, event))


def _without(foreign: Mapping[str, str], alias: str) -> dict[str, str]:
    return {name: number for name, number in foreign.items() if name != alias}


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
    "routed": _routed,
    **dict.fromkeys(("drill_out", "drill_back", "drilled"), _drilled),
    **{t.event: _steered for t in TRANSITIONS if t.event != "promoted"},
    "started": _started,
    "returned": _returned,
}
