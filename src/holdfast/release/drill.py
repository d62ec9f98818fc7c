"""Try the way back on the living system without harming it: the champion becomes its own canary for a moment."""

from __future__ import annotations

import time

from holdfast.errors import HoldfastError, OutsideError, Refused
from holdfast.ledger import Ledger
from holdfast.registry import Registry
from holdfast.release.commands import DrillBack, DrillEnd, DrillOut
from holdfast.release.commit import commit
from holdfast.release.decide import decide
from holdfast.release.drills import Drill
from holdfast.release.pointing import point
from holdfast.release.reconcile import converge, read_state
from holdfast.release.routing import Routing, TrafficRouter
from holdfast.release.state import ReleaseState

SHARE = 0.1


def drill(ledger: Ledger, registry: Registry, router: TrafficRouter, model: str) -> Drill:
    """Shift a tenth of the users to the champion as its own canary, take them back, and see that a late word of the shift is
    refused. What was found is recorded; `ok` and `details["problems"]` say it.

    Users get the same version all the while. A drill that dies in the middle is closed by the controller or by the next one.
    Raises Refused while a release is under way or without a champion, OutsideError where the ledger is away.
    """
    converge(ledger, registry, model)
    _close_interrupted(ledger, model)
    commit(ledger, model, lambda now: decide(now, DrillOut(share=SHARE, router=router.name)))
    seconds: dict[str, float] = {}
    problems = _shift(router, read_state(ledger, model), seconds, "out")
    out = read_state(ledger, model).routing
    commit(ledger, model, lambda now: decide(now, DrillBack()))
    problems += _shift(router, read_state(ledger, model), seconds, "back")
    problems += _late_word(router, out)
    problems += _files(registry, read_state(ledger, model), model)
    ended = DrillEnd(problems=tuple(problems), seconds=seconds)
    state, _ = commit(ledger, model, lambda now: decide(now, ended))
    found = read_state(ledger, model).drill
    assert found is not None and state is not None  # noqa: S101, PT018 - it was just written
    return found


def _close_interrupted(ledger: Ledger, model: str) -> None:
    state = read_state(ledger, model)
    if state.drill is not None and state.drill.is_living:
        commit(ledger, model, lambda now: decide(now, DrillEnd(problems=("interrupted",), seconds={})))


def _shift(router: TrafficRouter, state: ReleaseState, seconds: dict[str, float], name: str) -> list[str]:
    """Tell the router and read back what it holds."""
    begun = time.perf_counter()
    try:
        point(router, state)
        found = router.read()
    except HoldfastError as error:
        return [f"{name}: {error.message}"]
    seconds[name] = time.perf_counter() - begun
    if found is None or state.routing is None or not found.same_as(state.routing):
        return [f"{name}: the router holds another routing than it was told"]
    return _answers(router, state.routing)


def _answers(router: TrafficRouter, wanted: Routing) -> list[str]:
    try:
        dead = router.health().get(wanted.champion) is False
    except OutsideError as error:
        return [error.message]
    return [f"version {wanted.champion}, the champion, does not answer"] if dead else []


def _late_word(router: TrafficRouter, out: Routing | None) -> list[str]:
    """A controller that was asleep must not be able to shift traffic again."""
    if out is None:
        return ["there was no champion to shift to"]
    try:
        router.apply(out)
    except Refused:
        return []
    except OutsideError as error:
        return [error.message]
    return ["the router obeyed a controller that came too late"]


def _files(registry: Registry, state: ReleaseState, model: str) -> list[str]:
    """The champion is the way back: it must be there to be loaded again."""
    champion = "" if state.champion is None else state.champion.version
    try:
        there = registry.has_files(model, champion)
    except OutsideError as error:
        return [error.message]
    return [] if there else [f"version {champion}, the champion, can no longer be fetched from the registry"]
