"""Streams of events in a store. Writing event n is put-if-absent of one object: that is the compare-and-swap."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from holdfast.errors import Conflict, Damaged
from holdfast.ledger.event import Event, read_event
from holdfast.ledger.identity import current_commit, current_who, github_run
from holdfast.ledger.verify import problems_of
from holdfast.store import Store
from holdfast.verdict import CheckResult, Verdict, utc_text

_TRIES = 50


class Ledger:
    """The record of everything, in `store`. `who` writes (a claim; default: git's or the system's user)."""

    def __init__(
        self,
        store: Store,
        *,
        who: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store = store
        self.who = who
        self.clock = clock
        self._events: dict[str, list[Event]] = {}

    def read(self, stream: str) -> list[Event]:
        """All events of `stream` in order; Damaged where one is missing or its chain is broken."""
        events = self._events.setdefault(stream, [])
        keys = self.store.list(f"ledger/{stream}/")
        for number, key in enumerate(keys):
            if key != event_key(stream, number):
                raise Damaged(
                    f"the ledger stream {stream} lacks event {number}.", hint="Type `holdfast ledger verify`."
                )
            if number < len(events):
                continue  # events never change, so what was read once is not read again
            events.append(_next(stream, events, self.store.get(key) or b""))
        return events[: len(keys)]

    def follow(self, stream: str) -> list[Event]:
        """`read` for whoever asks often: one small request where nothing is new, and no listing.

        It reads on from what this object has read before, so it does not see that earlier events were lost meanwhile.
        """
        events = self._events.setdefault(stream, [])
        while (data := self.store.get(event_key(stream, len(events)))) is not None:
            events.append(_next(stream, events, data))
        return list(events)

    def append(
        self,
        stream: str,
        type: str,  # noqa: A002 - the field's own name
        payload: Mapping[str, Any],
        *,
        evidence: Mapping[str, str] | None = None,
        expected: int,
    ) -> Event:
        """Write event number `expected` of `stream`: the length of what the caller has read and decided on.

        Raises Conflict, naming who was first and with what, where that number is taken.
        """
        events = self.read(stream)
        if len(events) > expected:
            raise _lost(stream, events[expected])
        if len(events) < expected:
            raise Damaged(
                f"the ledger stream {stream} has {len(events)} events, expected {expected}: its tail was cut."
            )
        event = Event(
            stream=stream,
            number=expected,
            type=type,
            time=utc_text(self.clock()),
            who=self.who or current_who(),
            id=uuid.uuid4().hex,
            ci=github_run(),
            commit=current_commit(),
            payload=dict(payload),
            evidence=dict(evidence or {}),
            previous=events[-1].digest if events else None,
        )
        if not self.store.put_if_absent(event_key(stream, expected), event.to_bytes()):
            winner = self.read(stream)[expected]
            if winner != event:
                raise _lost(stream, winner)
        return event

    def append_latest(
        self,
        stream: str,
        type: str,  # noqa: A002
        payload: Mapping[str, Any],
        *,
        evidence: Mapping[str, str] | None = None,
    ) -> Event:
        """Write an event whose place in the order does not matter: after a lost race, the next number."""
        for _ in range(_TRIES):
            try:
                return self.append(stream, type, payload, evidence=evidence, expected=len(self.read(stream)))
            except Conflict:
                continue
        raise Conflict(f"the ledger stream {stream} changed {_TRIES} times while {type} was to be written.")

    def streams(self) -> list[str]:
        """The names of all streams, sorted."""
        keys = self.store.list("ledger/")
        return sorted({key.removeprefix("ledger/").rpartition("/")[0] for key in keys})

    def verify(self, stream: str | None = None, anchors: Mapping[str, str] | None = None) -> list[CheckResult]:
        """One check a stream: FAIL with every event that was changed, removed, inserted, reordered or cut off.

        `anchors` maps a stream to the digest of a head that was recorded elsewhere; a chain that does not hold that
        event has lost its tail or was rewritten.
        """
        names = [stream] if stream is not None else sorted({*self.streams(), *(anchors or {})})
        return [self._verified(name, (anchors or {}).get(name)) for name in names]

    def _verified(self, stream: str, anchor: str | None) -> CheckResult:
        keys = self.store.list(f"ledger/{stream}/")
        problems = problems_of(stream, {key: self.store.get(key) or b"" for key in keys}, anchor)
        message = f"{stream}: {len(keys):,} events, each bound to the one before."
        if problems:
            message = f"{stream}: {problems[0]}" + (f" ({len(problems)} problems)" if len(problems) > 1 else "")
        return CheckResult(
            name=f"ledger.{stream}",
            kind="data",
            verdict=Verdict.FAIL if problems else Verdict.PASS,
            message=message,
            n=len(keys),
            unit="event",
            reason_code="ledger_damaged" if problems else None,
            details={"problems": problems},
        )


def event_key(stream: str, number: int) -> str:
    """Where event `number` of `stream` is kept."""
    return f"ledger/{stream}/{number:08d}.json"


def _next(stream: str, events: list[Event], data: bytes) -> Event:
    """The event that follows `events`; Damaged where `data` is not that."""
    key = event_key(stream, len(events))
    event = read_event(data, key)
    before = events[-1].digest if events else None
    if (event.stream, event.number, event.previous) != (stream, len(events), before):
        raise Damaged(f"the ledger's {key} does not follow the event before it.", hint="Type `holdfast ledger verify`.")
    return event


def _lost(stream: str, winner: Event) -> Conflict:
    return Conflict(
        f"{winner.who} was first: event {winner.number} of {stream} is {winner.type} of {winner.time}.",
        hint="Look at it with `holdfast ledger show` and try again.",
    )
