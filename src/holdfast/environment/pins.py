"""What a lock file pins: packages with versions, hashes and sources; and what all kinds of lock files have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.markers import InvalidMarker, Marker

from holdfast.errors import UserError

Markers = Mapping[str, str]
_PUBLIC = re.compile(r"https?://pypi\.\w+(?:/|$)")  # the public index; every other one is named in the pin
_LARGEST = 50_000_000  # bytes
MAKE_ONE = "Make a lock with `uv pip compile --generate-hashes requirements.in -o requirements.lock`."


@dataclass(frozen=True)
class Pin:
    """One package: its version, `sha256:…` hashes, and where it comes from.

    `source` is `index`, `index:URL` for another one than the public default, `git:URL@COMMIT`, `url:URL` or `path:PATH`.
    """

    version: str
    hashes: tuple[str, ...] = ()
    source: str = "index"


@dataclass(frozen=True)
class Locked:
    """What a lock file says for this platform: package (by its PEP 503 name) → pin."""

    name: str
    packages: Mapping[str, Pin]
    python: str | None = None
    notices: tuple[str, ...] = field(default=())


def masked(url: str) -> str:
    """A URL without the password or token that it may hold."""
    return re.sub(r"(\w+://)[^/\s]+@", r"\1***@", url)


def read_text(file: Path) -> str:
    if not file.is_file():
        raise UserError(f"there is no lock file {file}.", hint=MAKE_ONE)
    if file.stat().st_size > _LARGEST:
        raise UserError(f"{file} is larger than any lock file: {file.stat().st_size:,} bytes.")
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text: expected UTF-8, found other bytes at {error.start}.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from None


def holds(marker: str | None, given: Markers, file: Path) -> bool:
    if not marker:
        return True
    try:
        found: bool = Marker(marker).evaluate(dict(given))
        return found
    except (InvalidMarker, KeyError, ValueError, NameError):
        raise UserError(
            f"{file} has a marker that cannot be read: {marker[:120]!r}.", hint="Make the lock again."
        ) from None


def add(found: dict[str, Pin], name: str, pin: Pin, file: Path) -> None:
    before = found.get(name)
    if before is not None and before.version != pin.version:
        raise UserError(
            f"{file} pins {name} twice: {before.version} and {pin.version}.", hint="Keep one, or make the lock again."
        )
    found[name] = pin


def index_of(url: str) -> str:
    return "index" if _PUBLIC.match(url) else f"index:{masked(url)}"


def left_out(count: int) -> tuple[str, ...]:
    """The notice on packages that are not for here."""
    if count <= 0:
        return ()
    what = (
        "1 package of the lock is for another platform, group or extra and was"
        if count == 1
        else (f"{count} packages of the lock are for other platforms, groups or extras and were")
    )
    return (f"{what} left out.",)
