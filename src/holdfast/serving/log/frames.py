"""How payloads lie in a segment file: a header, then frames that can be told from damage. Pure.

    header  magic (7), version (1), identity of the file (8, random), CRC32 of those (4)
    frame   marker (4: the first bytes of the identity), length (4), CRC32 of length and payload (4), payload

All little-endian. The marker is how the next whole frame is found behind a damaged one. It is random for each file, so neither
a client that knows this format nor an old block of the disk can pass for a frame. A length of 0 is never valid, so a tail of
zeros, which a file system may leave after the loss of power, holds no frames.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.errors import Damaged

MAGIC, VERSION = b"HOLDSEG", 1
LONGEST = 1 << 30  # bytes of a payload
_FRAME = struct.Struct("<4sII")
_CHECK = struct.Struct("<I")
_IDENTITY = slice(8, 16)
HEADER_BYTES = 20
FRAME_BYTES = _FRAME.size
_MARKER_BYTES = 4


@dataclass(frozen=True, slots=True)
class Scan:
    """What a stretch of a segment holds. Offsets count from the beginning of what was scanned.

    `end` is behind the last whole frame; `gaps` are the stretches before it that are no frames: damage.
    """

    payloads: list[bytes]
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
            f"expected a segment of version {VERSION}, found version {told[7]}.", hint="A newer Holdfast reads it."
        )
    return told[_IDENTITY]


def marker_in(data: bytes) -> bytes:
    """The marker of a file's frames, from its first bytes; where the header is damaged, what the first frame begins with."""
    identity = identity_in(data)
    return identity[:_MARKER_BYTES] if identity else data[HEADER_BYTES : HEADER_BYTES + _MARKER_BYTES]


def framed(payloads: Sequence[bytes], marker: bytes) -> bytes:
    """The frames of `payloads`, one after the other. ValueError for an empty or absurdly long payload."""
    pack, crc, parts = _FRAME.pack, zlib.crc32, []
    for payload in payloads:
        length = len(payload)
        if not 0 < length <= LONGEST:
            raise ValueError(f"expected a payload of 1 to {LONGEST} bytes, found {length}")
        parts.append(pack(marker, length, crc(payload, length)))
        parts.append(payload)
    return b"".join(parts)


def scan(data: bytes, marker: bytes) -> Scan:
    """All whole frames of `data`, which begins where a frame should begin."""
    unpack, crc, head, size = _FRAME.unpack_from, zlib.crc32, FRAME_BYTES, len(data)
    payloads: list[bytes] = []
    gaps: list[tuple[int, int]] = []
    at = 0
    while at + head < size:
        found, length, check = unpack(data, at)
        payload = data[at + head : at + head + length]
        if found == marker and 0 < length == len(payload) and crc(payload, length) == check:
            payloads.append(payload)
            at += head + length
            continue
        following = _next_frame(data, at + 1, marker)
        if following is None:
            break
        gaps.append((at, following))
        at = following
    return Scan(payloads, at, gaps)


def count(data: bytes, marker: bytes) -> tuple[int, int]:
    """How many frames follow each other from the beginning of `data` on, by their lengths alone, and where they end."""
    at = found = 0
    while at + FRAME_BYTES < len(data):
        mark, length, _ = _FRAME.unpack_from(data, at)
        if mark != marker or not 0 < length <= len(data) - at - FRAME_BYTES:
            break
        at += FRAME_BYTES + length
        found += 1
    return found, at


def is_torn(tail: bytes, marker: bytes) -> bool:
    """Whether `tail`, which holds no whole frame, is what a write leaves that was cut off: zeros, or a frame's beginning."""
    if not tail.strip(b"\0"):
        return True
    if len(tail) < FRAME_BYTES:
        return tail[:_MARKER_BYTES] == marker[: len(tail)]
    found, length, _ = _FRAME.unpack_from(tail)
    return bool(found == marker and len(tail) - FRAME_BYTES < length <= LONGEST)


def _next_frame(data: bytes, begin: int, marker: bytes) -> int | None:
    """Where the first whole frame at or behind `begin` begins."""
    at = data.find(marker, begin)
    while 0 <= at < len(data) - FRAME_BYTES:
        _, length, check = _FRAME.unpack_from(data, at)
        payload = data[at + FRAME_BYTES : at + FRAME_BYTES + length] if length <= LONGEST else b""
        if 0 < length == len(payload) and zlib.crc32(payload, length) == check:
            return at
        at = data.find(marker, at + 1)
    return None
