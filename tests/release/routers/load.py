"""Users of a proxy: one request at a time, many at once, and real load over keep-alive connections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Answer:
    """One answer: when it was asked for and came (monotonic seconds), what it said. Status 0 is a failed connection."""

    began: float
    at: float
    unit: str | None
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""

    @property
    def variant(self) -> str | None:
        return self.headers.get("x-holdfast-variant")

    @property
    def served_by(self) -> str | None:
        return self.headers.get("x-holdfast-served-by")

    @property
    def version(self) -> str:
        """The version that the server says it is."""
        return self.body.split("|")[0]


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, unit: str | None, extra: bytes = b"") -> Answer:
        began = time.monotonic()
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self.streams
            name = b"" if unit is None else b"x-holdfast-unit: " + unit.encode() + b"\r\n"
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n" + name + extra + b"\r\n")
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            self.close()
            return Answer(began, time.monotonic(), unit, 0)
        if headers.get("connection") == "close":
            self.close()
        return Answer(began, time.monotonic(), unit, int(head[0].split()[1]), headers, body.decode())

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
        self.streams = None


def ask(port: int, unit: str | None, extra: bytes = b"") -> Answer:
    """One request on a new connection."""
    return ask_all(port, [unit], extra)[0]


def ask_all(port: int, units: Iterable[str | None], extra: bytes = b"", connections: int = 8) -> list[Answer]:
    """One answer for each unit, in their order, over some keep-alive connections."""
    wanted = list(units)
    found: list[Answer | None] = [None] * len(wanted)

    async def work(numbers: range) -> None:
        connection = Connection(port)
        for number in numbers:
            found[number] = await connection.ask(wanted[number], extra)
        connection.close()

    async def everybody() -> None:
        await asyncio.gather(*(work(range(start, len(wanted), connections)) for start in range(connections)))

    asyncio.run(everybody())
    return [answer for answer in found if answer is not None]


class Load:
    """Requests of many units over keep-alive connections, in a thread, until the block ends."""

    def __init__(self, port: int, *, connections: int = 16, units: int = 2000) -> None:
        self.port, self.connections, self.units = port, connections, units
        self.answers: list[Answer] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._everybody()))

    def __enter__(self) -> Self:
        self._thread.start()
        while not self.answers:
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def failed(self) -> Counter[int]:
        """Requests that were not answered 200, by status."""
        return Counter(answer.status for answer in self.answers if answer.status != 200)

    async def _everybody(self) -> None:
        await asyncio.gather(*(self._work(number) for number in range(self.connections)))

    async def _work(self, number: int) -> None:
        connection = Connection(self.port)
        while not self._stop.is_set():
            number = (number + self.connections) % self.units
            self.answers.append(await connection.ask(f"user-{number}"))
        connection.close()
