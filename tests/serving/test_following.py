"""Replicas that follow a real controller through a real folder: switches, leases, outages, versions that do not load."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from holdfast.errors import UserError
from holdfast.release.attempt import Status
from holdfast.release.canaries import take_back
from holdfast.release.canary.judgement import Decision
from holdfast.release.commands import Observation, Return
from holdfast.release.commit import commit
from holdfast.release.controller import Controller
from holdfast.release.decide import decide
from holdfast.release.replicas import NameTaken, Replicas
from holdfast.release.trips import commands_of
from holdfast.serving.gateway import Trip as Opened
from holdfast.store import open_store
from holdfast.verdict import utc_text
from tests.serving.followers import MODEL, GatewayWorld, ReplicaOf, away, until


@asynccontextmanager
async def following(*replicas: ReplicaOf) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(replica.follower.run()) for replica in replicas]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for replica in replicas:
            await replica.follower.close()
            assert replica.loader.open == []


class Controlling:
    """A controller that ticks in a thread until it is killed; another one, or the same one after a sleep, may go on."""

    def __init__(self, world: GatewayWorld, controller: Controller | None = None) -> None:
        self.controller, self.stopped = controller or world.controller(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self.stopped.wait(0.1):
            self.controller.tick()

    async def __aenter__(self) -> Self:
        self.thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self.stopped.set()
        self.thread.join(10)


def status(world: GatewayWorld) -> Status | None:
    return None if world.state.attempt is None else world.state.attempt.status


async def champion(world: GatewayWorld, *replicas: ReplicaOf) -> None:
    """Version 1 is champion, and every replica serves it and has said so."""
    await asyncio.to_thread(world.release, "one")
    reader = Replicas(world.ledger.store, MODEL)
    await until(lambda: all(replica.tables for replica in replicas))
    await until(lambda: sum(found.serving for found in reader.living()) == len(replicas))


async def running(world: GatewayWorld, *replicas: ReplicaOf, **declared: Any) -> None:
    """A canary with a tenth of the users on every replica."""
    await champion(world, *replicas)
    await asyncio.to_thread(lambda: world.begin(steps=[{"share": 0.1}], **declared))
    await until(lambda: all(replica.routes == ("1", "2", 0.1) for replica in replicas), 15)


def test_a_release_from_the_first_look_to_the_promotion(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        one, two = world.replica("a", poll=0.05, linger=0.3), world.replica("b", poll=0.05, linger=0.3)
        async with following(one, two):
            assert not one.follower.is_ready
            await champion(world, one, two)
            assert one.follower.is_ready
            async with Controlling(world):
                await asyncio.to_thread(lambda: world.begin(steps=[{"share": 0.1}]))
                await until(lambda: one.routes == two.routes == ("1", "2", 0.1))
                world.words(Decision.PROMOTE, look=0)
                await until(lambda: status(world) is Status.PROMOTED)
                await until(lambda: one.routes == two.routes == ("2", None, 0.0))
            assert one.table.previous is not None
            assert one.table.previous.version == "1"
            await asyncio.to_thread(world.rollback)
            await until(lambda: one.routes == two.routes == ("1", None, 0.0))
            assert one.loader.tries == ["1", "2"]  # the way back was loaded
            await until(lambda: one.loader.open == two.loader.open == ["1"])
        assert world.ledger.store.list("replicas/") == []

    asyncio.run(story())


class _Admin(BaseHTTPRequestHandler):
    nudge: ClassVar[Callable[[], None]]

    def do_POST(self) -> None:
        type(self).nudge()
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is said."""


