"""Deciding and writing as one step: of any number who decide on the same state, one writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfast.errors import Conflict
from holdfast.ledger import Event, Ledger
from holdfast.release.commands import Decided
from holdfast.release.reconcile import stream_of
from holdfast.release.state import ReleaseState, evolve, fold
from holdfast.release.story import sentence

_TRIES = 50

D = TypeVar("D", bound=Decided | None)


@dataclass(frozen=True)
class Done:
    """An action that took place: one sentence, notices, and the version that it is about."""

    message: str
    version: str
    notices: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"message": self.message, "version": self.version, "notices": list(self.notices)}


def append(ledger: Ledger, model: str, state: ReleaseState, decided: Decided) -> tuple[ReleaseState, Event]:
    """Write what was decided on `state`, and the state after it. Conflict where the ledger has grown since."""
    event = ledger.append(
        stream_of(model), decided.type, decided.payload, evidence=decided.evidence, expected=state.length
    )
    return evolve(state, event), event


def commit(ledger: Ledger, model: str, decide: Callable[[ReleaseState], D]) -> tuple[ReleaseState, D]:
    """Write the event that `decide` gives for the present state, unless it gives None; returns both.

    An event by somebody else in between, such as a gate's judgement, makes it decide again; one that changed who has a
    role raises Conflict, which names who was first.
    """
    events = ledger.read(stream_of(model))
    for _ in range(_TRIES):
        state = fold(events)
        decided = decide(state)
        if decided is None:
            return state, decided
        try:
            append(ledger, model, state, decided)
        except Conflict:
            events = ledger.read(stream_of(model))
            _stop_if_lost(state, events)
            continue
        return state, decided
    raise Conflict(f"the ledger of {model} changed {_TRIES} times while an event was to be written.")


def _stop_if_lost(before: ReleaseState, events: list[Event]) -> None:
    """Conflict where one of the events since `before` changed a role or found a moved alias."""
    state = before
    for event in events[before.length :]:
        state = evolve(state, event)
        if (state.roles(), state.foreign) != (before.roles(), before.foreign):
            raise Conflict(
                f"{event.who} was first: {sentence(event)} ({event.time}).",
                hint="Look at it with `holdfast ledger show` and decide again.",
            )
