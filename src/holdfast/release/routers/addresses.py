"""Where each version answers: by a template or by a file that the deployment writes."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

from holdfast.errors import OutsideError, UserError

AddressOf = Callable[[str], str]
Endpoint = tuple[str, int]
_ADDRESS = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)):(?P<port>\d{1,5})"
)


def by_template(template: str) -> AddressOf:
    """Addresses from a text such as `search-{version}.internal:8080`. Raises UserError where it names no version."""
    if "{version}" not in template:
        raise UserError(f"the address {template!r} must have {{version}} in it, else all versions have the same one.")
    return lambda version: template.replace("{version}", version)


def by_file(path: Path) -> AddressOf:
    """Addresses from a JSON object of version to `host:port`, read anew each time: the deployment may change it."""
    return lambda version: _looked_up(path, version)


def _looked_up(path: Path, version: str) -> str:
    try:
        book = json.loads(path.read_bytes())
        found = book.get(version)
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"the addresses in {path} cannot be read: {error}.") from None
    if not isinstance(found, str):
        raise UserError(
            f"{path} has no address for version {version}.",
            hint=f'Deploy it, and write {{"{version}": "host:port"}} there.',
        )
    return found


def parsed(address: str) -> Endpoint:
    """Host and port of `host:port` or `[ipv6]:port`. Raises UserError for anything else."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise UserError(f"expected an address as host:port, found {address!r}.")
    return found["six"] or found["host"], int(found["port"])


def endpoints(address: str) -> list[Endpoint]:
    """The IP addresses and the port behind `host:port`, in order. Raises UserError, or OutsideError for an unknown name."""
    host, port = parsed(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OutsideError(f"the host {host} is not known here: {error}.", reason_code="unknown_host") from None
    return sorted({(str(ipaddress.ip_address(place[4][0])), port) for place in found})
