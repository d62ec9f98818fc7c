"""Calls of a model that have no answer yet, each with a deadline; one timer for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from holdfast.serving.payload import Payload
from holdfast.serving.served import ModelFault


class Call:
    """One call: `deadline` is on the monotonic clock; `is_over` once nobody waits for its answer any more."""

    __slots__ = ("deadline", "future", "is_over", "number", "payload", "timeout")

    def __init__(self, number: int, future: asyncio.Future[Payload], payload: Payload, timeout: float) -> None:
        self.number, self.future, self.payload, self.timeout = number, future, payload, timeout
        self.deadline = time.monotonic() + timeout
        self.is_over = False


class Waiting:
    """The calls under way, in their order. At its deadline a call fails with `timed_out`, and `on_timeout` is told."""

    def __init__(self, name: str, on_timeout: Callable[[Call], None]) -> None:
        self._name, self._on_timeout = name, on_timeout
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, Call] = {}
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, payload: Payload, timeout: float) -> Call:
        """A new call; whoever adds it must `drop` it when it is over, however it ended."""
        self._number += 1
        call = Call(self._number, self._loop.create_future(), payload, timeout)
        self._calls[call.number] = call
        self._idle.clear()
        if self._timer is None or call.deadline < self._timer_at:
            self._arm(call.deadline)
        return call

    def drop(self, call: Call) -> None:
        """Forget a call."""
        call.is_over = True
        self._calls.pop(call.number, None)
        if not self._calls:
            self._idle.set()

    def answer(self, number: int, outcome: Payload | Exception) -> None:
        """Give the call its answer, if somebody still waits for it."""
        call = self._calls.pop(number, None)
        if call is None or call.future.done():
            return
        if isinstance(outcome, Exception):
            call.future.set_exception(outcome)
        else:
            call.future.set_result(outcome)

    def fail(self, reason: Callable[[], Exception]) -> None:
        """Fail every call at once."""
        for number in list(self._calls):
            self.answer(number, reason())

    async def end(self) -> None:
        """Wait until nothing waits any more; every call ends at its deadline at the latest."""
        await self._idle.wait()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(0.0, deadline - time.monotonic()), self._expire)

    def _expire(self) -> None:
        """A finished call leaves the timer as it is, so it may find nothing to do; it goes on to the next deadline."""
        self._timer = None
        now = time.monotonic()
        for call in [call for call in self._calls.values() if call.deadline <= now]:
            self.answer(call.number, ModelFault("timed_out", f"{self._name} did not answer within {call.timeout:g} s"))
            call.is_over = True
            self._on_timeout(call)
        if self._calls:
            self._arm(min(call.deadline for call in self._calls.values()))
