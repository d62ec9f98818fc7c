"""The gateway as a router: one document, and what its replicas tell of themselves."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from holdfast.errors import Damaged, OutsideError, Refused
from holdfast.release.replicas import Replica, Replicas, announce, replica_key, withdraw
from holdfast.release.routers.gateway import GatewayRouter, health_of, why_of
from holdfast.release.routers.told import Told, latest_told, tell, told_key
from holdfast.release.routing import Routing
from holdfast.store import Store, open_store

FIRST = Routing(model="m", epoch=3, champion="1")
CANARY = Routing(model="m", epoch=4, champion="1", canary="2", share=0.25, release="r1")


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Store:
    return open_store("memory://")


def replica(name: str, serving: bool = True, url: str | None = None, beat: int = 0, **versions: str) -> Replica:
    named = {version.removeprefix("v"): condition for version, condition in versions.items()}
    return Replica(id=name, url=url, serving=serving, versions=named, beat=beat)  # type: ignore[arg-type]


def test_every_telling_moves_the_beat(store: Store) -> None:
    router = GatewayRouter(store, "m")
    beats = []
    for wanted in (FIRST, FIRST, CANARY, CANARY):
        router.apply(wanted)
        told = latest_told(store, "m")
        assert told is not None
        assert told.routing == wanted
        beats.append(told.beat)
    GatewayRouter(store, "m").apply(CANARY)  # another controller goes on where the last one stood
    assert [*beats, latest_told(store, "m").beat] == [0, 1, 0, 1, 2]
    with pytest.raises(Refused):
        router.apply(FIRST)


@pytest.mark.parametrize("damaged", [b"", b"[]", b"{}", b'{"routing": {}, "beat": 1}', b"\xff"])
def test_a_document_that_cannot_be_read_is_said(store: Store, damaged: bytes) -> None:
    router = GatewayRouter(store, "m")
    store.put(told_key("m", 3), damaged)
    for use in (router.read, lambda: router.apply(FIRST)):
        with pytest.raises(Damaged, match=r"routing/m/00000003\.json in the store does not say who answers"):
            use()
    store.delete(told_key("m", 3))
    router.apply(FIRST)
    assert router.read() == FIRST


def test_a_controller_that_fell_asleep_while_writing_does_no_harm(store: Store) -> None:
    router = GatewayRouter(store, "m")
    router.apply(FIRST)
    router.apply(CANARY)
    back = replace(FIRST, epoch=5)
    router.apply(back)
    tell(store, "m", Told(CANARY, 7))  # it had looked before
    assert router.read() == back
    router.apply(replace(FIRST, epoch=6))
    assert store.list("routing/") == [told_key("m", 5), told_key("m", 6)]


def test_a_replica_that_stands_still_is_forgotten_and_later_removed(store: Store) -> None:
    clock = Time()
    reader = Replicas(store, "m", patience=12.0, monotonic=clock)
    announce(store, "m", replica("a"))
    announce(store, "m", replica("b"))
    store.put(replica_key("m", "broken"), b"{]")
    for beat in range(1, 4):
        assert [found.id for found in reader.living()] == ["a", "b"]
        clock.now += 5.0
        announce(store, "m", replica("a", beat=beat))
    assert [found.id for found in reader.living()] == ["a"]
    announce(store, "m", replica("b", beat=1))  # it was only cut off
    assert [found.id for found in reader.living()] == ["a", "b"]
    withdraw(store, "m", "a")
    assert [found.id for found in reader.living()] == ["b"]
    clock.now += 1000.0
    assert reader.living() == []
    assert store.list("replicas/") == []


@pytest.mark.parametrize(
    ("share", "replicas", "expected"),
    [
        (0.0, [{"v1": "ready", "v2": "ready"}], {"1": True, "2": True}),
        (0.0, [{"v1": "ready", "v2": "ready"}, {"v1": "ready"}], {"1": True, "2": False}),  # it has not heard of it yet
        (0.0, [{"v1": "ready", "v2": "ready"}, {"v1": "ready", "v2": "loading"}], {"1": True, "2": False}),
        (0.0, [{"v1": "ready"}], {"1": True, "2": False}),
        (0.1, [{"v1": "ready", "v2": "ready"}, {"v1": "ready", "v2": "loading"}], {"1": True, "2": True}),
        (0.1, [{"v1": "ready", "v2": "ready"}, {"v1": "ready", "v2": "failed"}], {"1": True, "2": False}),
        (0.1, [{"v1": "ready", "v2": "ready"}, {"v1": "ready", "v2": "dead"}], {"1": True, "2": False}),
        (0.1, [{"v1": "ready", "v2": "loading"}], {"1": True}),
        (0.1, [{"v1": "dead", "v2": "ready"}, {"v1": "ready", "v2": "ready"}], {"1": True, "2": True}),
        (0.1, [{"v1": "dead", "v2": "ready"}], {"1": False, "2": True}),
        (0.1, [{"v1": "ready", "v2": "ready", "v0": "failed"}], {"0": False, "1": True, "2": True}),
    ],
)
def test_health(share: float, replicas: list[dict[str, str]], expected: dict[str, bool]) -> None:
    routing = Routing(model="m", epoch=4, champion="1", canary="2", share=share, release="r1")
    assert health_of(routing, [replica(str(n), **versions) for n, versions in enumerate(replicas)]) == expected


def test_why_a_version_does_not_answer() -> None:
    made = {"2": "its environment is being made, for 9 s so far"}
    serving = [replica("a"), replace(replica("b"), why=made), replace(replica("c"), why={**made, "3": "no files."})]
    assert why_of(serving) == {"2": f"{made['2']} (replica b) and 1 more", "3": "no files (replica c)"}


def test_a_drill_asks_for_the_champion_alone() -> None:
    routing = Routing(model="m", epoch=4, champion="1", canary="1", share=0.1, release="d1")
    assert health_of(routing, [replica("a", v1="ready"), replica("b", v1="dead")]) == {"1": True}


def test_where_nobody_serves_it_says_so(store: Store) -> None:
    router = GatewayRouter(store, "m")
    for _ in range(2):
        with pytest.raises(OutsideError, match="no replica of the gateway serves m") as caught:
            router.health()
        assert caught.value.reason_code == "nobody_serves"
        announce(store, "m", replica("a", serving=False, v1="loading"))
    announce(store, "m", replica("a", v1="ready"))
    assert router.health() == {"1": True}


class Admin(BaseHTTPRequestHandler):
    seen: list[tuple[str, str | None]] = []  # noqa: RUF012
    status = 202

    def do_POST(self) -> None:
        self.seen.append((self.path, self.headers["authorization"]))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is said."""


