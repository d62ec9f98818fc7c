"""Random commands, deaths between any two writes, late and repeated words, several controllers, clocks that jump."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from holdfast.errors import HoldfastError
from holdfast.release import ReleaseState, evolve
from holdfast.release.attempt import TRANSITIONS, Status
from holdfast.release.canaries import finish, pause, resume, take_back
from holdfast.release.canary.judgement import Decision
from holdfast.release.routing import Routing
from holdfast.verdict import Verdict
from tests.release.machines import run_machine
from tests.release.steered import REPORT, SteeredWorld, plan
from tests.release.world import MODEL

NAMES = st.sampled_from(["one", "two", "three", "four"])
LEFT = st.none() | st.integers(0, 9)  # writes until the process is killed
DECISIONS = st.sampled_from(list(Decision))
_ALLOWED = {
    (t.source, t.event): {u.target for u in TRANSITIONS if (u.source, u.event) == (t.source, t.event)}
    for t in TRANSITIONS
}


class Canaries(RuleBasedStateMachine):
    """Three controllers, each of which may die and be replaced; a router, a registry and a ledger that may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.world = SteeredWorld()
        self.controllers = {name: self.world.controller(name) for name in ("a", "b", "c")}
        self.words: list[Routing] = []  # that the router was told, for late and repeated deliveries
        self.promised: set[int] = set()  # numbers of events written while the evidence said promote, with its report
        self.states = [ReleaseState()]  # before any event, after the first, …
        self.drilled = False
        self.epoch = -1

    def attempt(self, act: Any, left: int | None) -> None:
        with contextlib.suppress(HoldfastError):
            self.world.attempt(act, left)
        routing = self.world.router._routing
        if routing is not None and routing not in self.words[-1:]:
            self.words.append(routing)

    @initialize(begin=st.sampled_from(["running", "nothing", "last step", "drilled", "promoting"]))
    def begin(self, begin: str) -> None:
        """Most of what may go wrong goes wrong while traffic is shifted."""
        if begin == "nothing":
            return
        self.attempt(
            self.world.canary if begin != "drilled" else lambda: (self.world.release("one"), self.drill(None)), None
        )
        self.attempt(self.world.tick, None)
        if begin in ("last step", "promoting"):
            self.world.words(Decision.ADVANCE)
            self.attempt(self.world.tick, None)
            self.world.words(Decision.CONTINUE)
        if begin == "promoting":
            self.finish(None)

    @rule(name=NAMES, left=LEFT)
    def stage(self, name: str, left: int | None) -> None:
        self.attempt(lambda: self.world.stage(name), left)

    @rule(left=LEFT)
    def promote_directly(self, left: int | None) -> None:
        self.attempt(self.world.promote, left)

    @rule(left=LEFT)
    def roll_back_directly(self, left: int | None) -> None:
        self.attempt(self.world.rollback, left)

    @rule(left=LEFT)
    def drill(self, left: int | None) -> None:
        self.attempt(self.world.drill, left)

    @rule(left=LEFT, undecided=st.sampled_from(["hold", "rollback"]))
    def start(self, left: int | None, undecided: str) -> None:
        self.attempt(lambda: self.world.start(plan(on_undecided=undecided)), left)

    @rule(name=NAMES)
    def whole_start(self, name: str) -> None:
        self.attempt(lambda: (self.world.canary(name), self.world.tick()), None)

    @rule(who=st.sampled_from(["a", "b", "c"]), left=LEFT)
    def tick(self, who: str, left: int | None) -> None:
        """One round; a controller that was killed is replaced by a new process of the same name."""
        before = self.world.words.decision
        if not self._ticked(who, left):
            self.controllers[who] = self.world.controller(who)
        if before is Decision.PROMOTE:
            self.promised |= {event.number for event in self.world.events if event.type == "promoting"}

    def _ticked(self, who: str, left: int | None) -> bool:
        done = False

        def act() -> None:
            nonlocal done
            self.controllers[who].tick()
            done = True

        self.attempt(act, left)
        return done

    @rule(left=LEFT)
    def tick_as_a_command(self, left: int | None) -> None:
        before = self.world.words.decision
        self.attempt(self.world.tick, left)
        if before is Decision.PROMOTE:
            self.promised |= {event.number for event in self.world.events if event.type == "promoting"}

    @rule(decision=DECISIONS, look=st.none() | st.integers(0, 2))
    def evidence(self, decision: Decision, look: int | None) -> None:
        self.world.words(decision, look)

    @rule(left=LEFT)
    def pause(self, left: int | None) -> None:
        self.attempt(lambda: pause(self.world.ledger, MODEL, reason="a person"), left)

    @rule(left=LEFT)
    def resume(self, left: int | None) -> None:
        self.attempt(lambda: resume(self.world.ledger, MODEL), left)

    @rule(left=LEFT)
    def finish(self, left: int | None) -> None:
        world = self.world
        self.attempt(lambda: finish(world.ledger, world.registry, world.router, MODEL, reason="my word"), left)

    @rule(left=LEFT, into=st.sampled_from(["rolled_back", "aborted"]))
    def take_back(self, left: int | None, into: Any) -> None:
        self.attempt(lambda: take_back(self.world.ledger, self.world.router, MODEL, reason="no", into=into), left)

    @precondition(lambda self: self.words)
    @rule(which=st.integers(0, 50))
    def late_word(self, which: int) -> None:
        """A word that the router was told before arrives again: of a sleeping controller, or a repeated delivery."""
        with contextlib.suppress(HoldfastError):
            self.world.router.apply(self.words[which % len(self.words)])

    @rule(away=st.booleans())
    def router_away(self, away: bool) -> None:
        self.world.router.away = away

    @rule(dead=st.sets(st.sampled_from(["1", "2", "3"])))
    def health(self, dead: set[str]) -> None:
        self.world.router.broken = dead

    @rule(seconds=st.sampled_from([1, 5, 40]))
    def time_passes(self, seconds: int) -> None:
        self.world.seconds += seconds
        self.world.clock.now += timedelta(seconds=seconds)

    @rule(hours=st.sampled_from([-48, -1, 1, 48]))
    def clock_jumps(self, hours: int) -> None:
        self.world.clock.now += timedelta(hours=hours)

    @invariant()
    def the_ledger_tells_an_allowed_story(self) -> None:
        """Read from the events alone: the table is kept, nothing is promoted without its evidence or somebody's name."""
        for event in self.world.events[len(self.states) - 1 :]:
            status = self.states[-1].living.status if self.states[-1].living else None
            after = evolve(self.states[-1], event)
            if event.type == "drilled":
                self.drilled = self.drilled or event.payload["ok"]
            if event.type == "started":
                assert self.drilled
                assert event.evidence["report"] or event.payload["granted"]["override"]
            if event.type == "promoting" and event.payload["by"] == "evidence":
                assert event.evidence["canary"] == REPORT
                assert event.number in self.promised
            if event.type == "promoted" and event.payload.get("release"):
                assert status is Status.PROMOTING
            if event.type == "returned":
                assert after.routed == after.epoch
            if (status, event.type) in _ALLOWED:
                assert after.attempt is not None
                assert after.attempt.status in _ALLOWED[status, event.type]
            self.states.append(after)

    @invariant()
    def the_router_does_what_the_ledger_says_or_said(self) -> None:
        """One champion, a way back whenever traffic is shifted, no share that the ledger did not ask for, nothing twice."""
        found = self.world.router._routing
        if found is None:
            return
        assert found.epoch >= self.epoch
        self.epoch = found.epoch
        state = self.states[found.epoch + 1]
        assert state.routing is not None
        assert found.same_as(state.routing)
        if found.share > 0:
            assert found.champion in state.versions
            assert self.world.registry.has_files(MODEL, found.champion)

    def teardown(self) -> None:
        """Everything comes back: the world matches the ledger, and evidence moves every release that nobody holds."""
        world = self.world
        world.router.away, world.router.broken = False, set()
        world.clock.now = max(world.clock.now, world.clock.now) + timedelta(hours=72)
        world.words(Decision.CONTINUE)
        self._settle()
        living = world.state.living
        if living is not None and living.status is Status.RUNNING:
            world.words(Decision.PROMOTE)
            self._settle()
            assert world.state.living is None
        elif living is not None:
            assert living.status is Status.HELD
            world.words(Decision.ROLL_BACK)
            self._settle()
            assert world.state.living is None
        wanted = {role: number for role, number in world.state.aliases().items() if number is not None}
        assert {role: n for role, n in world.aliases.items() if role in world.state.mentioned} == wanted
        if world.state.champion is not None:
            assert world.router.read() == world.state.routing
        before = world.types
        self._settle()
        assert world.types == before
        assert all(check.verdict is Verdict.PASS for check in world.ledger.verify())

    def _settle(self) -> None:
        for _ in range(4):
            ticked = self.world.tick()
            assert ticked.leader
            assert not ticked.complaints
        assert self.world.state.living is None or self.world.state.living.status in (Status.RUNNING, Status.HELD)


def test_random_canaries() -> None:
    run_machine(Canaries, 60, 30)


@pytest.mark.slow
def test_many_random_canaries() -> None:
    run_machine(Canaries, 2500, 50)


def test_the_machine_gets_somewhere() -> None:
    """The rules above do reach promotions, returns and restarts; else their invariants would hold of nothing."""
    machine = Canaries()
    machine.whole_start("two")
    assert machine.world.state.living is not None
    machine.evidence(Decision.ADVANCE, None)
    machine.tick("a", None)
    machine.evidence(Decision.PROMOTE, None)
    machine.tick("a", None)
    machine.the_ledger_tells_an_allowed_story()
    machine.the_router_does_what_the_ledger_says_or_said()
    assert machine.world.state.attempt.status is Status.PROMOTED
    machine.whole_start("three")
    machine.the_ledger_tells_an_allowed_story()
    machine.evidence(Decision.ROLL_BACK, None)
    machine.tick("a", None)
    assert machine.world.state.attempt.status is Status.ROLLED_BACK
    machine.late_word(3)
    machine.the_ledger_tells_an_allowed_story()
    machine.the_router_does_what_the_ledger_says_or_said()
    machine.teardown()
