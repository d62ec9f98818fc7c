"""Versions that take long to load and stores that are away, as clients see them: a real follower, real processes, real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.release.state import ReleaseVersion
from holdfast.serving.following import Follower
from holdfast.serving.models.process import ProcessModel
from holdfast.serving.models.running import Start
from holdfast.store import Store
from tests.serving.followers import MODEL, GatewayWorld, Unsteady
from tests.serving.gateways import Running, running
from tests.serving.models.conftest import request

LATE = """
import pathlib, time
while not pathlib.Path({go!r}).exists():
    time.sleep(0.02)
def predict(x):
    return x.sum(axis=1) * {factor}
"""


class Replica:
    """A follower and what it loads, in the server's loop. Version N is `late_N.py`, which loads once `go(N)` was called."""

    def __init__(self, server: Running, place: Unsteady, project: Path) -> None:
        self.server, self.project, self.place = server, project, place
        self.follower: Follower | None = None
        self.task: asyncio.Task[None] | None = None
        for number in ("1", "2"):
            (project / f"late_{number}.py").write_text(LATE.format(go=str(project / f"go-{number}"), factor=number))

    def go(self, number: str) -> None:
        (self.project / f"go-{number}").touch()

    async def _load(self, version: ReleaseVersion) -> ProcessModel:
        number = version.version
        start = Start(
            request=request(self.project, "predict", f"late_{number}"), python=Path(sys.executable), load_timeout=60.0
        )
        return await ProcessModel.start(number, start)

    def start(self) -> None:
        def begin() -> None:
            self.follower = Follower(
                Store(self.place, "memory://replica"),
                MODEL,
                load=self._load,
                use=self.server.gateway.route,
                replica="a",
                poll=0.05,
            )
            self.task = asyncio.get_running_loop().create_task(self.follower.run())

        self.server.do(begin)

    def end(self) -> None:
        async def close() -> None:
            assert self.task is not None and self.follower is not None
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
            await self.follower.close()

        asyncio.run_coroutine_threadsafe(close(), self.server.loop).result(30)

    @property
    def said(self) -> tuple[int, int, int, str | None]:
        """Liveness, readiness, the status of a prediction, and who answered it."""
        answer = self.server.infer([[1.0, 2.0]])
        assert (answer.status == 503) is ("retry-after" in answer.headers)
        health = (self.server.request("GET", f"/v2/health/{kind}").status for kind in ("live", "ready"))
        return (*health, answer.status, answer.headers.get("x-holdfast-version"))  # type: ignore[return-value]


@pytest.fixture
def world(tmp_path: Path) -> GatewayWorld:
    return GatewayWorld(tmp_path / "store")


@pytest.fixture
def replica(world: GatewayWorld, project: Path) -> Iterator[Replica]:
    with running(None, timeout="10s") as server:
        found = Replica(server, Unsteady(world.backend), project)
        yield found
        if found.follower is not None:
            found.end()


def until(what: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


NOT_READY, FIRST, SECOND = (200, 503, 503, None), (200, 200, 200, "1"), (200, 200, 200, "2")


def test_a_model_that_takes_long_to_load_is_waited_for_and_the_old_champion_goes_on(
    world: GatewayWorld, replica: Replica
) -> None:
    world.release("one")
    replica.start()
    until(lambda: replica.follower is not None and replica.follower.status()["versions"] == {"1": "loading"})
    time.sleep(0.5)
    assert replica.said == NOT_READY
    replica.go("1")
    until(lambda: replica.said == FIRST)

    asked = Asking(replica)
    asked.start()
    world.release("two")
    until(lambda: replica.follower is not None and replica.follower.status()["versions"].get("2") == "loading")
    time.sleep(0.5)
    assert replica.said == FIRST
    replica.go("2")
    until(lambda: replica.said == SECOND)
    asked.stop.set()
    asked.join(20)
    assert set(asked.answers) == {(200, "1"), (200, "2")}
    assert asked.answers == sorted(asked.answers), "once the new one answers, only it does"


class Asking(threading.Thread):
    """Asks without a pause; keeps status and version of every answer."""

    def __init__(self, replica: Replica) -> None:
        super().__init__()
        self.replica, self.stop, self.answers = replica, threading.Event(), list[tuple[int, str]]()

    def run(self) -> None:
        while not self.stop.is_set():
            found = self.replica.server.infer()
            self.answers.append((found.status, found.headers.get("x-holdfast-version", "")))


def away(place: Unsteady, now: bool) -> None:
    place.away = now


def hanging(place: Unsteady, now: bool) -> None:
    place.hangs = 1.0 if now else 0.0


@pytest.mark.parametrize("trouble", [away, hanging])
def test_a_replica_that_starts_while_the_store_is_away_is_ready_when_it_is_back(
    world: GatewayWorld, replica: Replica, trouble: Callable[[Unsteady, bool], None]
) -> None:
    world.release("one")
    replica.go("1")
    trouble(replica.place, True)
    replica.start()
    time.sleep(0.5)
    assert replica.said == NOT_READY
    trouble(replica.place, False)
    until(lambda: replica.said == FIRST)
    trouble(replica.place, True)
    time.sleep(0.5)
    assert replica.said == FIRST, "what is loaded goes on"
