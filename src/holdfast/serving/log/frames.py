"""How payloads lie in a segment file: a header, then frames that can be told from damage. Pure.

    header  magic (7), version (1), identity of the file (8, random), CRC32 of those (4)
    frame   marker (4: the first bytes of the identity), number of payloads (4), bytes behind this head (4),
            CRC32 of all but marker and itself (4), the length of each payload (4 each), the payloads

All little-endian. A frame has what was written together, up to 64 KiB or one payload that is longer: one sum is quicker than
one for each, and damage costs a frame. The marker is how the next whole frame is found behind a damaged one. It is random for
each file, so neither a client that knows this format nor an old block of the disk can pass for a frame. A number of 0 is never
valid, so a tail of zeros, which a file system may leave after the loss of power, holds no frames.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from holdfast.errors import Damaged
from holdfast.serving.log.payloads import Payloads

MAGIC, VERSION = b"HOLDSEG", 2
LONGEST = 1 << 30  # bytes of a payload
MOST = 1 << 16  # bytes of a frame's lengths and payloads, unless it has only one
_FRAME = struct.Struct("<4sIII")
_COUNTED, _CHECK = struct.Struct("<II"), struct.Struct("<I")
_IDENTITY = slice(8, 16)
HEADER_BYTES = 20
FRAME_BYTES = _FRAME.size
LENGTH_BYTES = 4
_MARKER_BYTES = 4


@dataclass(frozen=True, slots=True)
class Scan:
    """What a stretch of a segment holds. Offsets count from the beginning of what was scanned.

    `end` is behind the last whole frame; `gaps` are the stretches before it that are no frames: damage.
    """

    payloads: Payloads
    end: int
    gaps: list[tuple[int, int]]


def header(identity: bytes) -> bytes:
    """The first bytes of a file; `identity` is 8 random bytes."""
    told = MAGIC + bytes([VERSION]) + identity
    return told + _CHECK.pack(zlib.crc32(told))


def identity_in(data: bytes) -> bytes | None:
    """The identity that a file's first bytes hold; None where they are damaged or torn. Damaged for an unknown version."""
    told, check = data[: HEADER_BYTES - 4], data[HEADER_BYTES - 4 : HEADER_BYTES]
    if len(data) < HEADER_BYTES or _CHECK.pack(zlib.crc32(told)) != check or not told.startswith(MAGIC):
        return None
    if told[7] != VERSION:
        raise Damaged(
            f"expected a segment of version {VERSION}, found version {told[7]}.",
            hint="The release of Holdfast that wrote it reads it.",
        )
    return told[_IDENTITY]


def marker_in(data: bytes) -> bytes:
    """The marker of a file's frames, from its first bytes; where the header is damaged, what the first frame begins with."""
    identity = identity_in(data)
    return identity[:_MARKER_BYTES] if identity else data[HEADER_BYTES : HEADER_BYTES + _MARKER_BYTES]


def framed(payloads: Sequence[bytes], marker: bytes) -> bytes:
    """The frames of `payloads`, one after the other. ValueError for an empty or absurdly long payload."""
    sizes = list(map(len, payloads))
    if not 0 < min(sizes) <= max(sizes) <= LONGEST:
        raise ValueError(f"expected payloads of 1 to {LONGEST} bytes, found {min(sizes)} to {max(sizes)}")
    if LENGTH_BYTES * len(sizes) + sum(sizes) <= MOST:
        return _frame(payloads, sizes, marker)
    shared = _shared(sizes)
    return b"".join(_frame(payloads[begin:end], sizes[begin:end], marker) for begin, end in pairwise(shared))


def scan(data: bytes, marker: bytes) -> Scan:
    """All whole frames of `data`, which begins where a frame should begin. Damaged for frames that we would not write."""
    view = memoryview(data)
    found: list[tuple[int, int, int]] = []
    gaps: list[tuple[int, int]] = []
    at = 0
    while at + FRAME_BYTES < len(data):
        if (frame := _whole(view, at, marker)) is not None:
            found.append((at, *frame))
            at = frame[1]
            continue
        following = _next_frame(data, at + 1, marker)
        if following is None:
            break
        gaps.append((at, following))
        at = following
    return Scan(_payloads(data, found), at, gaps)


