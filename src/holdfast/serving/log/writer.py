"""Answered means logged: records of many requests are written in groups by one thread, and each waits for its group.

There is no timer: what arrives while a group is being written is the next group, so a lone request waits for one write and a
crowd shares one. Nothing waits for ever: too much waiting, a full disk and a disk that does not answer all end in `on_failure`,
and the log comes back by itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from holdfast.errors import OutsideError
from holdfast.serving.log.frames import LONGEST
from holdfast.serving.log.segment_writer import SegmentWriter

_LOOK = 0.25  # seconds between looks at age, room and a disk that hangs

logger = logging.getLogger(__name__)


class LogUnavailable(OutsideError):
    """A record could not be written, so its answer must not leave; the message is one sentence."""

    reason_code = "log_unavailable"


class _Group:
    """Records that are written together, and who waits for them: futures by their event loop, None for threads without one."""

    __slots__ = ("begun", "futures", "payloads", "size")

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.futures: defaultdict[asyncio.AbstractEventLoop | None, list[Any]] = defaultdict(list)
        self.size = 0
        self.begun = 0.0  # when the first of them came


class LogWriter:
    """Appends to one stream of `folder`; for any number of event loops and threads.

    For metrics: records `written` and `dropped` (answered without the log), `groups`, `bytes`, `write_seconds` of the last
    group, `waiting`, `lag`.

    `on_failure` is what becomes of a record that cannot be written: `refuse` raises LogUnavailable, `answer` counts it in
    `dropped` and returns. It cannot be written where the disk says so, where `max_waiting` bytes wait already, or where
    the disk has not answered for `patience` seconds. `failing` says why for as long as that lasts. Raises OutsideError where
    the folder cannot be used and the policy is `refuse`.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        replica: str = "gateway",
        stream: str = "predictions",
        durable: bool = True,
        on_failure: Literal["refuse", "answer"] = "refuse",
        segment_bytes: int = 64 * 2**20,
        segment_seconds: float = 10.0,
        max_waiting: int = 32 * 2**20,
        patience: float = 5.0,
    ) -> None:
        self.folder, self.stream, self.replica = Path(folder), stream, replica
        self.on_failure, self.max_waiting, self.patience = on_failure, max_waiting, patience
        self.failing: str | None = None
        self.written = self.dropped = self.groups = self.bytes = 0
        self.write_seconds = 0.0
        self._options: dict[str, Any] = {"durable": durable, "segment_bytes": segment_bytes}
        self._options["segment_seconds"] = segment_seconds
        self._segments: SegmentWriter | None = None
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._waiting, self._in_hand = _Group(), _Group()
        self._is_idle = self._is_closing = False
        self._since: float | None = None
        self._stuck: str | None = None
        self._ended = threading.Event()
        self._open()
        self._thread = threading.Thread(target=self._run, name=f"holdfast-log-{stream}", daemon=True)
        self._watch = threading.Thread(target=self._watch_disk, name=f"holdfast-log-watch-{stream}", daemon=True)
        self._thread.start()
        self._watch.start()

    @property
    def waiting(self) -> int:
        """Records accepted and not yet written."""
        return len(self._waiting.payloads) + len(self._in_hand.payloads)

    @property
    def lag(self) -> float:
        """The age in seconds of the oldest record that was accepted and is not written yet; 0 where there is none."""
        with self._lock:
            begun = [group.begun for group in (self._in_hand, self._waiting) if group.payloads]
        return time.monotonic() - min(begun) if begun else 0.0

    @property
    def refuses(self) -> bool:
        """Whether requests are refused now, because nothing can be written."""
        return self.failing is not None and self.on_failure == "refuse"

    async def append(self, payload: bytes) -> bool:
        """Return when the record is written, and on the disk where the log is durable. LogUnavailable by the policy.

        False where it was dropped and the policy is to answer all the same. A cancelled call may be written or not.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        refusal = self._accept(payload, future, loop)
        return await future if refusal is None else self._refuse(refusal)

    def append_blocking(self, payload: bytes) -> bool:
        """`append` for a thread that has no event loop."""
        future: concurrent.futures.Future[bool] = concurrent.futures.Future()
        refusal = self._accept(payload, future, None)
        return future.result() if refusal is None else self._refuse(refusal)

    def close(self) -> None:
        """Write what was accepted, seal the segment, let go of the name. What comes later is refused."""
        with self._lock:
            self._is_closing = True
            self._wake.notify()
        self._thread.join(2 * self.patience)  # a disk that hangs may keep it; it is a daemon
        self._ended.set()
        self._watch.join()

    def _accept(self, payload: bytes, future: Any, loop: asyncio.AbstractEventLoop | None) -> str | None:
        """Queue it; why not, where it cannot be. ValueError for an empty or absurdly long payload."""
        size = len(payload)
        if not 0 < size <= LONGEST:
            raise ValueError(f"expected a payload of 1 to {LONGEST} bytes, found {size}")
        with self._lock:
            group = self._waiting
            if self._is_closing or self._stuck or group.size + size > self.max_waiting:
                return self._refusal()
            if not group.payloads:
                group.begun = time.monotonic()
            group.payloads.append(payload)
            group.futures[loop].append(future)
            group.size += size
            if self._is_idle:
                self._is_idle = False
                self._wake.notify()
        return None

    def _refusal(self) -> str:
        if self._is_closing:
            return f"The log {self.folder} is closed."
        return self._stuck or (
            f"expected at most {self.max_waiting} bytes waiting to be written to the log {self.folder}, found more."
        )

    def _refuse(self, message: str) -> bool:
        if self.on_failure == "refuse":
            raise LogUnavailable(message, hint=self._hint())
        with self._lock:
            self.dropped += 1
        return False

    def _hint(self) -> str:
        return "Make room or repair the disk; or set serving.log.on_failure to answer without the log."

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            if group.payloads:
                self._write(group)
            else:
                self._keep_house()
        if self._segments is not None:
            self._segments.close()

    def _next_group(self) -> _Group | None:
        """Everything that waits; nothing after a while without; None when closed and all is written."""
        with self._lock:
            if not self._waiting.payloads and not self._is_closing:
                self._is_idle = True
                self._wake.wait(_LOOK)
                self._is_idle = False
            if not self._waiting.payloads and self._is_closing:
                return None
            self._in_hand, self._waiting = self._waiting, _Group()
            self._since = time.monotonic()
            return self._in_hand

    def _write(self, group: _Group) -> None:
        begun = time.monotonic()
        error = size = None
        try:
            size = self._open_or_raise().append(group.payloads)
        except Exception as found:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            error = self._sentence(found)
        seconds = time.monotonic() - begun
        with self._lock:
            mine, self._in_hand, self._since, self._stuck = self._in_hand, _Group(), None, None
            self._tell(error)
            if size is not None:
                self.groups += 1
                self.written += len(group.payloads)
                self.bytes += size
                self.write_seconds = seconds
        self._settle(mine, error)

    def _keep_house(self) -> None:
        """Seal an old segment; where the log fails, look whether it still would."""
        error = None
        try:
            if self.failing is not None:
                self._open_or_raise().check()
            elif self._segments is not None:
                self._segments.rotate_if_due()
        except Exception as found:  # noqa: BLE001 - this thread must not end
            error = self._sentence(found)
        with self._lock:
            self._since = self._stuck = None
            self._tell(error)

    def _open(self) -> None:
        try:
            self._open_or_raise()
        except (OSError, OutsideError) as error:
            message = self._sentence(error)
            if self.on_failure == "refuse":
                raise LogUnavailable(message, hint=self._hint()) from error
            self._tell(message)

    def _open_or_raise(self) -> SegmentWriter:
        if self._segments is None:
            self._segments = SegmentWriter(self.folder, self.stream, self.replica, **self._options)
            self.replica = self._segments.replica
        return self._segments

    def _sentence(self, error: Exception) -> str:
        why = error.message if isinstance(error, OutsideError) else getattr(error, "strerror", None) or str(error)
        return f"The log {self.folder} cannot be written: {why.rstrip('.')}."

    def _tell(self, error: str | None) -> None:
        """Change `failing`, and say so in the program's own log when it changes."""
        if error == self.failing:
            return
        if error is None:
            logger.warning("the log %s is written again", self.folder)
        else:
            logger.error("%s", error)
        self.failing = error

    def _settle(self, group: _Group, error: str | None) -> None:
        """Tell everybody in the group, each event loop by one call."""
        written = error is None
        if error is not None and self.on_failure == "answer":
            with self._lock:
                self.dropped += len(group.payloads)
            error = None
        for loop, futures in group.futures.items():
            if loop is None:
                _resolve(futures, written, error, self._hint())
                continue
            try:
                loop.call_soon_threadsafe(_resolve, futures, written, error, self._hint())
            except RuntimeError:  # the loop is closed, nobody waits any more
                logger.debug("%d records were written for an event loop that is closed", len(futures))

    def _watch_disk(self) -> None:
        """Fail what waits for a write that does not end."""
        while not self._ended.wait(min(_LOOK, self.patience / 2)):
            with self._lock:
                if self._since is None or time.monotonic() - self._since < self.patience:
                    continue
                message = f"The disk of the log {self.folder} has not answered for {self.patience:g} seconds."
                self._stuck = message
                self._tell(message)
                late, self._in_hand, self._waiting = (self._in_hand, self._waiting), _Group(), _Group()
            for group in late:
                self._settle(group, message)


def _resolve(futures: Sequence[Any], written: bool, error: str | None, hint: str) -> None:
    for future in futures:
        if future.done():  # a call that was cancelled
            continue
        if error is None:
            future.set_result(written)
        else:
            future.set_exception(LogUnavailable(error, hint=hint))
