"""One model in one process of its own: started, asked, and never left running."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

from holdfast.errors import OutsideError, UserError
from holdfast.models import worker
from holdfast.models.process import GRACE_SECONDS, LoadedModel, end_group
from holdfast.models.reference import CallableModel
from holdfast.serving.models import child
from holdfast.serving.models.waiting import Call, Waiting
from holdfast.serving.payload import Payload
from holdfast.serving.served import BadInput, Fault, ModelFault

LARGEST_ANSWER = 1 << 30
SENT_AHEAD = 64 << 20  # bytes that may wait for a process; more is refused
_TAIL = 16_384
_LAST_WORDS = 0.02  # seconds
MEMORY_LOOK = 1.0  # seconds between two looks at what a process holds
_OTHER_ENVIRONMENT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


class LoadRequest(LoadedModel):
    """What a process is asked to load: the worker's own request, made under its rules for pickles (Refused).

    `check` reads the reply as the worker's would be read: UserError, or OutsideError in one sentence.
    """

    def __init__(
        self, target: Path | CallableModel, cwd: Path, *, name: str, predict: str = "predict", allow_pickle: Any = ()
    ) -> None:
        super().__init__(cwd, name=name)
        self.document: dict[str, Any] = {}
        self.load(target, predict, allow_pickle)

    def _ask(self, request: Mapping[str, Any]) -> Any:
        self.document = dict(request)

    def check(self, reply: Mapping[str, Any]) -> Any:
        """The model's classes, if it tells."""
        if "died" in reply:
            raise OutsideError(reply["died"], reason_code="model_died")
        self._read_reply(reply)
        return reply.get("classes")


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a process is started. `env` is added to this process's environment, `without` names what it must not see.

    `memory` is the most bytes that may be resident, `load_timeout` in seconds. `rehearsal` is asked once before anything else.
    """

    python: Path
    request: LoadRequest
    load_timeout: float = 300.0
    env: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    memory: int | None = None
    rehearsal: Payload | None = None

    @property
    def name(self) -> str:
        return self.request.name

    def variables(self) -> dict[str, str]:
        """The environment variables of the process: nothing that would lead to another environment's packages."""
        hidden = {*_OTHER_ENVIRONMENT, *self.without}
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", **self.env}


