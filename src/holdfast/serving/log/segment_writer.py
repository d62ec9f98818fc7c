"""The end of a stream that grows: frames appended to an open segment, which is sealed when it is large or old."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from holdfast.serving.log import frames
from holdfast.serving.log.claims import Claim
from holdfast.serving.log.segments import OPEN, SEALED, make_private, repair, seal_orphans, sync_folder, write_all

_ROOM = 1 << 20  # bytes reserved at once: a sync takes half as long where the file does not grow
_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)

logger = logging.getLogger(__name__)


class SegmentWriter:
    """The end of a stream that grows. One thread at a time; methods raise OSError.

    `replica` is the name in fact claimed: `wanted`, or another one where a living process has it. A segment is sealed when it
    has `segment_bytes`, or is older than `segment_seconds` at the next `append` or `rotate_if_due`. With `durable` the bytes
    are on the disk when `append` returns.
    """

    def __init__(
        self,
        folder: str | Path,
        stream: str,
        wanted: str,
        *,
        durable: bool = True,
        segment_bytes: int = 64 * 2**20,
        segment_seconds: float = 10.0,
    ) -> None:
        self.folder = Path(folder) / stream
        self.durable, self.segment_bytes, self.segment_seconds = durable, segment_bytes, segment_seconds
        make_private(self.folder)
        self._claim = Claim.take(self.folder, wanted)
        self.replica = self._claim.name
        self._path, self._handle, self._marker = Path(), -1, b""
        self._size, self._reserved, self._begun = 0, 0, 0.0
        self._unfinished: list[Path] = []
        try:
            seal_orphans(folder, stream, mine=self.replica)
        except BaseException:
            self._claim.release()
            raise

    def append(self, payloads: Sequence[bytes]) -> int:
        """Write all of them; how many bytes that took. After an OSError none of them is in the log.

        What failed is cut off and its segment sealed, so that an offset in a file never means two different things.
        """
        self.rotate_if_due()
        if self._handle < 0:
            self._begin()
        data = frames.framed(payloads, self._marker)
        try:
            self._reserve(len(data))
            write_all(self._handle, data, self._size)
            if self.durable:
                _sync(self._handle)
        except OSError:
            self.seal()
            raise
        self._size += len(data)
        return len(data)

    def rotate_if_due(self) -> None:
        """Seal the segment if it is large or old enough."""
        is_old = time.monotonic() - self._begun >= self.segment_seconds
        if self._handle >= 0 and (self._size >= self.segment_bytes or is_old):
            self.seal()

    def seal(self) -> None:
        """Make what was written so far ready for compaction; never raises: what cannot be sealed now is sealed later."""
        if self._handle < 0:
            return
        path, handle, size = self._path, self._handle, self._size
        self._handle = -1
        try:
            if os.fstat(handle).st_size != size:  # what was reserved, or what a write that failed left
                os.ftruncate(handle, size)
                os.fsync(handle)
            self._finish(path, size)
        except OSError as error:
            logger.warning("segment %s could not be sealed: %s", path, error.strerror)
            self._unfinished.append(path)
        finally:
            with contextlib.suppress(OSError):
                os.close(handle)

    def check(self) -> None:
        """Whether there is room to go on; raises OSError where there is none. Writes no record."""
        if self._handle < 0:
            self._begin()
        try:
            self._reserved = self._size
            self._reserve(_ROOM)
            if self.durable:
                _sync(self._handle)
        except OSError:
            self.seal()
            raise

    def close(self) -> None:
        """Seal what is open and let go of the name."""
        self.seal()
        self._claim.release()

    def _begin(self) -> None:
        """A new segment; its name is on the disk, and its header will be with the first group."""
        self._repair_unfinished()
        path = self.folder / f"{self.replica}-{self._claim.next_number():013d}{OPEN}"
        identity = secrets.token_bytes(8)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            write_all(handle, frames.header(identity), 0)
            if self.durable:
                sync_folder(self.folder)
        except OSError:
            os.close(handle)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self._path, self._handle, self._marker = path, handle, identity[:4]
        self._size = self._reserved = frames.HEADER_BYTES
        self._begun = time.monotonic()

    def _reserve(self, size: int) -> None:
        """Have room for `size` more bytes, zeros until they are written. OSError where the disk has none."""
        if self._size + size > self._reserved and hasattr(os, "posix_fallocate"):
            room = max(size, _ROOM)
            os.posix_fallocate(self._handle, self._size, room)
            self._reserved = self._size + room

    def _finish(self, path: Path, size: int) -> None:
        if size <= frames.HEADER_BYTES:
            path.unlink()
            return
        path.rename(path.with_suffix(SEALED))  # not synced: a name that is lost with the power is repaired to the same

    def _repair_unfinished(self) -> None:
        while self._unfinished:
            with contextlib.suppress(FileNotFoundError):
                repair(self._unfinished[-1])
            self._unfinished.pop()