def count(data: bytes, marker: bytes) -> tuple[int, int]:
    """How many payloads follow each other from the beginning of `data` on, by the frames' heads alone, and where they end."""
    at = found = 0
    while at + FRAME_BYTES < len(data):
        mark, number, length, _ = _FRAME.unpack_from(data, at)
        if mark != marker or not 0 < length <= len(data) - at - FRAME_BYTES:
            break
        at += FRAME_BYTES + length
        found += number
    return found, at


def is_torn(tail: bytes, marker: bytes) -> bool:
    """Whether `tail`, which holds no whole frame, is what a write leaves that was cut off: zeros, or a frame's beginning."""
    if not tail.strip(b"\0"):
        return True
    if len(tail) < FRAME_BYTES:
        return tail[:_MARKER_BYTES] == marker[: len(tail)]
    found, _, length, _ = _FRAME.unpack_from(tail)
    return bool(found == marker and len(tail) - FRAME_BYTES < length <= LONGEST + LENGTH_BYTES)


def _frame(payloads: Sequence[bytes], sizes: Sequence[int], marker: bytes) -> bytes:
    body = struct.pack(f"<{len(sizes)}I", *sizes) + b"".join(payloads)
    counted = _COUNTED.pack(len(sizes), len(body))
    return marker + counted + _CHECK.pack(zlib.crc32(body, zlib.crc32(counted))) + body


def _shared(sizes: Sequence[int]) -> Iterator[int]:
    """Where each frame begins, as the number of its first payload, and the end."""
    within = 0
    for place, size in enumerate(sizes):
        within += LENGTH_BYTES + size
        if place == 0 or within > MOST:
            yield place
            within = LENGTH_BYTES + size
    yield len(sizes)


def _whole(view: memoryview, at: int, marker: bytes) -> tuple[int, int] | None:
    """How many payloads the frame that begins at `at` has, and where it ends; None where no whole frame does."""
    found, number, length, check = _FRAME.unpack_from(view, at)
    begin, end = at + FRAME_BYTES, at + FRAME_BYTES + length
    if found != marker or not 0 < LENGTH_BYTES * number < length or end > len(view):
        return None
    counted = view[at + _MARKER_BYTES : begin - _CHECK.size]
    return (number, end) if zlib.crc32(view[begin:end], zlib.crc32(counted)) == check else None


def _next_frame(data: bytes, begin: int, marker: bytes) -> int | None:
    """Where the first whole frame at or behind `begin` begins."""
    view = memoryview(data)
    at = data.find(marker, begin)
    while 0 <= at < len(data) - FRAME_BYTES:
        if _whole(view, at, marker):
            return at
        at = data.find(marker, at + 1)
    return None


def _payloads(data: bytes, found: Sequence[tuple[int, int, int]]) -> Payloads:
    """What lies in whole frames, given of each where it begins, how many payloads it has, and where it ends."""
    tables = [data[at + FRAME_BYTES : at + FRAME_BYTES + LENGTH_BYTES * number] for at, number, _ in found]
    sizes = np.frombuffer(b"".join(tables), "<u4").astype(np.int64)
    begins, numbers, frame_ends = np.array(found, np.int64).reshape(-1, 3).T
    sums, last = np.cumsum(sizes), np.cumsum(numbers) - 1
    ends = sums + np.repeat(frame_ends - sums[last], numbers)
    firsts = (ends - sizes)[last - numbers + 1]
    if not np.array_equal(firsts, begins + FRAME_BYTES + LENGTH_BYTES * numbers):
        raise Damaged("expected frames as long as the payloads in them, found another length.")
    return Payloads(data, ends - sizes, ends)