@contextmanager
def admin_of_all(replicas: list[ReplicaOf], loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """One admin port that nudges every replica."""

    def nudge() -> None:
        for replica in replicas:
            loop.call_soon_threadsafe(replica.follower.nudge)

    handler = type("Admin", (_Admin,), {"nudge": nudge})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def by_the_ledger_alone(world: GatewayWorld) -> None:
    """The decision is written and nobody is told."""
    command = Return(seen=Observation(now=utc_text(world.clock()), reachable=False), reason="no")
    commit(world.ledger, MODEL, lambda now: decide(now, command))


def with_a_word(world: GatewayWorld) -> None:
    """As `holdfast release rollback` does."""
    take_back(world.ledger, world.router, MODEL, reason="no")


@pytest.mark.parametrize("decide_to_return", [by_the_ledger_alone, with_a_word])
def test_a_rollback_reaches_every_replica(
    tmp_path: Path,
    decide_to_return: Callable[[GatewayWorld], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOLDFAST_ADMIN_TOKEN", "secret")

    async def story() -> float:
        world = GatewayWorld(tmp_path)
        replicas = [world.replica(name) for name in "abc"]
        with admin_of_all(replicas, asyncio.get_running_loop()) as url:
            for replica in replicas[:1]:  # one port nudges all
                replica.follower = replica.follower_at(url)
            async with following(*replicas):
                async with Controlling(world):
                    await running(world, *replicas)
                await asyncio.to_thread(decide_to_return, world)
                await until(lambda: all(replica.routes == ("1", None, 0.0) for replica in replicas))
                return max(replica.tables[-1][0] for replica in replicas) - world.place.claimed

    seconds = asyncio.run(story())
    with capsys.disabled():
        print(f"\n  {decide_to_return.__name__}: 3 replicas had left the canary after {1000 * seconds:.0f} ms")
    assert seconds < 5


def test_a_dead_controller_ends_the_lease(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        one, two = world.replica("a", poll=0.05), world.replica("b", poll=0.05)
        async with following(one, two):
            async with Controlling(world) as controller:
                await running(world, one, two, lease="1s")
                await asyncio.sleep(1.5)
                assert one.routes == two.routes == ("1", "2", 0.1)  # renewed all the while
                controller.kill()
                await until(lambda: one.routes == two.routes == ("1", None, 0.0))
                assert one.table.routing.release is None  # no evidence, for neither arm
                assert status(world) is Status.RUNNING
            world.seconds += 60.0
            async with Controlling(world, controller.controller):  # it was only asleep
                await until(lambda: one.routes == two.routes == ("1", "2", 0.1))
            assert "restarted" in world.types

    asyncio.run(story())


def test_a_store_that_is_away_or_hangs_leaves_the_champion(tmp_path: Path) -> None:
    async def story(trouble: Callable[[ReplicaOf, bool], None]) -> None:
        world = GatewayWorld(tmp_path / trouble.__name__)
        one, two = world.replica("a", poll=0.05), world.replica("b", poll=0.05)
        async with following(one, two), Controlling(world):
            await running(world, one, two, lease="1s")
            trouble(one, True)
            await until(lambda: one.routes == ("1", None, 0.0))
            assert one.follower.is_ready
            assert two.routes == ("1", "2", 0.1)
            trouble(one, False)
            await until(lambda: one.routes == ("1", "2", 0.1))
            assert one.follower.status()["troubles"] == []

    def absence(replica: ReplicaOf, now: bool) -> None:
        replica.place.away = now

    def hanging(replica: ReplicaOf, now: bool) -> None:
        replica.place.hangs = 2.0 if now else 0.0

    asyncio.run(story(absence))
    asyncio.run(story(hanging))


@pytest.mark.parametrize("error", [UserError("its environment is another one"), RuntimeError("boom"), away()])
def test_a_canary_that_does_not_load_gets_nobody(tmp_path: Path, error: Exception) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        good, bad = world.replica("a", poll=0.05), world.replica("b", poll=0.05)
        bad.loader.outcome["2"] = error
        async with following(good, bad), Controlling(world):
            await champion(world, good, bad)
            await asyncio.to_thread(lambda: world.begin(steps=[{"share": 0.1}]))
            await until(lambda: status(world) is Status.WARMING and "2" in bad.loader.tries)
            await asyncio.sleep(0.3)
            assert status(world) is Status.WARMING  # one replica that does not have it is enough
            conditions = bad.follower.status()["versions"]
            assert conditions["2"] == ("loading" if error.args == away().args else "failed")
            assert str(error) in bad.follower.status()["troubles"][0]
            routings = [table.routing for _, table in good.tables + bad.tables]
            assert {routing.share for routing in routings if routing.canary == "2"} <= {0.0}
            bad.loader.outcome.clear()  # mended: it is tried again by itself
            await until(lambda: good.routes == bad.routes == ("1", "2", 0.1))

    asyncio.run(story())


def test_a_canary_that_never_loads_is_rolled_back_after_its_time(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        replica = world.replica(poll=0.05, every=0.5, progress=lambda: {"2": "its environment is being made"})
        replica.loader.outcome["2"] = None
        async with following(replica), Controlling(world):
            await champion(world, replica)
            await asyncio.to_thread(lambda: world.begin(steps=[{"share": 0.1}], warm_timeout="10s"))
            await until(lambda: status(world) is Status.ROLLED_BACK, 15)
            assert world.state.attempt is not None
            assert "in its time to warm up: its environment is being made (replica a)" in str(world.state.attempt.why)
            await until(lambda: "2" not in replica.loader.waiting)  # it is loaded no further

    asyncio.run(story())


def test_a_new_replica_joins_a_running_canary_when_it_is_warm(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        old, new = world.replica("a", poll=0.05), world.replica("b", poll=0.05)
        new.loader.outcome["2"] = None
        async with following(old), Controlling(world):
            await running(world, old)
            async with following(new):
                await until(lambda: "2" in new.loader.waiting)
                await until(
                    lambda: any(
                        found.id == "b" and found.serving for found in Replicas(world.ledger.store, MODEL).living()
                    )
                )
                await asyncio.sleep(0.3)
                assert new.routes == ("1", None, 0.0)
                assert new.table.routing.release is None
                assert status(world) is Status.RUNNING  # it does not speak against the canary
                new.loader.finish("2")
                await until(lambda: new.routes == ("1", "2", 0.1))

    asyncio.run(story())


def test_a_second_process_of_one_name_does_not_begin(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        first, second = (world.replica("a", poll=0.05, every=0.1) for _ in range(2))
        async with following(first):
            await champion(world, first)
            with pytest.raises(NameTaken, match="the only process that is replica a"):
                await second.follower.run()
            assert not second.tables, "it served nobody"
            await second.follower.close()
            await asyncio.sleep(0.3)
            (there,) = Replicas(world.ledger.store, MODEL).living()
            assert there.serving and there.process == first.follower._presence.process

    asyncio.run(story())


def test_of_two_of_one_name_that_begin_together_one_stays(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        await asyncio.to_thread(world.release, "one")
        both = [world.replica("a", poll=0.05, every=0.1) for _ in range(2)]
        ended, going_on = await asyncio.wait(
            [asyncio.create_task(replica.follower.run()) for replica in both], return_when="FIRST_COMPLETED", timeout=10
        )
        assert [type(task.exception()) for task in ended] == [NameTaken]
        await asyncio.sleep(0.5)
        (stays,) = going_on
        assert not stays.done()
        stays.cancel()
        await asyncio.gather(stays, return_exceptions=True)
        for replica in both:
            await replica.follower.close()

    asyncio.run(story())


def test_a_replica_that_cannot_answer_does_not_serve(tmp_path: Path) -> None:
    async def story() -> None:
        world, able = GatewayWorld(tmp_path), [True]
        replica = world.replica("a", able=lambda: able[0])
        await asyncio.to_thread(world.release, "one")
        reader = Replicas(world.ledger.store, MODEL)
        for expected in (True, False, True):
            able[0] = expected  # such as a disk without room
            await replica.step()
            assert replica.follower.is_ready is expected
            assert [found.serving for found in reader.living()] == [expected]
        await replica.follower.close()

    asyncio.run(story())


def test_who_was_killed_has_its_name_again(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        killed, again = (world.replica("a", poll=0.05, every=0.1) for _ in range(2))
        await asyncio.to_thread(world.release, "one")
        await killed.step()
        killed.loader.models[0].is_closed = True  # with the process
        named: list[float] = []
        again.follower._named = lambda: named.append(len(again.tables))
        async with following(again):
            await until(lambda: again.tables)
        assert named == [0], "first the name, then requests"
        await killed.follower.close()

    asyncio.run(story())


def test_nothing_is_loaded_beside_a_champion_that_is_not_there_yet(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        first = world.replica("a", poll=0.05)
        async with following(first), Controlling(world):
            await running(world, first)
            late = world.replica("b", poll=0.05)
            late.loader.outcome["1"] = None
            async with following(late):
                await until(lambda: "1" in late.loader.waiting)
                await asyncio.sleep(0.2)
                assert late.loader.tries == ["1"]
                assert not late.follower.is_ready
                late.loader.finish("1")
                await until(lambda: late.tables and late.routes == ("1", "2", 0.1))

    asyncio.run(story())


def test_a_promotion_waits_for_the_version_and_the_old_champion_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        replica = world.replica(poll=0.05)
        async with following(replica):
            await champion(world, replica)
            replica.loader.outcome["2"] = None
            await asyncio.to_thread(world.release, "two")
            await until(lambda: "2" in replica.loader.waiting)
            assert replica.routes == ("1", None, 0.0)
            assert replica.follower.status()["ledger"]["champion"] == "2"
            replica.loader.finish("2")
            await until(lambda: replica.routes == ("2", None, 0.0))

    asyncio.run(story())


def test_the_champion_in_use_stays_open_whatever_the_ledger_says_meanwhile() -> None:
    async def story() -> None:
        world, replica = stepped()
        world.release("one")
        await replica.step()
        replica.loader.outcome.update({"2": None, "3": None})
        for name in ("two", "three"):
            world.release(name)
            await replica.step()
        world.seconds += 100
        await replica.step()
        await replica.step()
        assert (replica.routes, replica.loader.open) == (("1", None, 0.0), ["1"])
        replica.loader.finish("3")
        await replica.step()
        assert replica.routes == ("3", None, 0.0)
        await replica.follower.close()

    asyncio.run(story())


def test_a_breaker_ends_the_release_whatever_the_evidence_says(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        one, two = world.replica("a", poll=0.05), world.replica("b", poll=0.05)
        async with following(one, two), Controlling(world) as controller:
            await running(world, one, two)
            controller.kill()
            release = one.table.routing.release
            opened = Opened(release, "2", one.table.routing.epoch, "5 units met faults of the canary within 30 s")
            for _ in range(3):
                one.follower.trip(opened)
            assert one.table.canary is None  # at once, and the assignment stays
            assert one.table.routing.share == 0.1
            assert two.routes == ("1", "2", 0.1)
            await until(lambda: len(world.ledger.read(commands_of(MODEL))) == 1)
        async with following(world.replica("c", poll=0.05)), Controlling(world):
            await until(lambda: status(world) is Status.ROLLED_BACK)
        attempt = world.state.attempt
        assert attempt.metric == "breaker"
        assert attempt.why == "the breaker of replica a opened: 5 units met faults of the canary within 30 s"
        assert world.types.count("returning") == 1

    asyncio.run(story())


def test_a_trip_waits_for_a_store_that_is_away(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        replica = world.replica(poll=0.05)
        async with following(replica), Controlling(world):
            await running(world, replica)
            replica.place.away = True
            replica.follower.trip(Opened(replica.table.routing.release, "2", 1, "faults"))
            assert replica.table.canary is None
            await asyncio.sleep(0.2)
            assert status(world) is Status.RUNNING
            replica.place.away = False
            await until(lambda: status(world) is Status.ROLLED_BACK)

    asyncio.run(story())


def test_a_look_without_a_canary_is_one_small_request(tmp_path: Path) -> None:
    async def story() -> None:
        world = GatewayWorld(tmp_path)
        replica = world.replica()
        await asyncio.to_thread(world.release, "one")
        await replica.follower.look()
        await asyncio.sleep(0)
        replica.place.gets = replica.place.lists = 0
        for _ in range(10):
            await replica.follower.look()
        assert (replica.place.gets, replica.place.lists) == (10, 0)
        await replica.follower.close()

    asyncio.run(story())


def stepped(**options: Any) -> tuple[GatewayWorld, ReplicaOf]:
    """A running canary on one replica that is moved by hand, over a store in memory; the world's seconds are everybody's."""
    world = GatewayWorld(open_store("memory://")._backend, monotonic=lambda: world.seconds)
    replica = world.replica(monotonic=lambda: world.seconds, **options)
    return world, replica


async def under_way(world: GatewayWorld, replica: ReplicaOf) -> None:
    world.release("one")
    await replica.step()
    world.begin()
    for _ in range(3):
        world.tick()
        world.seconds += 1
        await replica.step()
    assert replica.routes == ("1", "2", 0.01)


def advance(world: GatewayWorld) -> None:
    world.words(Decision.ADVANCE)
    world.tick()


def harm(world: GatewayWorld) -> None:
    world.words(Decision.ROLL_BACK)
    world.tick()


def success(world: GatewayWorld) -> None:
    advance(world)
    world.words(Decision.PROMOTE, look=0)
    world.tick()


@pytest.mark.parametrize("act", [advance, harm, success, with_a_word])
def test_a_controller_that_dies_between_any_two_writes(act: Callable[[GatewayWorld], None]) -> None:
    async def story(writes: int) -> bool:
        world, replica = stepped()
        await under_way(world, replica)
        whole = world.attempt(lambda: act(world), writes)
        await replica.step()
        wanted, told = world.state.routing, world.router.read()
        share = replica.table.routing.share
        assert share <= min(wanted.share, told.share)
        assert replica.table.canary is None or wanted.canary is not None  # away at once
        assert replica.table.champion.version == wanted.champion
        world.seconds += 31
        await replica.step()
        assert replica.table.routing.canary is None  # nobody stands by it
        world.words(Decision.CONTINUE)
        for _ in range(4):
            world.tick()
            world.seconds += 1
            await replica.step()
        assert replica.table.routing.same_as(world.state.routing)
        await replica.follower.close()
        return whole

    writes = 0
    while not asyncio.run(story(writes)):
        writes += 1
    assert writes >= 2


def test_a_renewal_that_was_not_seen_is_none_later() -> None:
    """The store was away for this replica; the controller renewed for a while and died. The beat has moved, long ago."""

    async def story() -> None:
        world, replica = stepped()
        await under_way(world, replica)
        replica.place.away = True
        await replica.step()
        world.tick()
        world.seconds += 40
        await replica.step()
        assert replica.routes == ("1", None, 0.0)
        replica.place.away = False
        await replica.step()
        assert replica.routes == ("1", None, 0.0)
        world.tick()
        await replica.step()
        assert replica.routes == ("1", "2", 0.01)
        await replica.follower.close()

    asyncio.run(story())


def test_a_document_of_yesterday_lets_nobody_in() -> None:
    async def story() -> None:
        world, old = stepped()
        await under_way(world, old)
        new = world.replica("b", monotonic=lambda: world.seconds)
        for _ in range(5):
            await new.step()
            assert new.routes == ("1", None, 0.0)
        world.tick()
        await new.step()
        assert new.routes == ("1", "2", 0.01)
        for replica in (old, new):
            await replica.follower.close()

    asyncio.run(story())


def test_wall_clocks_do_not_matter() -> None:
    async def story() -> None:
        world, replica = stepped()
        await under_way(world, replica)
        for hours in (-48, 96, -500):
            world.clock.now += timedelta(hours=hours)
            world.tick()
            world.seconds += 1
            await replica.step()
            assert replica.routes == ("1", "2", 0.01)
        await replica.follower.close()

    asyncio.run(story())


def test_a_version_is_closed_only_after_the_requests_that_may_still_hold_it() -> None:
    async def story() -> None:
        world, replica = stepped(linger=10.0)
        await under_way(world, replica)
        harm(world)
        await replica.step()
        assert (replica.routes, replica.loader.open) == (("1", None, 0.0), ["1", "2"])
        world.seconds += 9
        await replica.step()
        assert replica.loader.open == ["1", "2"]
        world.seconds += 2
        await replica.step()
        assert replica.loader.open == ["1"]
        await replica.follower.close()

    asyncio.run(story())


def test_a_failed_load_is_tried_again_ever_more_seldom() -> None:
    async def story() -> None:
        world, replica = stepped()
        world.release("one")
        replica.loader.outcome["1"] = MemoryError("no room")
        for _ in range(600):
            await replica.step()
            world.seconds += 1
        assert len(replica.loader.tries) == 15  # after 1, 2, 4, … 60 seconds
        replica.loader.outcome["1"] = away()
        world.seconds += 60
        await replica.step()
        assert replica.follower.status()["versions"] == {"1": "failed"}
        replica.loader.outcome.clear()
        world.seconds += 5
        await replica.step()
        assert replica.follower.is_ready
        await replica.follower.close()

    asyncio.run(story())
