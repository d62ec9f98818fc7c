"""What runs at night: look at the world, do what is due, write it down, make the world match.

Every change is written first (intent), then made (idempotent), then confirmed (`routed`). Whoever comes later, after a crash
between any two of these, finds out from the ledger what to make, and makes it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from holdfast.errors import Conflict, HoldfastError, OutsideError, Refused
from holdfast.ledger import Ledger
from holdfast.registry import Registry
from holdfast.release.attempt import Attempt, Status
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.commands import Decided, Observation, Tick
from holdfast.release.commit import append
from holdfast.release.decide import decide
from holdfast.release.lease import Lease
from holdfast.release.pointing import point
from holdfast.release.reconcile import converge, read_state
from holdfast.release.routing import TellsWhy, TrafficRouter
from holdfast.release.state import ReleaseState
from holdfast.release.story import sentence
from holdfast.release.trips import Trip, trip_of
from holdfast.verdict import utc_text

CONVERGE_SECONDS = 10.0  # between looks at the registry while nothing happens
_MOST = 16  # events of one tick
_NEEDS_FILES = (Status.PENDING, Status.PROMOTING)


@dataclass(frozen=True)
class Sighting:
    """What the evidence says of a running attempt: the judgement, the planned look it belongs to (None between looks), the
    digest of the stored report (None where nothing is decided), and what is wrong with the evidence.
    """

    judgement: Judgement
    look: int | None = None
    report: str | None = None
    complaints: tuple[str, ...] = ()


class Watch(Protocol):
    """Where evidence comes from. `look` raises OutsideError where the log cannot be read; None where there is none yet."""

    def look(self, attempt: Attempt, now: datetime) -> Sighting | None: ...


@dataclass(frozen=True)
class Ticked:
    """What one tick did: whether this controller may act, sentences of the events written, and what is wrong outside."""

    leader: bool
    events: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    state: ReleaseState | None = None


class Controller:
    """Steers the releases of `model`. Without a `lease` it acts at once, as a command does."""

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        router: TrafficRouter,
        model: str,
        watch: Watch,
        *,
        lease: Lease | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ledger, self.registry, self.router, self.model = ledger, registry, router, model
        self.watch, self.lease = watch, lease
        self.clock, self._monotonic = clock, monotonic
        self._state: ReleaseState | None = None
        self._danger = False
        self._told: float | None = None
        self._converged = (-1, -CONVERGE_SECONDS)

    def tick(self) -> Ticked:
        """One round. Raises nothing that belongs to the outside world: what is away is a complaint, and nothing is promoted."""
        try:
            if self.lease is not None and self.lease.hold() is None:
                self._told = None
                return Ticked(leader=False)
            state = read_state(self.ledger, self.model)
        except OutsideError as error:
            return self._blind(error)
        complaints = self._converge(state)
        state, events = self._steer(state, complaints)
        self._state = state
        return Ticked(True, tuple(events), tuple(dict.fromkeys(complaints)), state)

    def _blind(self, error: OutsideError) -> Ticked:
        """Without the ledger nothing is decided and traffic stays: the router is told again what it was told last.

        Not so while harm is on record that could not be written down: then the router's own lease takes the users back.
        """
        complaints = [error.message]
        if self._state is not None and not self._danger:
            self._point(self._state, complaints)
        return Ticked(False, (), tuple(complaints), self._state)

    def _steer(self, state: ReleaseState, complaints: list[str]) -> tuple[ReleaseState, list[str]]:
        """Tell the router, then write what is due, and tell it again, until nothing is due."""
        events: list[str] = []
        sighting = self._look(state, complaints)
        trip = self._trip(state, complaints)
        lapsed = self._has_lapsed(state)
        for _ in range(_MOST):
            reachable = self._point(state, complaints)
            seen = self._observe(state, sighting, complaints, reachable=reachable)
            decided = self._decided(state, replace(seen, lapsed=lapsed, trip=trip), complaints)
            written = None if decided is None else self._write(state, decided, complaints)
            if decided is None or written is None:
                break
            state, told = written
            events.append(told)
            if decided.type != "routed":
                sighting, lapsed = None, False  # it belonged to the state before
        return state, events

    def _look(self, state: ReleaseState, complaints: list[str]) -> Sighting | None:
        living = state.living
        self._danger = False
        if living is None or living.status not in (Status.RUNNING, Status.HELD) or living.since is None:
            return None
        try:
            found = self.watch.look(living, self.clock())
        except HoldfastError as error:
            complaints.append(error.message)
            return None
        if found is not None:
            complaints += found.complaints
            self._danger = found.judgement.decision in (Decision.ROLL_BACK, Decision.INVALID)
        return found

    def _trip(self, state: ReleaseState, complaints: list[str]) -> Trip | None:
        """What a replica's breaker has told of the attempt under way."""
        living = state.living
        if living is None or not living.is_shifting:
            return None
        try:
            found = trip_of(self.ledger, self.model, living.id)
        except OutsideError as error:
            complaints.append(error.message)
            return None
        self._danger = self._danger or found is not None
        return found

    def _observe(
        self, state: ReleaseState, sighting: Sighting | None, complaints: list[str], *, reachable: bool
    ) -> Observation:
        seen = Observation(now=max(utc_text(self.clock()), state.time), reachable=reachable)
        if sighting is not None:
            seen = replace(seen, judgement=sighting.judgement, look=sighting.look, report=sighting.report)
        if not reachable:
            return seen
        try:
            seen = replace(seen, routing=self.router.read(), health=dict(self.router.health()))
            seen = replace(seen, why=dict(self.router.why())) if isinstance(self.router, TellsWhy) else seen
        except OutsideError as error:
            complaints.append(error.message)
            return replace(seen, reachable=False)
        return replace(seen, files=self._files(state, seen, complaints))

    def _files(self, state: ReleaseState, seen: Observation, complaints: list[str]) -> Mapping[str, bool]:
        """Whether the candidate can be fetched, asked only where something depends on it."""
        living = state.living
        promotes = seen.judgement is not None and seen.judgement.decision is Decision.PROMOTE
        if living is None or not (living.status in _NEEDS_FILES or promotes):
            return {}
        try:
            there = self.registry.has_files(self.model, living.candidate)
        except OutsideError as error:
            complaints.append(error.message)
            return {}
        if not there:
            complaints.append(f"version {living.candidate} of {self.model} can no longer be fetched from the registry.")
        return {living.candidate: there}

    def _decided(self, state: ReleaseState, seen: Observation, complaints: list[str]) -> Decided | None:
        try:
            return decide(state, Tick(seen=seen))
        except Refused as error:
            complaints.append(error.message)
            return None

    def _write(self, state: ReleaseState, decided: Decided, complaints: list[str]) -> tuple[ReleaseState, str] | None:
        try:
            after, event = append(self.ledger, self.model, state, decided)
        except Conflict:
            return None  # somebody else acted: the next tick sees it
        except OutsideError as error:
            complaints.append(error.message)
            return None
        if event.type in ("promoted", "returned", "started"):
            complaints += self._converge(after)
        return after, sentence(event)

    def _point(self, state: ReleaseState, complaints: list[str]) -> bool:
        """Whether the router is told; it renews the router's lease too."""
        try:
            point(self.router, state)
        except HoldfastError as error:
            complaints.append(error.message)
            return False
        self._told = self._monotonic()
        return True

    def _has_lapsed(self, state: ReleaseState) -> bool:
        """Whether the router sent the canary's users to the champion meanwhile, because nobody told it to go on."""
        routing, living = state.routing, state.living
        if living is None or living.since is None or routing is None or not self.router.keeps_lease:
            return False
        if self._told is not None:
            return self._monotonic() - self._told > routing.lease_seconds
        idle = self.lease.idle_before if self.lease is not None else None
        return idle is not None and idle > routing.lease_seconds

    def _converge(self, state: ReleaseState) -> list[str]:
        """Make the registry match when the ledger has grown, and now and then; its absence is a complaint."""
        length, at = self._converged
        if length == state.length and self._monotonic() - at < CONVERGE_SECONDS:
            return []
        try:
            done = converge(self.ledger, self.registry, self.model)
        except HoldfastError as error:
            return [error.message]
        self._converged = (state.length, self._monotonic())
        return done.complaints(self.model)
