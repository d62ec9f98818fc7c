"""A whole release through a real HAProxy: drill, steps, harm and promotion, with users asking all the while."""

from __future__ import annotations

import time

import pytest

from holdfast.release.attempt import Status
from holdfast.release.canary.judgement import Decision
from tests.release.routers.load import Load
from tests.release.routers.proxies import HAProxy
from tests.release.steered import SteeredWorld, plan


@pytest.fixture
def world(haproxy: HAProxy) -> SteeredWorld:
    """A champion at version 1, a staged version 2, and the way back tried on the living proxy."""
    world = SteeredWorld()
    world.router = haproxy.router()
    world.release("one")
    world.stage("two")
    assert world.drill().ok
    return world


def ticked(world: SteeredWorld, decision: Decision, until: Status) -> None:
    world.words(decision)
    for _ in range(50):
        world.tick()
        if world.state.attempt.status is until:
            return
        time.sleep(0.1)
    raise AssertionError(f"{world.state.attempt.status} and not {until}")


def test_harm_takes_everybody_back_and_nobody_notices(world: SteeredWorld, haproxy: HAProxy) -> None:
    world.start(plan(steps=[{"share": 0.5}]))
    with Load(haproxy.port) as load:
        ticked(world, Decision.CONTINUE, Status.RUNNING)
        time.sleep(0.5)
        ticked(world, Decision.ROLL_BACK, Status.ROLLED_BACK)
        over = time.monotonic()
        time.sleep(0.5)
    assert load.failed == {}
    assert {answer.version for answer in load.answers} == {"1", "2"}
    assert {answer.version for answer in load.answers if answer.began > over} == {"1"}


def test_a_promotion_and_the_way_back_after_it(world: SteeredWorld, haproxy: HAProxy) -> None:
    world.start(plan(steps=[{"share": 0.1}]))
    with Load(haproxy.port) as load:
        ticked(world, Decision.CONTINUE, Status.RUNNING)
        ticked(world, Decision.PROMOTE, Status.PROMOTED)
        promoted = time.monotonic()
        time.sleep(0.4)
        world.rollback(reason="shoppers complained")
        world.tick()
        back = time.monotonic()
        time.sleep(0.4)
    assert load.failed == {}
    assert {answer.version for answer in load.answers if promoted < answer.began < back - 0.3} == {"2"}
    assert {answer.version for answer in load.answers if answer.began > back} == {"1"}


def test_a_canary_that_dies_is_rolled_back_by_its_health(world: SteeredWorld, haproxy: HAProxy) -> None:
    world.start(plan(steps=[{"share": 0.1}]))
    ticked(world, Decision.CONTINUE, Status.RUNNING)
    haproxy.servers.stop("2")
    try:
        ticked(world, Decision.CONTINUE, Status.ROLLED_BACK)
    finally:
        haproxy.servers.start("2")
