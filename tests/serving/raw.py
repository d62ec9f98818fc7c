"""Bytes to a port and what comes back: for clients that keep to no protocol."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 8.0


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as found:
        yield found


def until_closed(connection: socket.socket) -> bytes:
    """Everything until the server closes; TimeoutError where it does not within a few seconds."""
    found, end = b"", time.monotonic() + PATIENCE
    while True:
        connection.settimeout(max(0.01, end - time.monotonic()))
        try:
            chunk = connection.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            return found
        if not chunk:
            return found
        found += chunk


def exchange(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send the pieces, and give all that comes until the server closes."""
    with connected(port) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except (ConnectionResetError, BrokenPipeError):
                break
            time.sleep(pause)
        return until_closed(connection)


def answers(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Status and body of that many answers, in their order."""
    found: list[tuple[int, bytes]] = []
    data = b""
    while len(found) < count:
        head, separator, rest = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1]) if separator else 0  # type: ignore[index]
        if separator and len(rest) >= length:
            found.append((int(head[9:12]), rest[:length]))
            data = rest[length:]
            continue
        chunk = connection.recv(1 << 16)
        if not chunk:
            return found
        data += chunk
    return found


def statuses(data: bytes) -> list[int]:
    """The statuses of the answers in `data`."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]
