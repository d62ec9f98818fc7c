"""HAProxy's runtime API: one command a connection, and what its answers say."""

from __future__ import annotations

import re
import socket
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import OutsideError
from holdfast.release.routers.addresses import Endpoint, parsed
from holdfast.release.routers.haproxy_entry import KEY

_SECONDS = 5.0
_MAP = re.compile(
    r"^-?\d+ \((?P<path>[^()\s;]+)\) .*\bcurr_ver=(?P<current>\d+) next_ver=(?P<latest>\d+) ", re.MULTILINE
)
_ENTRY = re.compile(rf"^0x[0-9a-f]+ {KEY} (?P<text>\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class MapState:
    """HAProxy's map: its file there, the number of its content, the latest number that anybody prepared, and our entry
    (None for an empty map).
    """

    path: str
    current: int
    latest: int
    text: str | None = None


@dataclass(frozen=True)
class Server:
    """One server of a backend as HAProxy sees it."""

    backend: str
    name: str
    endpoint: Endpoint
    up: bool


class RuntimeSocket:
    """The runtime API at a unix socket's path or at `tcp://host:port`. Raises UserError for a wrong address.

    Every method raises OutsideError (`router_unavailable`) where HAProxy does not answer within 5 seconds.
    """

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self.tcp: Endpoint | None = None
        if self.address.startswith("tcp://"):
            self.tcp = parsed(self.address.removeprefix("tcp://"))

    def ask(self, command: str) -> str:
        """The answer to one line of commands, which must come from this package: nothing is escaped here."""
        try:
            with self._connected() as connection:
                connection.settimeout(_SECONDS)
                connection.sendall(command.encode("ascii") + b"\n")
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode("utf-8", "replace")
        except OSError as error:
            raise self.away(f"cannot be reached: {error}") from None

    def quiet(self, command: str) -> None:
        """Give a command that answers nothing when it worked. OutsideError says what it answered instead."""
        answer = self.ask(command).strip()
        if answer:
            raise self.away(f"refused `{' '.join(command.split()[:2])}`: {first_line(answer)}")

    def milliseconds(self) -> int:
        """Now on HAProxy's own clock, milliseconds since 1970: the clock that its rules compare the lease with."""
        variable = "proc.holdfast_now"
        answer = self.ask(f"experimental-mode on;set var {variable} expr date(0,ms);get var {variable}")
        found = re.search(r"value=<(\d+)>", answer)
        if found is None:
            raise self.away(f"does not tell its time: {first_line(answer)}")
        return int(found[1])

    def map_state(self, file_name: str, path: str | None = None) -> MapState:
        """The map whose file has the name `file_name`; with its `path` also the entry, read after the number."""
        answer = self.ask("show map" if path is None else f"show map;show map {path}")
        for found in _MAP.finditer(answer):
            if Path(found["path"]).name == file_name:
                entry = _ENTRY.search(answer) if path is not None else None
                numbers = int(found["current"]), int(found["latest"])
                return MapState(found["path"], *numbers, entry["text"] if entry else None)
        raise self.away(f"has no map {file_name}: {first_line(answer)}")

    def prepared(self, path: str) -> int:
        """The number of a new, still empty content of the map."""
        answer = self.ask(f"prepare map {path}")
        found = re.search(r"New version created: (\d+)", answer)
        if found is None:
            raise self.away(f"refused `prepare map`: {first_line(answer)}")
        return int(found[1])

    def servers(self) -> str:
        """`show servers state`, for `parsed_servers`."""
        return self.ask("show servers state")

    def away(self, what: str) -> OutsideError:
        """HAProxy as an error in one sentence."""
        return OutsideError(
            f"HAProxy at {self.address} {what.rstrip('.')}.",
            hint="Check that it runs with the configuration of holdfast's haproxy_config and that you may use its socket.",
            reason_code="router_unavailable",
        )

    def _connected(self) -> socket.socket:
        if self.tcp is not None:
            return socket.create_connection(self.tcp, timeout=_SECONDS)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_SECONDS)
            connection.connect(self.address)
        except OSError:
            connection.close()
            raise
        return connection


def first_line(answer: str) -> str:
    """The first line of an answer that says something."""
    return next((line.strip() for line in answer.splitlines() if line.strip()), "it answered nothing")


def state_file(answer: str, backends: Container[str]) -> str:
    """The servers of our backends in the form that HAProxy reads when it starts: a version, column names, rows."""
    header, rows = _server_rows(answer)
    ours = [" ".join(row) for row in rows if row[header.index("be_name")] in backends]
    return "\n".join(["1", "# " + " ".join(header), *ours, ""])


def _server_rows(answer: str) -> tuple[list[str], list[list[str]]]:
    """Column names and rows of `show servers state`."""
    lines = [line.split() for line in answer.splitlines() if len(line.split()) > 2]
    header = next((line[1:] for line in lines if line[0] == "#"), [])
    return header, [line for line in lines if line[0] != "#"]


def parsed_servers(answer: str) -> list[Server]:
    """The servers of `show servers state`; one in maintenance or draining counts as down."""
    header, rows = _server_rows(answer)
    found = [dict(zip(header, row, strict=False)) for row in rows]
    return [
        Server(
            backend=row["be_name"],
            name=row["srv_name"],
            endpoint=(row["srv_addr"], int(row["srv_port"])),
            up=row["srv_op_state"] in {"1", "2"} and row["srv_admin_state"] == "0",
        )
        for row in found
    ]
