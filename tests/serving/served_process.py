"""A gateway in a process of its own with a log on the disk: `python -m tests.serving.served_process FOLDER SECONDS [SLEEP]`.

It prints its port, serves until it is told to stop, and prints how it ended. SECONDS is the drain timeout, SLEEP how long the
champion takes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.serving import server
from holdfast.serving.app import App
from holdfast.serving.gateway import Gateway
from holdfast.serving.limits import Limits
from holdfast.serving.log.writer import LogWriter
from tests.serving.gateways import MODEL, FunctionModel, row_sums, settings, slow, table_with


async def main(folder: Path, drain_seconds: float, sleep: float) -> None:
    writer = LogWriter(folder, durable=False)
    gateway = Gateway(MODEL, settings(timeout="30s"), writer)
    function = slow(sleep) if sleep else row_sums
    gateway.route(table_with(FunctionModel("1", function), FunctionModel("2", function), 0.5))
    limits = Limits(drain_seconds=drain_seconds)
    listener = server.Listener(App(gateway, limits), "127.0.0.1", 0, limits)

    async def closing() -> None:
        await gateway.close()
        writer.close()

    await server.serve(
        [listener],
        started=lambda: print(listener.port, flush=True),
        draining=lambda: (gateway.drain(), print("draining", flush=True))[0],
        closing=closing,
    )
    print(f"ended with {writer.written} records", flush=True)


if __name__ == "__main__":
    server.run(main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
