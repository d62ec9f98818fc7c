"""Records logged before their answers leave: groups of the writer, beside SQLite in WAL mode and a bare sync per group."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.json
import uvloop

from holdfast.serving.log.encoding import encode, table_of
from holdfast.serving.log.frames import framed
from holdfast.serving.log.segments import read_payloads, sealed
from holdfast.serving.log.writer import LogWriter
from holdfast.serving.records import Record

CLIENTS = (32, 256)
SECONDS = 2.0
RECORD_BYTES = 321
ROWS = 300_000

Append = Callable[[bytes], Awaitable[None]]


def main() -> None:
    """Rates and waits at 32 and 256 clients, durable and not; then how fast records become bytes and bytes a table."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir=Path.cwd()))  # a real disk: /tmp may be memory
    payload = os.urandom(RECORD_BYTES)
    ratios = []
    try:
        for durable in (True, False):
            print(f"answers after {'the disk has it' if durable else 'the write'}, records of {RECORD_BYTES} bytes")
            for clients in CLIENTS:
                found = holdfast(folder / f"log-{durable}-{clients}", payload, clients, durable=durable)
                peer = sqlite_groups(folder / f"{durable}-{clients}.db", payload, clients, durable=durable)
                floor(folder / f"bare-{durable}-{clients}", payload, clients, durable=durable)
                ratios.append(found / peer)
        tables(folder)
    finally:
        shutil.rmtree(folder)
    print(f"smallest ratio to SQLite in groups {min(ratios):.1f}")


def holdfast(folder: Path, payload: bytes, clients: int, *, durable: bool) -> float:
    """Our writer. Records a second."""
    writer = LogWriter(folder, durable=durable)
    try:
        rate = uvloop.run(load(writer.append, payload, clients, f"holdfast, {clients} clients"))
        print(f"    {writer.written / writer.groups:.0f} records a group")
    finally:
        writer.close()
    return rate


async def load(append: Append, payload: bytes, clients: int, name: str) -> float:
    """Clients that each wait for one record after the other; prints and gives records a second."""
    waits: list[float] = []
    end = time.perf_counter() + SECONDS

    async def client() -> None:
        while (begun := time.perf_counter()) < end:
            await append(payload)
            waits.append(time.perf_counter() - begun)

    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(clients)))
    rate = len(waits) / (time.perf_counter() - begun)
    report(name, rate, waits)
    print(f"    {(time.process_time() - cpu) / len(waits) * 1e6:.1f} us of a core a record")
    return rate


def report(name: str, rate: float, waits: Sequence[float]) -> None:
    """One line of figures; `waits` in seconds."""
    cuts = statistics.quantiles(waits, n=100)
    print(f"  {name:28} {rate:9,.0f} /s   p50 {cuts[49] * 1e3:6.2f} ms   p99 {cuts[98] * 1e3:6.2f} ms")


def sqlite_groups(path: Path, payload: bytes, clients: int, *, durable: bool) -> float:
    """SQLite with the same groups: one thread commits whatever has arrived. Records a second."""
    groups = Groups(path, durable=durable)
    try:
        return uvloop.run(load(groups.append, payload, clients, f"SQLite WAL, {clients} clients"))
    finally:
        groups.close()


class Groups:
    """The same group commit around SQLite."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, args=(path, durable))
        self._thread.start()

    async def append(self, payload: bytes) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((payload, future))
        self._wake.set()
        await future

    def close(self) -> None:
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _run(self, path: Path, durable: bool) -> None:
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("pragma journal_mode=wal")
        database.execute(f"pragma synchronous={'full' if durable else 'off'}")
        database.execute("create table log (payload blob)")
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            count = len(self._waiting)
            group, self._waiting[:count] = self._waiting[:count], []
            if group:
                database.execute("begin")
                database.executemany("insert into log values (?)", [(payload,) for payload, _ in group])
                database.execute("commit")
                group[0][1].get_loop().call_soon_threadsafe(_done, [future for _, future in group])
        database.close()


def _done(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


def floor(path: Path, payload: bytes, clients: int, *, durable: bool) -> None:
    """One thread that writes ready groups of `clients` records and syncs each: what the disk allows."""
    data = framed([payload] * clients, b"mark")
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    waits = []
    end = time.perf_counter() + SECONDS / 2
    while (begun := time.perf_counter()) < end and (durable or len(waits) < 20_000):
        os.write(handle, data)
        if durable:
            os.fdatasync(handle)
        waits.append(time.perf_counter() - begun)
    os.close(handle)
    report(f"bare write, groups of {clients}", clients * len(waits) / sum(waits), waits)


def tables(folder: Path) -> None:
    """From records to segments to an Arrow table and a Delta table, beside two ways through JSON."""
    records = [record(number) for number in range(ROWS)]
    payloads = timed("encode", lambda: [encode(each) for each in records], ROWS)
    asyncio.run(fill(folder / "table", payloads))
    paths = sealed(folder / "table", "predictions")
    read = timed("read_payloads", lambda: [read_payloads(path)[0] for path in paths], ROWS)
    table = timed("table_of", lambda: pa.concat_tables([table_of(each) for each in read]), ROWS)
    print(f"    {table.num_rows:,} rows, {sum(map(len, payloads)) / ROWS:.0f} bytes each")
    rows = [orjson.dumps(row) for row in table.slice(0, ROWS // 10).to_pylist()]
    timed("pyarrow.json instead", lambda: pyarrow.json.read_json(pa.BufferReader(b"\n".join(rows))), len(rows))
    timed("orjson.loads instead", lambda: pa.Table.from_pylist([orjson.loads(row) for row in rows]), len(rows))
    from deltalake import write_deltalake

    def compact() -> None:
        found = [table_of(read_payloads(path)[0]) for path in paths]
        write_deltalake(str(folder / "delta"), pa.concat_tables(found))

    timed("segments to Delta", compact, ROWS)


async def fill(folder: Path, payloads: Sequence[bytes]) -> None:
    """All of them through a writer."""
    writer = LogWriter(folder, max_waiting=1 << 30)
    await asyncio.gather(*(writer.append(payload) for payload in payloads))
    writer.close()


def timed(name: str, act: Callable[[], Any], rows: int) -> Any:
    """The best of three runs, printed as rows a second."""
    times = []
    for _ in range(1 if "Delta" in name else 3):
        begun = time.perf_counter()
        found = act()
        times.append(time.perf_counter() - begun)
    print(f"  {name:28} {rows / min(times):9,.0f} rows/s   {min(times) / rows * 1e6:5.2f} us a row")
    return found


def record(number: int) -> Record:
    """A request of one row."""
    return Record(
        prediction_id=f"0192f3c4-7b1a-7c3e-9d2f-{number:012d}",
        time=1_760_000_000_000_000 + number,
        model="search-ranking",
        version="17",
        variant="champion",
        served_by="17",
        unit=f"user-{number % 5000}",
        latency_ms=1.25,
        fault=None,
        outputs=[[0.25, number / 7, 0.5]],
        release="search-ranking-18",
        epoch=12,
        share=0.05,
    )


if __name__ == "__main__":
    main()
