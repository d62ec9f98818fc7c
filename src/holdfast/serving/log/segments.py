"""Append-only segment files in a local folder: `<folder>/<stream>/<replica>-<number>.seg`, `.open` while they are written.

A segment is written by one process, then sealed by its new name, then read, then deleted; nothing in it ever changes. What a
crash left open is repaired and sealed by the next process that looks: a torn tail is cut, for nobody was told that it was
written. Bytes in the middle that are no records are damage: whoever reads them keeps them in the folder `damaged` beside the
segments, says so, and goes on behind them.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from holdfast.errors import Damaged, OutsideError
from holdfast.serving.log import frames
from holdfast.serving.log.claims import Claim
from holdfast.serving.log.payloads import Payloads

SEALED, OPEN = ".seg", ".open"
DAMAGED = "damaged"

logger = logging.getLogger(__name__)


def read_payloads(path: str | Path, offset: int = 0, *, most: int | None = None) -> tuple[Payloads, int]:
    """The whole records from `offset` on, and the offset behind the last of them, where the next call goes on.

    `offset` is 0 or what an earlier call gave. Reads about `most` bytes at once, None all; ([], offset) is the end, or what is
    whole of a segment that still grows. Damage is kept aside, see `damaged`. FileNotFoundError where there is no such segment,
    OutsideError where damage cannot be kept, Damaged where another release of Holdfast wrote it.
    """
    path, file, head = _opened(Path(path))
    begin = max(offset, frames.HEADER_BYTES)
    with file:
        file.seek(begin)
        data, found = _scanned(file, frames.marker_in(head), most or -1)
        is_whole = not file.read(1)
    gaps = [(begin + first, begin + last) for first, last in found.gaps]
    end = begin + found.end
    if is_whole and path.suffix == SEALED and found.end < len(data):
        gaps.append((end, begin + len(data)))
        end = begin + len(data)
    if offset == 0 and path.suffix == SEALED and frames.identity_in(head) is None:
        gaps.append((0, frames.HEADER_BYTES))
    for gap in gaps:
        _keep_aside(path, *gap)
    return found.payloads, end if data else offset


def count_records(path: str | Path, offset: int = 0) -> tuple[int, int]:
    """How many records there are from `offset` on, and the offset behind them; quicker than reading them."""
    _, file, head = _opened(Path(path))
    begin = max(offset, frames.HEADER_BYTES)
    with file:
        file.seek(begin)
        found, end = frames.count(file.read(), frames.marker_in(head))
    return found, begin + end


def sealed(folder: str | Path, stream: str) -> list[Path]:
    """The segments that nobody writes to any more, the oldest of each replica first."""
    return _named(folder, stream, SEALED)


def unsealed(folder: str | Path, stream: str) -> list[Path]:
    """The segments that are being written, and those that a crash left."""
    return _named(folder, stream, OPEN)


def damaged(folder: str | Path, stream: str) -> list[Path]:
    """Files with the bytes that should have been records and are none, named after segment and offset."""
    return sorted((Path(folder) / stream / DAMAGED).glob("*.bytes"))


def place(segment: Path) -> tuple[str, int]:
    """The replica and the number that a segment's name says."""
    replica, _, number = segment.stem.rpartition("-")
    return replica, int(number)


def segment_id(path: str | Path) -> str:
    """The name of a segment's content, unlike any other segment's anywhere: for whoever must take it exactly once."""
    path = Path(path)
    identity = _identity(path)
    return f"{path.stem}:{identity.hex() if identity else 'damaged'}"


@dataclass(frozen=True)
class Backlog:
    """Sealed segments that wait in a folder: how many, their bytes, and when the oldest was begun (UTC seconds; None: none)."""

    segments: int = 0
    size: int = 0
    oldest: float | None = None

    def age(self, now: float) -> float:
        """Of the oldest, in seconds at `now`; 0 where nothing waits."""
        return 0.0 if self.oldest is None else max(now - self.oldest, 0.0)


def backlog(folder: str | Path, streams: Iterable[str]) -> Backlog:
    """What waits of these streams. One look at each segment; those that go meanwhile do not count."""
    sizes, begun = [], []
    for path in (path for stream in streams for path in sealed(folder, stream)):
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
            begun.append(place(path)[1] / 1000)  # segments are numbered by the clock
    return Backlog(len(sizes), sum(sizes), min(begun, default=None))


