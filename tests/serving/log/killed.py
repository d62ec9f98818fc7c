"""A process to kill: clients append without end, and each acknowledged number is written to standard output after the answer.

Standard output is a pipe, so what was acknowledged before the kill can be read after it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from holdfast.serving.log.writer import LogWriter


async def main(folder: Path, clients: int, first: int, *, durable: bool) -> None:
    writer = LogWriter(folder, durable=durable, segment_bytes=50_000, segment_seconds=0.05)
    acknowledged = iter(range(first, sys.maxsize))

    async def client() -> None:
        for number in acknowledged:
            text = b"%d" % number
            await writer.append(text + b"." * (number % 400))
            os.write(1, text + b"\n")

    await asyncio.gather(*(client() for _ in range(clients)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), durable=sys.argv[4] == "durable"))
