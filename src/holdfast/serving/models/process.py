"""A version in processes of its own, in whatever environment they are started in; they come back when they end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from typing import Any, Self

from holdfast.errors import HoldfastError
from holdfast.serving.models.running import Running, Start
from holdfast.serving.models.signature import Signature, fitted
from holdfast.serving.payload import Payload
from holdfast.serving.served import ModelFault, ModelSpec

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0  # seconds before a process is started again; doubles while it keeps ending
_log = logging.getLogger(__name__)


class ProcessModel:
    """A `ServedModel` in one process or several. Make it with `await ProcessModel.start(…)`.

    A process that ends, or that one call keeps busy for twice its time, is started again in the background, after 0.1 s
    at first and 30 s at most; calls meanwhile go to the others, or fail at once.
    """

    def __init__(self, version: str, start: Start, signature: Signature, processes: list[Running]) -> None:
        self.version = version
        self.spec: ModelSpec = signature.spec()
        self.restarts = 0
        self._start, self._signature, self._processes = start, signature, processes
        self._is_closing = False
        self._keepers = [asyncio.create_task(self._keep(place)) for place in range(len(processes))]

    @classmethod
    async def start(cls, version: str, start: Start, signature: Signature | None = None, *, processes: int = 1) -> Self:
        """`processes` processes with the model loaded. Raises as `Running.start`, and leaves none running then."""
        made = await asyncio.gather(*(Running.start(start) for _ in range(processes)), return_exceptions=True)
        running = [one for one in made if isinstance(one, Running)]
        failed = [one for one in made if isinstance(one, BaseException)]
        if failed:
            await asyncio.gather(*(one.stop() for one in running))
            raise failed[0]
        return cls(version, start, signature or Signature(), running)

    @property
    def classes(self) -> Any:
        """What the columns of the model's probabilities stand for, if it tells."""
        return self._processes[0].classes

    @property
    def waiting(self) -> int:
        return sum(process.waiting for process in self._processes)

    @property
    def is_alive(self) -> bool:
        return not self._is_closing and any(process.is_alive for process in self._processes)

    async def rehearse(self, payload: Payload, timeout: float) -> None:
        """Ask this of every process, and of each that is started from now on before anything else. No answer is told."""
        rehearsal = fitted(payload, self._signature)
        self._start = dataclasses.replace(self._start, rehearsal=rehearsal)
        await asyncio.gather(*(one.infer(rehearsal, timeout) for one in self._processes), return_exceptions=True)

    async def infer(self, payload: Payload, timeout: float) -> Payload:
        if self._is_closing:
            raise ModelFault("died", f"{self._start.name} is being let go")
        alive = [process for process in self._processes if process.is_alive] or self._processes
        chosen = min(alive, key=lambda process: process.waiting) if len(alive) > 1 else alive[0]
        return await chosen.infer(fitted(payload, self._signature), timeout)

    async def close(self) -> None:
        self._is_closing = True
        for keeper in self._keepers:
            keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(process.finish() for process in self._processes))

    async def _keep(self, place: int) -> None:
        """Start the process at this place again whenever it ends; sooner where it has lived long."""
        pause = FIRST_PAUSE
        while True:
            born = time.monotonic()
            await self._processes[place].ended.wait()
            await self._processes[place].stop()
            _log.warning("%s: %s", self._start.name, self._processes[place].death())
            if time.monotonic() - born > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            pause = await self._start_again(place, pause)

    async def _start_again(self, place: int, pause: float) -> float:
        """The pause before the next time."""
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                self._processes[place] = await Running.start(self._start)
            except (
                HoldfastError,
                OSError,
            ) as error:  # OSError: this process has no files or no memory left to start it
                _log.warning("%s: %s It is tried again in %g s.", self._start.name, error, pause)
            else:
                self.restarts += 1
                return pause
