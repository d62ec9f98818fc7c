"""A version inside this process, in a thread of its own: the shortest way to a model, without isolation.

The thread takes everything that has queued since it looked, and the event loop is woken once for all answers that came
until it got round to them. A call that hangs cannot be ended: its caller is answered at its deadline, and the version is
not alive until the call comes back.
"""

from __future__ import annotations

import asyncio
import copy
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from holdfast.errors import OutsideError
from holdfast.models import worker
from holdfast.serving.models import child
from holdfast.serving.models.running import LoadRequest, fault_of
from holdfast.serving.models.signature import Signature, fitted
from holdfast.serving.models.waiting import Call, Waiting
from holdfast.serving.payload import Payload
from holdfast.serving.served import ModelFault, ModelSpec

_loading = threading.Lock()  # the switch for unpickling and the import path belong to the whole process


class InProcessModel:
    """A `ServedModel` in this process. Make it with `await InProcessModel.start(…)`."""

    def __init__(self, version: str, name: str, signature: Signature) -> None:
        self.version = version
        self.spec: ModelSpec = signature.spec()
        self.classes: Any = None
        self._name, self._signature = name, signature
        self._loop = asyncio.get_running_loop()
        self._waiting = Waiting(name, lambda _: None)
        self._session = worker.Session()
        self._queue: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._done: deque[tuple[int, Payload | Exception]] = deque()
        self._is_woken = False
        self._working_on: tuple[Call, float] | None = None  # and since when
        self._is_closing = False

    @classmethod
    async def start(
        cls, version: str, request: LoadRequest, signature: Signature | None = None, *, load_timeout: float = 300.0
    ) -> Self:
        """The model loaded. Errors as `LoadedModel.load`; `model_timed_out` after `load_timeout` seconds."""
        model = cls(version, request.name, signature or Signature())
        loaded: asyncio.Future[dict[str, Any]] = model._loop.create_future()
        threading.Thread(target=model._run, args=(request, loaded), daemon=True, name=f"version-{version}").start()
        try:
            async with asyncio.timeout(load_timeout):
                model.classes = request.check(await loaded)
        except TimeoutError:
            raise OutsideError(
                f"{request.name} did not finish loading within {load_timeout:g} s.",
                hint="Raise `serving: {load_timeout: …}` if it needs longer.",
                reason_code="model_timed_out",
            ) from None
        finally:
            if not loaded.done() or "error" in loaded.result():
                model._queue.put(None)
        return model

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def is_alive(self) -> bool:
        working = self._working_on
        return not self._is_closing and (working is None or time.monotonic() - working[1] <= working[0].timeout)

    async def infer(self, payload: Payload, timeout: float) -> Payload:
        if self._is_closing:
            raise ModelFault("died", f"{self._name} is being let go")
        if not self.is_alive:
            raise ModelFault("timed_out", f"{self._name} is still busy with a call that timed out")
        call = self._waiting.add(fitted(payload, self._signature), timeout)
        self._queue.put(call)
        try:
            return await call.future
        finally:
            self._waiting.drop(call)

    async def close(self) -> None:
        self._is_closing = True
        await self._waiting.end()
        self._queue.put(None)

    # --- in the event loop ---

    def _deliver(self) -> None:
        self._is_woken = False  # before taking, so that what comes now wakes again
        while self._done:
            self._waiting.answer(*self._done.popleft())

    # --- in the thread ---

    def _run(self, request: LoadRequest, loaded: asyncio.Future[dict[str, Any]]) -> None:
        with _loading:
            reply = {**worker.answer(self._session, request.document), "classes": self._session.classes}
        self._tell(lambda: None if loaded.done() else loaded.set_result(reply))
        ask = self._session.call
        while ask is not None and (call := self._queue.get()) is not None:
            if call.is_over or call.deadline < time.monotonic():
                continue
            self._working_on = call, time.monotonic()
            answer = self._ask(ask, call.payload)
            self._working_on = None
            self._done.append((call.number, answer))
            if not self._is_woken:
                self._is_woken = True
                self._tell(self._deliver)

    def _ask(self, call: worker.Call, payload: Payload) -> Payload | Exception:
        try:
            given = child.given(payload.kind, payload.names, [own(array) for array in payload.arrays])
            kind, names, arrays = child.answered(child.called(call, given, copy.deepcopy(payload.params)), worker)
            return Payload(kind, tuple(names), tuple(np.array(array) for array in arrays))  # its buffer may be reused
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is its answer
            return fault_of(self._name, child.failure(error, worker))

    def _tell(self, callback: Callable[[], object]) -> None:
        """Call back in the event loop, unless it has ended before this thread has."""
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            self._queue.put(None)


def own(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy that a model may write to: the same input may have to be given to another version afterwards."""
    if array.dtype == object and any(isinstance(value, (list, dict)) for value in array.ravel()):
        return copy.deepcopy(array)
    return np.array(array)
