"""Replicas under random decisions, deaths of controllers between any two writes, outages, failed loads, time, old documents."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.errors import HoldfastError, UserError
from holdfast.release import ReleaseState, evolve
from holdfast.release.canaries import finish, pause, resume, take_back
from holdfast.release.canary.judgement import Decision
from holdfast.release.controller import Controller
from holdfast.release.routers.told import read_told
from holdfast.release.routing import Routing
from holdfast.serving.gateway import Trip as Opened
from holdfast.store import open_store
from tests.release.machines import run_machine
from tests.release.steered import plan
from tests.serving.followers import MODEL, FakeModel, GatewayWorld, ReplicaOf, away

LEFT = st.none() | st.integers(0, 9)  # writes until the process is killed
WHO = st.sampled_from(["a", "b"])
VERSION = st.sampled_from(["1", "2", "3"])
ROUTING = f"routing/{MODEL}/"
OUTCOMES = {"loads": FakeModel, "waits": None, "fails": UserError("it does not fit"), "away": away()}


class Followed(RuleBasedStateMachine):
    """Two replicas and two controllers. Time moves by rules alone; a replica's timers run after every one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = GatewayWorld(open_store("memory://")._backend, monotonic=lambda: self.world.seconds)
        self.replicas = {name: self.world.replica(name, monotonic=lambda: self.world.seconds) for name in ("a", "b")}
        self.controllers: dict[str, Controller] = {name: self.world.controller(name) for name in ("x", "y")}
        self.documents: dict[str, list[bytes]] = {}
        self.told: dict[str, tuple[Routing, float]] = {}
        self.states = [ReleaseState()]

    # What the world does

    def wait(self, what: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(what)

    def attempt(self, act: Any, left: int | None = None) -> bool:
        done = False
        with contextlib.suppress(HoldfastError):
            done = self.world.attempt(act, left)
        self.heard()
        return done

    def heard(self) -> None:
        """Keep every document that stood in the store, and when its latest beat came."""
        for key in self.world.backend.list(ROUTING):
            data, before = self.world.backend.get(key), self.documents.setdefault(key, [])
            if data is not None and data not in before[-1:]:
                before.append(data)
                self.told[key] = (read_told(data, key).routing, self.world.seconds)

    def timers(self) -> None:
        async def turn() -> None:
            for replica in self.replicas.values():
                replica.follower.settle()
            for _ in range(3):
                await asyncio.sleep(0)

        self.wait(turn())

    def everybody_looks(self) -> None:
        for replica in self.replicas.values():
            self.wait(replica.step())

    # Beginnings

    @initialize(begin=st.sampled_from(["running", "running", "running", "champion", "promoting", "nothing"]))
    def begin(self, begin: str) -> None:
        if begin == "nothing":
            return
        self.attempt(lambda: self.world.release("one"))
        self.everybody_looks()
        if begin != "champion":
            self.whole_start("two")
        if begin == "promoting":
            self.finish(None)

    @rule(name=st.sampled_from(["two", "three"]))
    def whole_start(self, name: str) -> None:
        """A canary up to its first share, with replicas that look on."""
        self.attempt(lambda: self.world.stage(name))
        self.attempt(self.world.drill)
        self.attempt(lambda: self.world.start(plan(steps=[{"share": 0.1, "hours": 4}, {"share": 0.5}])))
        for _ in range(4):
            self.attempt(self.world.tick)
            self.world.seconds += 1
            self.everybody_looks()
            self.timers()

    # Decisions

    @rule(who=st.sampled_from(["x", "y"]), left=LEFT)
    def tick(self, who: str, left: int | None) -> None:
        if not self.attempt(self.controllers[who].tick, left):
            self.controllers[who] = self.world.controller(who)

    @rule(left=LEFT)
    def tick_as_a_command(self, left: int | None) -> None:
        self.attempt(self.world.tick, left)

    @rule(decision=st.sampled_from(list(Decision)), look=st.none() | st.integers(0, 2))
    def evidence(self, decision: Decision, look: int | None) -> None:
        self.world.words(decision, look)

    @rule(left=LEFT)
    def take_back(self, left: int | None) -> None:
        self.attempt(lambda: take_back(self.world.ledger, self.world.router, MODEL, reason="no"), left)

    @rule(left=LEFT)
    def finish(self, left: int | None) -> None:
        world = self.world
        self.attempt(lambda: finish(world.ledger, world.registry, world.router, MODEL, reason="my word"), left)

    @rule(left=LEFT, what=st.sampled_from(["stage", "promote", "rollback", "drill", "pause", "resume"]))
    def command(self, left: int | None, what: str) -> None:
        world = self.world
        acts = {
            "stage": lambda: world.stage("three"),
            "promote": world.promote,
            "rollback": world.rollback,
            "drill": world.drill,
            "pause": lambda: pause(world.ledger, MODEL, reason="a person"),
            "resume": lambda: resume(world.ledger, MODEL),
        }
        self.attempt(acts[what], left)

    # Replicas

    @rule(who=WHO)
    def look(self, who: str) -> None:
        self.wait(self.replicas[who].step())

    @rule()
    def all_look(self) -> None:
        self.everybody_looks()

    @rule(who=WHO, version=VERSION, outcome=st.sampled_from(list(OUTCOMES)))
    def loading(self, who: str, version: str, outcome: str) -> None:
        self.replicas[who].loader.outcome[version] = OUTCOMES[outcome]

    @rule(who=WHO, well=st.booleans())
    def loaded(self, who: str, well: bool) -> None:
        loader = self.replicas[who].loader
        for version in list(loader.waiting):
            loader.finish(version, None if well else RuntimeError("out of memory"))
        self.timers()

    @rule(who=WHO, version=VERSION, lives=st.booleans())
    def life(self, who: str, version: str, lives: bool) -> None:
        for model in self.replicas[who].loader.models:
            model.is_alive = lives and not model.is_closed if model.version == version else model.is_alive

    @rule(who=WHO)
    def breaker(self, who: str) -> None:
        replica = self.replicas[who]
        if replica.tables and replica.table.routing.canary is not None:
            now = replica.table.routing
            replica.follower.trip(Opened(now.release, str(now.canary), now.epoch, "5 units met faults"))

    # The outside

    @rule(who=st.sampled_from(["a", "b", "controllers"]), gone=st.booleans())
    def store_away(self, who: str, gone: bool) -> None:
        place = self.world.place if who == "controllers" else self.replicas[who].place
        place.away = gone

    @rule(which=st.integers(0, 50), beat=st.integers(0, 50))
    def old_document(self, which: int, beat: int) -> None:
        """A controller that fell asleep between reading and writing goes on to write."""
        if self.documents:
            key = sorted(self.documents)[-1 - which % len(self.documents)]
            self.world.backend.put(key, self.documents[key][beat % len(self.documents[key])])
            self.heard()

    @rule(seconds=st.sampled_from([1, 5, 12, 31, 70]))
    def time_passes(self, seconds: int) -> None:
        self.world.seconds += seconds
        self.world.clock.now += timedelta(seconds=seconds)

    @rule(hours=st.sampled_from([-48, -1, 1, 48]))
    def clock_jumps(self, hours: int) -> None:
        self.world.clock.now += timedelta(hours=hours)

    # What always holds

    @invariant()
    def nobody_is_sent_where_he_must_not(self) -> None:
        self.timers()
        away, self.world.place.away = self.world.place.away, False
        for event in self.world.events[len(self.states) - 1 :]:
            self.states.append(evolve(self.states[-1], event))
        self.world.place.away = away
        for replica in self.replicas.values():
            if replica.tables:
                self._check(replica)

    def _check(self, replica: ReplicaOf) -> None:
        table, seen = replica.table, self.states[replica.follower._state.length].routing
        assert seen is not None
        assert not any(model.is_closed for model in (table.champion, table.canary, table.previous) if model)
        share = table.routing.share
        if table.canary is None and share == 0:
            return
        assert seen.canary is not None  # its end was not seen yet
        assert (table.routing.champion, table.routing.canary) == (seen.champion, seen.canary)
        assert table.routing.release == seen.release
        assert table.champion.version == seen.champion
        assert share <= seen.share
        renewed = [at for told, at in self.told.values() if told.release == seen.release and told.share >= share]
        assert self.world.seconds - max(renewed) <= seen.lease_seconds
        assert table.canary is None or table.routing.release not in replica.follower._tripped

    def teardown(self) -> None:
        """Everything comes back: every replica routes as the ledger says, and holds no more than that needs."""
        self.world.place.away = False
        for replica in self.replicas.values():
            replica.place.away = False
            replica.loader.outcome.clear()
            for version in list(replica.loader.waiting):
                replica.loader.finish(version)
            for model in replica.loader.models:
                model.is_alive = not model.is_closed
        self.world.words(Decision.CONTINUE)
        for _ in range(16):
            self.everybody_looks()
            self.attempt(self.world.tick)
            self.world.seconds += 6
            self.timers()
        self.everybody_looks()
        self.timers()
        state = self.world.state
        for replica in self.replicas.values():
            if state.routing is not None:
                self._settled(replica, state)
        for replica in self.replicas.values():
            self.wait(replica.follower.close())
            assert replica.loader.open == []
        self.loop.close()

    def _settled(self, replica: ReplicaOf, state: ReleaseState) -> None:
        table, wanted = replica.table, state.routing
        assert wanted is not None
        assert table.routing.same_as(wanted)
        previous = None if state.previous is None else state.previous.version
        held = [None if model is None else model.version for model in (table.champion, table.canary, table.previous)]
        assert held == [wanted.champion, wanted.canary, previous]
        assert replica.loader.open == sorted({version for version in held if version is not None})


def test_random_histories() -> None:
    run_machine(Followed, 12, 30)


@pytest.mark.slow
def test_many_random_histories() -> None:
    run_machine(Followed, 600, 50)