def seal_orphans(folder: str | Path, stream: str, *, mine: str | None = None) -> list[Path]:
    """Repair and seal what dead processes left open, or this one under the name `mine`; what was sealed. Raises OSError."""
    within = Path(folder) / stream
    found = []
    for replica in dict.fromkeys(place(path)[0] for path in unsealed(folder, stream)):
        claim = None if replica == mine else Claim.try_take(within, replica)
        if claim is None and replica != mine:
            continue
        try:
            found += [repair(path) for path in unsealed(folder, stream) if place(path)[0] == replica]
        except Damaged as error:
            logger.warning("an open segment of %s stays as it is: %s", replica, error)
        finally:
            if claim is not None:
                claim.release()
    return [path for path in found if path is not None]


def repair(path: Path) -> Path | None:
    """Cut the torn tail of an open segment that nobody writes to, keep damage aside, and seal it. None where it was empty."""
    read_payloads(path)  # keeps damage in the middle aside
    data = path.read_bytes()
    marker = frames.marker_in(data)
    end = frames.HEADER_BYTES + frames.scan(data[frames.HEADER_BYTES :], marker).end
    tail = data[end:].rstrip(b"\0")  # room that was reserved, and what a file system leaves after the loss of power
    if tail and not frames.is_torn(tail, marker):
        _keep_aside(path, end, end + len(tail))
    elif tail:
        logger.info("segment %s: a torn tail of %d bytes was cut", path, len(tail))
    if end <= frames.HEADER_BYTES:
        path.unlink()
        return None
    with path.open("r+b") as file:
        file.truncate(end)
        os.fsync(file.fileno())
    found = path.rename(path.with_suffix(SEALED))
    sync_folder(path.parent)
    return found


def make_private(folder: Path) -> None:
    """Make `folder` and what is missing above it for this user alone; what exists stays as it is. Raises OSError."""
    for missing in reversed([part for part in (folder, *folder.parents) if not part.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
        sync_folder(missing.parent)


def _named(folder: str | Path, stream: str, suffix: str) -> list[Path]:
    found = (Path(folder) / stream).glob(f"*-*{suffix}")
    return sorted((path for path in found if path.stem.rpartition("-")[2].isdecimal()), key=place)


def _opened(path: Path) -> tuple[Path, BinaryIO, bytes]:
    """The segment by the name that it has now, open, and its first bytes, which say its frames' marker."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        path = path.with_suffix(SEALED)  # it was sealed a moment ago
        file = path.open("rb")
    return path, file, file.read(frames.HEADER_BYTES + 4)


def _scanned(file: BinaryIO, marker: bytes, most: int) -> tuple[bytes, frames.Scan]:
    """About `most` bytes (−1: all) and what they hold; more where no whole record is in them."""
    data = file.read(most)
    found = frames.scan(data, marker)
    while not found.payloads and (more := file.read(max(most, len(data)))):
        data += more
        found = frames.scan(data, marker)
    return data, found


def _identity(path: Path) -> bytes | None:
    with path.open("rb") as file:
        return frames.identity_in(file.read(frames.HEADER_BYTES))


def _keep_aside(path: Path, begin: int, end: int) -> None:
    """A copy of a damaged stretch, once; whoever deletes the segment later deletes nothing unseen."""
    aside = path.parent / DAMAGED / f"{path.stem}-{begin}.bytes"
    if aside.exists():
        return
    logger.error("segment %s: the bytes %d to %d are no records; they are kept in %s", path, begin, end, aside)
    try:
        make_private(aside.parent)
        with path.open("rb") as file:
            file.seek(begin)
            _write_new(aside, file.read(end - begin))
    except OSError as error:
        raise OutsideError(
            f"{path} is damaged from byte {begin} on, and what is damaged could not be kept in {aside}: {error.strerror}.",
            hint="Make room on the disk or make the folder writable.",
        ) from error


def _write_new(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(f".{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(handle, data, 0)
        os.fsync(handle)
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise
    finally:
        os.close(handle)
    sync_folder(path.parent)


def write_all(handle: int, data: bytes, at: int) -> None:
    """Write all of `data` from the offset `at` on: a disk that fills up takes a part at first."""
    written = os.pwrite(handle, data, at)
    while written < len(data):
        written += os.pwrite(handle, data[written:], at + written)


def sync_folder(folder: Path) -> None:
    """New names in `folder` are on the disk when this returns."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
