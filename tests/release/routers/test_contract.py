"""What every router must do, over all of them: real HAProxy (unix socket and TCP), real nginx, files, documents, memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.errors import OutsideError, Refused, UserError
from holdfast.release.replicas import Replica, announce
from holdfast.release.routers import open_router
from holdfast.release.routing import Routing, TrafficRouter
from holdfast.store import open_store

URLS = {
    "memory": "memory:",
    "file": "file:routing.json",
    "kserve": "kserve:isvc.yaml?name=search&storage=s3://m/{version}",
    "holdfast": "gateway:",
    "gateway": "gateway:route.yaml?name=search&gateway=web",
    "argo": "argo:rollout.yaml?name=search&image=search:{version}&traffic=traffic.json",
}
FIRST = Routing(model="search", epoch=3, champion="1")
CANARY = Routing(model="search", epoch=4, champion="1", canary="2", share=0.25, release="r1")


def opened(kind: str, request: pytest.FixtureRequest, folder: Path) -> TrafficRouter:
    (folder / "traffic.json").write_text('{"nginx": {"stableIngress": "search"}}')
    if kind in URLS:
        store = open_store(folder / "store")
        announce(store, "search", Replica(id="a", serving=True, versions={"1": "ready", "2": "ready"}))
        return open_router(URLS[kind], folder, store=store, model="search")
    proxy = request.getfixturevalue(kind.removesuffix("-tcp"))
    return proxy.router(tcp=True) if kind == "haproxy-tcp" else proxy.router()  # type: ignore[no-any-return]


@pytest.fixture(params=[*URLS, "haproxy", "haproxy-tcp", "nginx"])
def router(request: pytest.FixtureRequest, tmp_path: Path) -> TrafficRouter:
    return opened(request.param, request, tmp_path)


def test_what_was_applied_is_read(router: TrafficRouter) -> None:
    for wanted in (FIRST, CANARY, dataclasses.replace(CANARY, epoch=5, share=0.5, lease_seconds=12.5)):
        router.apply(wanted)
        assert router.read() == wanted
        router.apply(wanted)
        assert router.read() == wanted


def test_going_back_and_promoting_round_trip(router: TrafficRouter) -> None:
    router.apply(FIRST)
    router.apply(CANARY)
    rolled_back = dataclasses.replace(CANARY, epoch=5, canary=None, share=0.0)
    router.apply(rolled_back)
    assert router.read() == rolled_back
    router.apply(dataclasses.replace(CANARY, epoch=6))
    promoted = Routing(model="search", epoch=7, champion="2", release="r1")
    router.apply(promoted)
    assert router.read() == promoted


def test_a_drill_makes_the_champion_its_own_canary(router: TrafficRouter) -> None:
    router.apply(FIRST)
    drill = dataclasses.replace(CANARY, canary="1", share=0.1)
    router.apply(drill)
    assert router.read() == drill
    router.apply(dataclasses.replace(FIRST, epoch=5))
    with pytest.raises(Refused):
        router.apply(drill)


@pytest.mark.parametrize(
    "stale",
    [
        dataclasses.replace(CANARY, epoch=3),
        dataclasses.replace(CANARY, epoch=3, canary=None, share=0.0),
        dataclasses.replace(CANARY, share=0.5),
        dataclasses.replace(CANARY, release="other"),
    ],
)
def test_stale_epochs_change_nothing(router: TrafficRouter, stale: Routing) -> None:
    router.apply(FIRST)
    router.apply(CANARY)
    with pytest.raises(Refused) as caught:
        router.apply(stale)
    assert caught.value.reason_code == "stale_epoch"
    assert router.read() == CANARY


def test_a_longer_lease_is_no_other_decision(router: TrafficRouter) -> None:
    router.apply(FIRST)
    router.apply(CANARY)
    router.apply(dataclasses.replace(CANARY, lease_seconds=5.0))
    assert router.read() == dataclasses.replace(CANARY, lease_seconds=5.0)


def test_names_of_any_letters_round_trip(router: TrafficRouter) -> None:
    router.apply(FIRST)
    odd = dataclasses.replace(CANARY, model="a/b; é\n---\nx: {1}|\"'", release="—\x00 $x %0a\\", epoch=9)
    router.apply(odd)
    assert router.read() == odd


def test_health_names_only_versions_that_it_knows(router: TrafficRouter) -> None:
    router.apply(FIRST)
    router.apply(CANARY)
    assert set(router.health()) in (set(), {"1", "2"})


def test_it_says_what_it_is(router: TrafficRouter) -> None:
    request_only = {"kserve", "gateway", "argo"}
    assert router.sticky == ("request" if router.name in request_only else "unit")
    assert router.keeps_lease == (router.name in {"memory", "file", "haproxy", "holdfast"})


STRICT = [kind for kind in URLS if kind not in {"memory", "file"}]


@pytest.mark.parametrize("kind", [*STRICT, "haproxy", "nginx"])
@pytest.mark.parametrize(
    "change",
    [
        {"champion": "a b"},
        {"canary": "1\n"},
        {"share": 1.5},
        {"share": float("nan")},
        {"lease_seconds": 0.0},
        {"lease_seconds": float("inf")},
        {"release": ""},
    ],
)
def test_what_cannot_be_routed_is_the_users_mistake(kind: str, change: dict[str, object], tmp_path: Path) -> None:
    urls = {**URLS, "haproxy": "haproxy:no.sock?address=v{version}:1", "nginx": "nginx:n?address=v{version}:1"}
    (tmp_path / "traffic.json").write_text("{}")
    router = open_router(urls[kind], tmp_path, store=open_store(tmp_path), model="search")
    with pytest.raises(UserError):
        router.apply(dataclasses.replace(CANARY, **change))  # type: ignore[arg-type]


def test_a_router_that_cannot_be_reached_says_so(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("a file")
    for url in (
        "file:here/x.json",
        "haproxy:here/x.sock?address=127.0.0.1:80{version}",
        "nginx:here/x.conf?address=127.0.0.1:80{version}",
        "gateway:here/x.yaml?name=a&gateway=b",
    ):
        router = open_router(url, tmp_path)
        uses: list[Callable[[], object]] = [lambda router=router: router.apply(CANARY)]
        for use in uses:
            with pytest.raises(OutsideError) as caught:
                use()
            assert caught.value.reason_code == "router_unavailable"
            assert "\n" not in str(caught.value)
