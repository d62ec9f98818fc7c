"""A model's server as a process: `python model_server.py PORT VERSION`. It tells its version and what it was told."""

from __future__ import annotations

import asyncio
import sys

TOLD = ("x-holdfast-variant", "x-holdfast-version", "x-holdfast-epoch")


def answer(version: str, head: bytes) -> bytes:
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    body = "|".join([version, *(headers.get(name, "-") for name in TOLD)]).encode()
    return b"HTTP/1.1 200 OK\r\nx-holdfast-version: from the server\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def serve(port: int, version: str) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(answer(version, await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", port, backlog=500) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