def test_a_new_routing_is_nudged_and_a_renewal_is_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_ADMIN_TOKEN", "secret")
    Admin.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Admin)
    deaf = ThreadingHTTPServer(("127.0.0.1", 0), Admin)  # takes connections and never answers
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        for name, place in {
            "a": url,
            "b": f"{url}/",
            "c": None,
            "d": "http://127.0.0.1:9",
            "e": "nonsense",
            "f": f"http://127.0.0.1:{deaf.server_port}",
        }.items():
            announce(store, "m", replica(name, url=place))
        router = GatewayRouter(store, "m")
        begun = time.monotonic()
        router.apply(FIRST)
        assert time.monotonic() - begun < 4
        assert Admin.seen == [("/routing", "Bearer secret")] * 2
        router.apply(FIRST)
        assert len(Admin.seen) == 2
        monkeypatch.delenv("HOLDFAST_ADMIN_TOKEN")
        router.apply(CANARY)
        assert len(Admin.seen) == 2
    finally:
        server.shutdown()
        server.server_close()
        deaf.server_close()


def test_the_document_is_plain(store: Store) -> None:
    GatewayRouter(store, "m").apply(CANARY)
    assert json.loads(store.get("routing/m/00000004.json") or b"") == {"beat": 0, "routing": CANARY.to_json()}
