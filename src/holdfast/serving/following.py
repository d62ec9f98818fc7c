"""A replica follows the ledger: it sees a decision, makes the world so, and tells how it stands.

    watch     ledger and document, a few times a second and when nudged        in threads; each may hang without
    announce  replicas/MODEL/ID.json, every few seconds and at every change    stopping anything else
    report    what its breaker has to say, until it is written
    settle    what is known, loaded and due by the clock ─► one new table      in the event loop, never waits

Store or registry away: serving goes on with what is loaded. Only a canary needs the controller's word again and again; after
`lease_seconds` of this replica's own clock without it, the champion answers everybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.errors import HoldfastError, OutsideError
from holdfast.ledger import Ledger
from holdfast.release.reconcile import stream_of
from holdfast.release.replicas import EVERY, NameTaken, Presence, Replica
from holdfast.release.routers.told import Told, read_told, told_key
from holdfast.release.routing import Routing
from holdfast.release.state import ReleaseState, ReleaseVersion, fold
from holdfast.release.trips import Trip, append_trip
from holdfast.serving.loaded import LINGER, Load, LoadedModels
from holdfast.serving.switching import agreed, switched
from holdfast.serving.table import RoutingTable
from holdfast.store import Store

if TYPE_CHECKING:
    from holdfast.serving.gateway import Trip as Opened

T = TypeVar("T")

_RETRY = 1.0
_LEAVING = 2.0  # seconds for the last word at the end
_LONGEST = 500  # characters that a document has about one version
_STILL = 1.5  # beats without which another process of this replica's name is dead
_log = logging.getLogger(__name__)


class Follower:
    """Keeps one gateway's routing table as the ledger of `model` in `store` says.

    `load` gives a version loaded and warm, `use` takes each new table, `hear` each new state before that, and `named` is called
    once the name `replica` is this process's: before that nobody is served. `progress` says what is done for versions that are
    being loaded, `able` whether this replica can answer at all. `url` is where the admin port answers a nudge (None: nowhere).
    `poll`, `linger` (longer than any request may take) and `every` are seconds.
    All methods belong to the event loop's thread.
    """

    def __init__(
        self,
        store: Store,
        model: str,
        *,
        load: Load,
        use: Callable[[RoutingTable], None],
        hear: Callable[[ReleaseState], None] = lambda _: None,
        named: Callable[[], None] = lambda: None,
        progress: Callable[[], Mapping[str, str]] = dict,
        able: Callable[[], bool] = lambda: True,
        replica: str,
        url: str | None = None,
        poll: float = 0.25,
        linger: float = LINGER,
        every: float = EVERY,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.model, self.replica = store, model, replica
        self.table: RoutingTable | None = None
        self.trouble: str | None = None
        self._hear_state, self._named, self._progress, self._able = hear, named, progress, able
        self._presence, self._is_nameless = Presence(store, model, replica), False
        self._use, self._poll, self._every, self._monotonic = use, poll, every, monotonic
        self._ledger, self._commands = (Ledger(store, who=f"replica {replica}") for _ in range(2))
        self._models = LoadedModels(load, self.settle, monotonic=monotonic, linger=linger)
        self._state = ReleaseState()
        self._told: Told | None = None
        self._renewed: float | None = None  # at the earliest
        self._document: bytes | None = None  # of the ledger's epoch, as it stood at the last look
        self._unchanged: float | None = None  # when it certainly was not yet what it may be now
        self._looked: float | None = None
        self._lost: Exception | None = None  # the name, to another process
        self._trips: deque[Trip] = deque()
        self._tripped: set[str | None] = set()
        self._said = Replica(id=replica, url=url)
        self._nudged, self._changed, self._reported = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="holdfast-store")

    @property
    def is_ready(self) -> bool:
        """Whether a champion is loaded, warm, and answers, and nothing else is in the way of answering."""
        return self.table is not None and self.table.champion.is_alive and self._able()

    async def run(self) -> None:
        """Follow until cancelled; then withdraw the announcement. What is loaded stays until `close`.

        Raises NameTaken where another process is this replica.
        """
        self._is_nameless = True
        try:
            async with asyncio.TaskGroup() as tasks:
                for loop in (self._watch, self._announce, self._report, self._keep_time):
                    tasks.create_task(loop())
        except* NameTaken as taken:
            self._lost = taken.exceptions[0]
        finally:
            with contextlib.suppress(OutsideError, TimeoutError):
                async with asyncio.timeout(_LEAVING):
                    await self._in_thread(self._presence.leave)
        if self._lost is not None:
            raise self._lost

    async def close(self) -> None:
        """Let go of every version, after the calls that they have accepted."""
        await self._models.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def announce_at(self, url: str) -> None:
        """From now on a nudge is answered at `url`, the admin port's."""
        self._said = replace(self._said, url=url)
        self._changed.set()

    def nudge(self) -> None:
        """Look at the ledger now."""
        self._nudged.set()

    def trip(self, opened: Opened) -> None:
        """The breaker has opened: nobody here is sent to the canary of this release any more, and the controller is told."""
        release = opened.release
        if release is None or release in self._tripped:
            return
        self._tripped.add(release)
        self._trips.append(
            Trip(
                release=release,
                canary=opened.version,
                epoch=opened.epoch,
                replica=self.replica,
                reason=opened.reason,
            )
        )
        self._reported.set()
        self.settle()

    def status(self) -> dict[str, Any]:
        """For people and for readiness: what is served, what the ledger asks for, and what is in the way."""
        wanted, table = self._state.routing, self.table
        return {
            "replica": self.replica,
            "ready": self.is_ready,
            "serves": None if table is None else table.routing.to_json(),
            "ledger": None if wanted is None else wanted.to_json(),
            "leased": self._permission() is not None,
            "versions": dict(self._models.conditions()),
            "tripped": sorted(str(release) for release in self._tripped),
            "troubles": [*([self.trouble] if self.trouble else []), *self._models.troubles().values()],
            "loading": dict(self._progress()),
        }

    async def look(self) -> None:
        """Read document and ledger once and settle; what is away stays as it was known."""
        self._nudged.clear()
        try:
            await self._look()
        except Exception as error:  # noqa: BLE001 - whatever it is, requests are answered as before
            self._note(error)

    async def say(self) -> None:
        """Write this replica's document once, with the next beat. Raises OutsideError where the store is away, NameTaken."""
        self._changed.clear()
        self._said = replace(self._said, beat=self._said.beat + 1)
        why = {name: text[:_LONGEST] for name, text in self._in_the_way().items()}
        await self._in_thread(self._presence.say, replace(self._said, why=why))

    async def report(self) -> None:
        """Write what the breaker has to say. Raises OutsideError where the store is away; what is unwritten stays."""
        while self._trips:
            await self._in_thread(append_trip, self._commands, self.model, self._trips[0])
            self._trips.popleft()

    async def _look(self) -> None:
        begun, key = self._monotonic(), self._key()
        data, state = await self._in_thread(self._read, key)
        self.trouble = None
        if key is not None:
            self._hear(data, key, begun)
        news, self._state = state is not self._state, state
        if self._key() != key:
            self._document, self._unchanged = None, self._looked
            self._nudged.set()  # there may be another document to be read now
        self._looked = begun
        if news:
            self._hear_state(state)
        self.settle()

    def settle(self) -> None:
        """Use the table that is right now, by what is known, loaded, and due by the clock. Waits for nothing."""
        state = self._state
        if state.routing is not None:
            wanted = agreed(state.routing, self._permission())
            previous = None if state.previous is None else state.previous.version
            table = switched(self.table, wanted, previous, self._models.ready, self._tripped)
            if table is not None and table != self.table and not self._is_nameless:
                _log.info("epoch %d: %s", table.routing.epoch, table.routing)
                self.table = table
                self._use(table)
            self._models.want(self._wanted(state), _models_of(self.table))
        self._tell()

    def _wanted(self, state: ReleaseState) -> Iterator[ReleaseVersion]:
        """What is to be loaded; nothing beside the champion before somebody can answer at all."""
        routing = state.routing
        assert routing is not None  # noqa: S101 - the caller looked
        yield state.versions[routing.champion]
        if self.table is None:
            return
        if routing.canary is not None:
            yield state.versions[routing.canary]
        if state.previous is not None:
            yield state.previous

    def _in_the_way(self) -> Mapping[str, str]:
        """Why versions are not ready: what is being done for them, or why it failed."""
        return {**self._models.troubles(), **self._progress()}

    def _tell(self) -> None:
        table = self.table
        epoch = -1 if table is None else table.routing.epoch
        said = replace(self._said, epoch=epoch, serving=self.is_ready, versions=self._models.conditions())
        if said != self._said:
            self._said = said
            self._changed.set()

    def _key(self) -> str | None:
        """Where the document is that permits the ledger's canary; None where there is no canary."""
        routing = self._state.routing
        return None if routing is None or routing.canary is None else told_key(self.model, routing.epoch)

    def _permission(self) -> Routing | None:
        """The document's routing while somebody renews it."""
        told, wanted = self._told, self._state.routing
        if told is None or wanted is None or self._renewed is None:
            return None
        lease = min(told.routing.lease_seconds, wanted.lease_seconds)
        return told.routing if self._monotonic() - self._renewed <= lease else None

    def _read(self, key: str | None) -> tuple[bytes | None, ReleaseState]:
        data = None if key is None else self.store.get(key)
        return data, fold(self._ledger.follow(stream_of(self.model)))

    def _hear(self, data: bytes | None, key: str, begun: float) -> None:
        """A document that changed was renewed after the look before, at the earliest then: from there its lease counts.

        One that is seen for the first time is younger than its event, so than the last look that did not find that event.
        Where there was no such look it may be of yesterday, and gives no lease. Until an epoch's document is there, the one
        before it holds.
        """
        since, self._unchanged = self._unchanged, begun
        if data is None or data == self._document:
            return
        self._document, self._renewed = data, since
        try:
            self._told = read_told(data, key)
        except HoldfastError as error:
            self._told = None
            self._note(error)

    def _note(self, error: Exception) -> None:
        message = error.message if isinstance(error, HoldfastError) else f"{type(error).__name__}: {error}"
        if message != self.trouble:
            _log.warning("%s Serving goes on with what is known.", message)
        self.trouble = message

    async def _watch(self) -> None:
        while True:
            await self.look()
            await _waited(self._nudged, self._poll)

    async def _keep_time(self) -> None:
        """Leases end and versions die also while the store hangs."""
        while True:
            await asyncio.sleep(self._poll)
            try:
                self.settle()
            except Exception as error:  # noqa: BLE001 - as in `look`
                self._note(error)

    async def _announce(self) -> None:
        while self._is_nameless:
            await self._tried(self._take_name, self._changed)
        while True:
            await _waited(self._changed, self._every)
            await self._tried(self.say, self._changed)

    async def _take_name(self) -> None:
        """Make sure that nobody else lives under it. The document of one that was killed is seen to stand still first."""
        seen = await self._in_thread(self._presence.others)
        if seen is not None:
            await asyncio.sleep(_STILL * self._every)
        await self._in_thread(self._presence.begin, seen)
        self._is_nameless = False
        self._named()
        self.settle()

    async def _report(self) -> None:
        while True:
            await self._reported.wait()
            self._reported.clear()
            await self._tried(self.report, self._reported)

    async def _tried(self, write: Callable[[], Awaitable[None]], again: asyncio.Event) -> None:
        try:
            await write()
        except NameTaken:
            raise
        except Exception as error:  # noqa: BLE001 - as in `look`
            self._note(error)
            await asyncio.sleep(_RETRY)
            again.set()

    def _in_thread(self, work: Callable[..., T], *given: Any) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *given)


def _models_of(table: RoutingTable | None) -> list[Any]:
    found = () if table is None else (table.champion, table.canary, table.previous)
    return [model for model in found if model is not None]


async def _waited(event: asyncio.Event, seconds: float) -> None:
    """Until the event or so many seconds. (`wait_for` of Python 3.11 loses a cancellation that meets the event.)"""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
