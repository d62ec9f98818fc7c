"""The router in memory: who answers, its lease, and its faults."""

from __future__ import annotations

import pytest

from holdfast.errors import OutsideError
from holdfast.release.routers import MemoryRouter
from holdfast.release.routing import Routing

WANTED = Routing(model="m", epoch=1, champion="1", canary="2", share=1.0, release="r", lease_seconds=10.0)


def test_it_answers_by_the_routing_until_the_lease_lapses() -> None:
    now = 0.0
    router = MemoryRouter(clock=lambda: now)
    with pytest.raises(OutsideError, match="never told"):
        router.answers("u")
    router.apply(WANTED)
    assert router.answers("u") == "2"
    now = 10.5
    assert (router.answers("u"), router.read()) == ("1", WANTED)
    router.apply(WANTED)
    assert router.answers("u") == "2"


def test_broken_versions_and_a_router_that_is_away() -> None:
    router = MemoryRouter()
    assert router.health() == {}
    router.apply(WANTED)
    router.broken.add("2")
    assert router.health() == {"1": True, "2": False}
    router.away = True
    for use in (router.read, router.health, lambda: router.apply(WANTED)):
        with pytest.raises(OutsideError) as caught:
            use()
        assert caught.value.reason_code == "router_unavailable"
