"""One worker at concurrency 32: bare uvicorn, raw ASGI with the model, and the gateway with routing and the log."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import load

MODEL = "cut"
SECONDS = 4.0
ROUNDS = 5
REQUESTS = [load.v2(MODEL, [[1.0, 2.0, 3.0, 4.0]], {"x-holdfast-unit": f"user-{number}"}) for number in range(499)]
KINDS = ("bare uvicorn", "ASGI + model", "gateway, no log", "gateway, logged", "gateway, durable")


def main() -> None:
    """Throughput and p99 of each, then what the gateway adds at 500 requests a second."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir=Path.cwd()))  # a real disk: /tmp may be memory
    try:
        rates = {}
        for kind in KINDS:
            with load.server(serve, kind, folder) as (port, process):
                load.apart("127.0.0.1", port, REQUESTS, 8, 0.5)
                before = processor_seconds(process)
                found = load.apart("127.0.0.1", port, REQUESTS, 32, SECONDS)
                micros = (processor_seconds(process) - before) / found.count * 1e6
            print(f"{kind:18} {found}, {micros:.0f} µs of a processor each")
            rates[kind] = found.rate
        print(f"this disk's fdatasync alone, 99 % below {synced(folder / 'synced'):.2f} ms")
        added(folder)
        print(f"ratio of bare uvicorn to the gateway {rates['bare uvicorn'] / rates['gateway, durable']:.2f}")
        print(f"{rates['gateway, durable']:.0f}/s with routing and durable logging, target: 6,000/s")
    finally:
        shutil.rmtree(folder)


def added(folder: Path) -> None:
    """The p99 at 500 requests a second, in turns, since a shared machine has good and bad seconds: the median of the rounds."""
    found: dict[str, list[float]] = {kind: [] for kind in ("ASGI + model", "gateway, logged", "gateway, durable")}
    for _ in range(ROUNDS):
        for kind, tails in found.items():
            with load.server(serve, kind, folder) as (port, _):
                load.apart("127.0.0.1", port, REQUESTS, 8, 0.5)
                tails.append(load.apart("127.0.0.1", port, REQUESTS, 16, SECONDS, 500.0).p99)
    bare = statistics.median(found["ASGI + model"])
    for kind, tails in found.items():
        p99 = statistics.median(tails)
        print(f"{kind:18} at 500/s: p99 {p99:.2f} ms, added {p99 - bare:.2f} ms, target: 1 ms")


def synced(path: Path) -> float:
    """Milliseconds that 99 % of syncs of a growing file stay below, nobody else writing."""
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(1000):
            file.write(bytes(400))
            begun = time.perf_counter()
            os.fdatasync(file)
            times.append(time.perf_counter() - begun)
            time.sleep(0.001)
    return statistics.quantiles(times, n=100)[-1] * 1000


def processor_seconds(process: int) -> float:
    """User and system time of a process and its threads; says more than throughput where others use the machine."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve(kind: str, folder: Path, told: Any) -> None:
    """Serve until terminated."""
    from holdfast.serving import server

    asgi = {"bare uvicorn": constant, "ASGI + model": bare_model}.get(kind)
    if asgi is not None:
        serve_asgi(asgi, told)
        return

    async def listen() -> None:
        listener = server.Listener(gateway_app(kind, folder), "127.0.0.1", 0, Limits())
        await server.serve([listener], started=lambda: told.send(listener.port))

    from holdfast.serving.limits import Limits

    server.run(listen())


def serve_asgi(app: Any, told: Any) -> None:
    """By uvicorn with uvloop and httptools."""
    import socket

    import uvicorn

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_level="error", access_log=False)
    told.send(listening.getsockname()[1])
    uvicorn.Server(config).run([listening])


def gateway_app(kind: str, folder: Path) -> Any:
    from tests.serving.gateways import FunctionModel, settings, table_with

    from holdfast.serving.app import App
    from holdfast.serving.gateway import Gateway
    from holdfast.serving.limits import Limits
    from holdfast.serving.log.writer import LogWriter

    sink = Forgetful() if kind.endswith("no log") else LogWriter(folder / kind[-7:], durable=kind.endswith("durable"))
    gateway = Gateway(MODEL, settings(), sink)
    gateway.route(table_with(FunctionModel("1"), FunctionModel("2"), 0.1))
    return App(gateway, Limits())


class Forgetful:
    """A log that keeps nothing."""

    async def append(self, _: bytes) -> bool:
        await asyncio.sleep(0)
        return False


async def constant(_: Any, receive: Any, send: Any) -> None:
    await receive()
    await answer(send, b'{"outputs":[{"name":"y","shape":[1],"datatype":"FP64","data":[3.0]}]}')


async def bare_model(_: Any, receive: Any, send: Any) -> None:
    """What somebody who needs nothing of this would write."""
    import orjson

    tensor = orjson.loads((await receive())["body"])["inputs"][0]
    rows = np.array(tensor["data"]).reshape(tensor["shape"]).sum(axis=1)
    output = {"name": "y", "shape": rows.shape, "datatype": "FP64", "data": rows}
    await answer(send, orjson.dumps({"outputs": [output]}, option=orjson.OPT_SERIALIZE_NUMPY))


async def answer(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    main()
