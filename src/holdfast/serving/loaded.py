"""The versions that are loaded here: loaded when wanted, tried again when that failed, closed when nobody needs them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from holdfast.errors import Damaged, OutsideError
from holdfast.release.replicas import Condition
from holdfast.release.state import ReleaseVersion
from holdfast.serving.served import ServedModel

Load = Callable[[ReleaseVersion], Awaitable[ServedModel]]

LINGER = 10.0  # seconds that a version stays after its last role: requests may still hold the table before
_LONGEST_AWAY, _LONGEST_FAILED = 5.0, 60.0  # between two tries to load
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Slot:
    """A version on its way, loaded, or waiting for the next try. `failed` holds until a try succeeds."""

    version: ReleaseVersion
    loading: asyncio.Task[ServedModel] | None = None
    model: ServedModel | None = None
    trouble: str | None = None
    failed: bool = False
    tries: int = 0
    not_before: float = 0.0
    unwanted: float | None = None


class LoadedModels:
    """Loads by `load`, which warms up too. `changed` is called in the event loop when a try to load has ended.

    All times are seconds of `monotonic`. An OutsideError means that registry or store are away and says nothing of the version,
    which is still `loading`; anything else that `load` raises means that the version `failed` here. Both are tried again.
    """

    def __init__(
        self, load: Load, changed: Callable[[], None], *, monotonic: Callable[[], float], linger: float = LINGER
    ) -> None:
        self._load, self._changed, self._monotonic, self._linger = load, changed, monotonic, linger
        self._slots: dict[str, _Slot] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def ready(self, version: str) -> ServedModel | None:
        """The version, where it is loaded, warm and alive."""
        slot = self._slots.get(version)
        return slot.model if slot is not None and slot.model is not None and slot.model.is_alive else None

    def want(self, versions: Iterable[ReleaseVersion], in_use: Iterable[ServedModel]) -> None:
        """Load these versions, the first one first; let go of others, but not of models in use."""
        now, wanted = self._monotonic(), {version.version: version for version in versions}
        for version in wanted.values():
            self._wanted(self._slots.setdefault(version.version, _Slot(version)), now)
        kept = {id(model) for model in in_use}
        for name, slot in list(self._slots.items()):
            if name not in wanted and id(slot.model) not in kept:
                self._unwanted(name, slot, now)

    def conditions(self) -> Mapping[str, Condition]:
        """How each version is that has not been let go of."""
        return {name: _condition(slot) for name, slot in self._slots.items() if slot.unwanted is None}

    def troubles(self) -> Mapping[str, str]:
        """Why a version is not ready, by version: one sentence each."""
        return {name: slot.trouble for name, slot in self._slots.items() if slot.trouble is not None}

    async def close(self) -> None:
        """Let go of everything, after the calls that were accepted."""
        under_way = [slot.loading for slot in self._slots.values() if slot.loading is not None]
        for name, slot in list(self._slots.items()):
            self._drop(name, slot)
        await asyncio.gather(*under_way, return_exceptions=True)
        while self._closing:
            await asyncio.gather(*self._closing)

    def _wanted(self, slot: _Slot, now: float) -> None:
        slot.unwanted = None
        if slot.model is None and slot.loading is None and now >= slot.not_before:
            slot.loading = asyncio.ensure_future(self._load(slot.version))
            slot.loading.add_done_callback(lambda task: self._loaded(slot, task))

    def _loaded(self, slot: _Slot, task: asyncio.Task[ServedModel]) -> None:
        slot.loading = None
        if self._slots.get(slot.version.version) is not slot:  # let go of meanwhile
            if not task.cancelled() and task.exception() is None:
                self._close(task.result())
            return
        error = asyncio.CancelledError("loading was cancelled") if task.cancelled() else task.exception()
        if error is None:
            slot.model, slot.trouble, slot.failed, slot.tries = task.result(), None, False, 0
        else:
            self._failed(slot, error)
        self._changed()

    def _failed(self, slot: _Slot, error: BaseException) -> None:
        away = isinstance(error, OutsideError) and not isinstance(error, Damaged)
        slot.failed = slot.failed or not away
        slot.trouble = f"version {slot.version.version} is not loaded: {str(error) or type(error).__name__}"
        slot.not_before = self._monotonic() + min(2.0**slot.tries, _LONGEST_AWAY if away else _LONGEST_FAILED)
        slot.tries = min(slot.tries + 1, 10)
        _log.warning("%s", slot.trouble)

    def _unwanted(self, name: str, slot: _Slot, now: float) -> None:
        if slot.model is None:
            self._drop(name, slot)
        elif slot.unwanted is None:
            slot.unwanted = now
        elif now - slot.unwanted >= self._linger:
            self._drop(name, slot)

    def _drop(self, name: str, slot: _Slot) -> None:
        del self._slots[name]
        if slot.loading is not None:
            slot.loading.cancel()
        if slot.model is not None:
            self._close(slot.model)

    def _close(self, model: ServedModel) -> None:
        task = asyncio.ensure_future(_closed(model))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _condition(slot: _Slot) -> Condition:
    if slot.model is not None:
        return "ready" if slot.model.is_alive else "dead"
    return "failed" if slot.failed else "loading"


async def _closed(model: ServedModel) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await model.close()
        except Exception:  # noqa: BLE001 - a model is anybody's code, and this one has no role any more
            _log.exception("version %s did not close cleanly", model.version)
