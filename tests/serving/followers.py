"""Replicas without a gateway: real followers over a real store that can be away, with versions that load when the test says."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.errors import OutsideError
from holdfast.release.canaries import start
from holdfast.release.routers.gateway import GatewayRouter
from holdfast.release.state import ReleaseVersion
from holdfast.serving.following import Follower
from holdfast.serving.payload import Payload
from holdfast.serving.served import ModelSpec, ServedModel
from holdfast.serving.table import RoutingTable
from holdfast.store import Store
from holdfast.store.backend import Backend, Folder
from tests.release.steered import SteeredWorld, plan
from tests.release.world import MODEL

__all__ = ["MODEL", "FakeModel", "GatewayWorld", "Loader", "ReplicaOf", "Unsteady", "plan", "start"]


class Unsteady:
    """A view of a place that may be away for this view alone. `gets` and `lists` count, `hangs` makes every call wait,
    `claimed` is when something was last written that was not there: an event of the ledger, say.
    """

    def __init__(self, inner: Backend) -> None:
        self.inner, self.away, self.hangs = inner, False, 0.0
        self.gets, self.lists, self.claimed = 0, 0, 0.0

    def _reach(self) -> None:
        if self.hangs:
            time.sleep(self.hangs)
        if self.away:
            raise OSError("the place is away")

    def get(self, key: str) -> bytes | None:
        self._reach()
        self.gets += 1
        return self.inner.get(key)

    def put(self, key: str, data: bytes) -> None:
        self._reach()
        self.inner.put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        self._reach()
        done = self.inner.put_if_absent(key, data)
        self.claimed = time.monotonic()
        return done

    def list(self, prefix: str) -> list[str]:
        self._reach()
        self.lists += 1
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        self._reach()
        self.inner.delete(key)

    def exists(self, key: str) -> bool:
        self._reach()
        return self.inner.exists(key)


class FakeModel:
    """A version that is warm from the moment it exists until it is closed."""

    def __init__(self, version: str) -> None:
        self.version, self.spec = version, ModelSpec()
        self.waiting, self.is_alive, self.is_closed = 0, True, False

    async def infer(self, inputs: Payload, timeout: float) -> Payload:
        return inputs

    async def close(self) -> None:
        self.is_closed, self.is_alive = True, False


class Loader:
    """`outcome` decides what loading a version comes to: a model, an error, or None: it waits until `finish`."""

    def __init__(self) -> None:
        self.outcome: dict[str, Any] = {}
        self.waiting: dict[str, asyncio.Future[FakeModel]] = {}
        self.models: list[FakeModel] = []
        self.tries: list[str] = []

    async def __call__(self, version: ReleaseVersion) -> ServedModel:
        name = version.version
        self.tries.append(name)
        outcome = self.outcome.get(name, FakeModel)
        if outcome is None:
            self.waiting[name] = asyncio.get_running_loop().create_future()
            try:
                return await self.waiting[name]
            finally:
                self.waiting.pop(name, None)
        if isinstance(outcome, Exception):
            raise outcome
        return self.made(name)

    def made(self, name: str) -> FakeModel:
        self.models.append(FakeModel(name))
        return self.models[-1]

    def finish(self, name: str, error: Exception | None = None) -> None:
        """End the loading of a version that waits."""
        future = self.waiting[name]
        if error is None:
            future.set_result(self.made(name))
        else:
            future.set_exception(error)

    @property
    def open(self) -> list[str]:
        """Versions that hold memory."""
        return sorted(model.version for model in self.models if not model.is_closed)


class ReplicaOf:
    """One replica: its own view of the place, its loader, its follower, and every table it ever used with its time."""

    def __init__(self, inner: Backend, name: str, **options: Any) -> None:
        self.place, self.loader, self.name = Unsteady(inner), Loader(), name
        self.tables: list[tuple[float, RoutingTable]] = []
        self.options = options
        self.follower = self.follower_at(None)

    def follower_at(self, url: str | None) -> Follower:
        """A follower that says that its admin port is at `url`."""
        store = Store(self.place, f"memory://{self.name}")
        return Follower(store, MODEL, load=self.loader, use=self._use, replica=self.name, url=url, **self.options)

    def _use(self, table: RoutingTable) -> None:
        for model in (table.champion, table.canary, table.previous):
            assert model is None or (model in self.loader.models and not model.is_closed)
        self.tables.append((time.monotonic(), table))

    async def step(self) -> None:
        """What the running follower does in a moment: look, twice where a document is to be read now, load, and tell."""
        for _ in range(2):
            await self.follower.look()
            for _ in range(3):
                await asyncio.sleep(0)
            self.follower.settle()
        with contextlib.suppress(OutsideError):
            await self.follower.report()
            await self.follower.say()

    @property
    def table(self) -> RoutingTable:
        return self.tables[-1][1]

    @property
    def routes(self) -> tuple[str, str | None, float]:
        """Champion, the canary that anybody may be sent to, share."""
        table = self.table
        canary = None if table.canary is None else table.canary.version
        return table.champion.version, canary, table.routing.share


class GatewayWorld(SteeredWorld):
    """A steered world whose router is the gateway; controllers and replicas each have their own view of one folder."""

    def __init__(self, folder: Path | Backend, **options: Any) -> None:
        self.backend = Folder(folder) if isinstance(folder, Path) else folder
        self.place = Unsteady(self.backend)
        super().__init__(Store(self.place, "memory://controller"))
        self.router = GatewayRouter(self.ledger.store, MODEL, **options)

    def replica(self, name: str = "a", **options: Any) -> ReplicaOf:
        return ReplicaOf(self.backend, name, **options)

    def begin(self, **declared: Any) -> None:
        """A staged candidate, a drill, a started release."""
        self.stage("two")
        assert self.drill().ok
        self.start(plan(**declared))


async def until(what: Callable[[], Any], seconds: float = 5.0, every: float = 0.005) -> float:
    """How long it took until `what` came true; AssertionError when it does not within `seconds`."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds, "it did not come true"
        await asyncio.sleep(every)
    return time.monotonic() - begun


def away() -> OutsideError:
    return OutsideError("the registry is away.")