class Running(asyncio.Protocol):
    """A started process. Calls are answered in their order; when it ends, what waits fails with `died`."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._loop = asyncio.get_running_loop()
        self.classes: Any = None
        self.ended = asyncio.Event()
        self._loaded: asyncio.Future[Any] = self._loop.create_future()
        self._waiting = Waiting(start.name, self._timed_out)
        self._owed: deque[Call] = deque()
        self._busy_since = 0.0  # when the call that it works on became the first of those owed
        self._reason: tuple[Fault, str] | None = None
        self._received = bytearray()
        self._outgoing: list[bytes] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._output = Output()

    @classmethod
    async def start(cls, start: Start) -> Self:
        """A process with the model loaded. Errors as `LoadedModel.load`; `model_timed_out` after `load_timeout`."""
        running = cls(start)
        try:
            async with asyncio.timeout(start.load_timeout):
                await running._open()
                running._write({"id": 0, "do": "load", **start.request.document}, None)
                reply = await running._loaded
                running.classes = start.request.check(reply)
                if start.rehearsal is not None:
                    with contextlib.suppress(ModelFault, BadInput):
                        await running.infer(start.rehearsal, start.load_timeout)
        except TimeoutError:
            await running.stop()
            raise OutsideError(
                f"{start.name} did not finish loading within {start.load_timeout:g} s and was stopped.",
                hint="Raise `serving: {load_timeout: …}` if it needs longer.",
                reason_code="model_timed_out",
            ) from None
        except BaseException:
            await running.stop()
            raise
        return running

    # --- asking ---

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def is_alive(self) -> bool:
        """Whether it may be asked: it runs, and no call keeps it busy for longer than that call may take."""
        return self._is_connected and (not self._owed or self.busy() <= self._owed[0].timeout)

    @property
    def _is_connected(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def busy(self) -> float:
        """Seconds since it last gave an answer that is still owed; 0 where nothing is owed."""
        return time.monotonic() - self._busy_since if self._owed else 0.0

    async def infer(self, payload: Payload, timeout: float) -> Payload:
        """As `ServedModel.infer`."""
        self._refuse()
        call = self._waiting.add(payload, timeout)
        try:
            self._send(call)
            return await call.future
        finally:
            self._waiting.drop(call)

    def _refuse(self) -> None:
        """Raise at once what waiting would only end in."""
        if self._transport is None or not self._is_connected:
            raise self.death()
        if not self.is_alive:
            raise ModelFault("timed_out", f"{self._start.name} is still busy with a call that timed out")
        if self._transport.get_write_buffer_size() > SENT_AHEAD:
            raise ModelFault("overloaded", f"{self._start.name} has {SENT_AHEAD >> 20} MiB of requests to read yet")

    def _send(self, call: Call) -> None:
        given = call.payload
        head = {"id": call.number, "do": "infer", "deadline": call.deadline, "kind": given.kind, "names": given.names}
        if given.params:
            head["params"] = given.params
        try:
            self._write(head, given.arrays)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadInput(f"the input holds what no model can be given: {error}") from None
        if not self._owed:
            self._busy_since = time.monotonic()
        self._owed.append(call)

    def _write(self, head: dict[str, Any], arrays: Any) -> None:
        """Send a frame together with all others of this turn of the event loop."""
        self._outgoing.append(child.pack(head, arrays))
        if len(self._outgoing) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._outgoing))  # nothing happens where it is closed: the end is on its way
        self._outgoing.clear()

    # --- answers ---

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            while (frame := self._next_frame()) is not None:
                self._answered(*frame)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            self.kill("nonsense", f"{self._start.name} broke the connection to it: {error}")

    def _next_frame(self) -> tuple[dict[str, Any], bytearray] | None:
        size = child.LENGTHS.size
        if len(self._received) < size:
            return None
        head, body = child.LENGTHS.unpack_from(self._received)
        if head + body > LARGEST_ANSWER:
            raise ValueError(f"an answer of {(head + body) >> 20:,} MiB")
        end = size + head + body
        if len(self._received) < end:
            return None
        document = json.loads(self._received[size : size + head].decode())
        raw = self._received[size + head : end]
        del self._received[:end]
        return document, raw

    def _answered(self, head: dict[str, Any], body: bytearray) -> None:
        number = head["id"]
        if number == 0:
            if not self._loaded.done():
                self._loaded.set_result(head)
            return
        if not self._owed or self._owed[0].number != number:
            raise ValueError("answers came out of order")
        self._owed.popleft()
        self._busy_since = time.monotonic()
        if "expired" not in head:
            self._waiting.answer(number, outcome(self._start.name, head, body))

    # --- ends ---

    def _timed_out(self, call: Call) -> None:
        """Where one call keeps it busy for twice the time it had, the process is not coming back."""
        del call
        if self._owed:
            left = 2 * self._owed[0].timeout - self.busy()
            self._loop.call_later(max(left, 0.0), self._end_if_stuck)

    def _end_if_stuck(self) -> None:
        if self._is_connected and self._owed and self.busy() >= 2 * self._owed[0].timeout:
            self.kill("timed_out", f"{self._start.name} was stopped: one call kept it busy for {self.busy():.1f} s")

    def _limit_memory(self, process: subprocess.Popen[bytes]) -> None:
        """Look once a second how much it holds, and end it where that is more than it may."""
        limit = self._start.memory
        if limit is None or process.poll() is not None:
            return
        held = resident(process.pid)
        if held > limit:
            allowed = f"serving.memory allows {limit / 1e6:,.0f} MB"
            self.kill("died", f"{self._start.name} was stopped: it held {held / 1e6:,.0f} MB, and {allowed}")
        else:
            self._loop.call_later(MEMORY_LOOK, self._limit_memory, process)

    def kill(self, fault: Fault, reason: str) -> None:
        """End the process at once; what waits fails with this fault."""
        self._reason = self._reason or (fault, reason)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The process is gone, or is about to be: it ends its group when this end of the socket is closed."""
        del exc
        self._loop.call_later(_LAST_WORDS, self._end, 5)

    def _end(self, patience: int) -> None:
        """Fail what waits, once it is known how the process ended and what it said, which takes it a moment."""
        if self._reason is None and patience and self._process is not None and self._process.poll() is None:
            self._loop.call_later(_LAST_WORDS, self._end, patience - 1)
            return
        death = self.death()
        self._reason = death.fault, str(death)
        self.ended.set()
        self._waiting.fail(self.death)
        self._owed.clear()
        if not self._loaded.done():
            self._loaded.set_result({"died": f"{death} while loading."})

    def death(self) -> ModelFault:
        """Why it does not answer."""
        fault, reason = self._reason or ("died", f"{self._start.name} ended its process{self._how()}")
        return ModelFault(fault, reason)

    def _how(self) -> str:
        code = self._process.poll() if self._process is not None else None
        how = "" if code is None else f" (exit status {code})" if code >= 0 else f" (signal {-code})"
        said = self._output.last_line()
        return f"{how}: {said}" if said else how

    async def finish(self) -> None:
        """Wait for the calls it has accepted, then end it."""
        await self._waiting.end()
        await self.stop()

    async def stop(self) -> None:
        """End the process and all it started."""
        self._reason = self._reason or ("died", f"{self._start.name} was stopped")
        if self._transport is not None:
            self._transport.abort()
        if self._process is not None:
            await asyncio.shield(asyncio.to_thread(end_group, self._process, GRACE_SECONDS))
        self._output.close()

    # --- starting ---

    async def _open(self) -> None:
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        try:
            await self._loop.connect_read_pipe(lambda: self._output, os.fdopen(read, "rb", 0))
            self._process = await asyncio.to_thread(self._spawn, theirs.fileno(), write)
            self._limit_memory(self._process)
            ours.setblocking(False)
            await self._loop.create_unix_connection(lambda: self, sock=ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(write)

    def _spawn(self, fd: int, output: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [self._start.python, child.__file__, worker.__file__, str(fd)],
                cwd=self._start.request.cwd,
                env=self._start.variables(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(fd,),
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(f"{self._start.python} cannot be run: {error.strerror}.") from None


def resident(process: int) -> int:
    """Bytes of memory that a process holds now; 0 where it is gone. Only where there is /proc."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


class Output(asyncio.Protocol):
    """What a process prints: read at once, so that it never waits, and only the end of it is kept."""

    def __init__(self) -> None:
        self._tail = bytearray()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._tail += data[-_TAIL:]
        if len(self._tail) > 4 * _TAIL:
            del self._tail[:-_TAIL]

    def text(self) -> str:
        """The end of what was printed."""
        return self._tail[-_TAIL:].decode(errors="replace")

    def last_line(self) -> str:
        """Its last line, cut to a length for messages."""
        lines = self.text().strip().splitlines()
        return lines[-1].strip()[:300] if lines else ""

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def outcome(name: str, head: Mapping[str, Any], body: bytearray) -> Payload | Exception:
    """A reply as the answer it brings or the error it means."""
    error = head.get("error")
    if error is None:
        return Payload(head["kind"], tuple(head["names"]), tuple(child.unpack(dict(head), body)))
    return fault_of(name, error)


def fault_of(name: str, error: Mapping[str, str]) -> Exception:
    """What `child.failure` says as the exception that a caller gets."""
    if error["kind"] == "bad_input":
        return BadInput(error["message"])
    if error["kind"] == "nonsense":
        return ModelFault("nonsense", f"{name} {error['message']}")
    return ModelFault("raised", f"{name} raised {error['message']}")
