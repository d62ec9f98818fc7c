"""How far a follower of the segments has come: a small file beside them, so that nothing is deleted before it was sent."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from holdfast.serving.log.segments import SEALED, place

_NAME = "kafka.cursor"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """In one replica's segments: everything before `offset` of segment `number` was followed, `records` of that segment."""

    number: int
    offset: int = 0
    records: int = 0


def read_cursor(within: Path) -> dict[str, Place] | None:
    """The place in each replica's segments in the folder `within`; None where nobody follows them. Raises OSError.

    A cursor that cannot be read is the beginning: what was sent is sent again, nothing is left out.
    """
    try:
        text = (within / _NAME).read_text()
    except FileNotFoundError:
        return None
    try:
        return {replica: Place(*map(int, numbers)) for replica, numbers in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        logger.exception("the cursor %s cannot be read: all segments are sent again", within / _NAME)
        return {}


def write_cursor(within: Path, places: dict[str, Place]) -> None:
    """Replace the cursor at once. Raises OSError."""
    document = {replica: [found.number, found.offset, found.records] for replica, found in places.items()}
    temporary = within / f".{_NAME}"
    with temporary.open("w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(within / _NAME)


def is_shipped(segment: Path) -> bool:
    """Whether a sealed segment may be deleted: it was followed to its end, or nobody follows. Raises OSError."""
    places = read_cursor(segment.parent)
    if places is None:
        return True
    replica, number = place(segment)
    found = places.get(replica, Place(0))
    if found.number != number:
        return found.number > number
    path = segment.with_suffix(SEALED)
    return not path.exists() or found.offset >= path.stat().st_size


def drop_cursor(folder: str | Path, stream: str) -> None:
    """Nobody follows the stream any more, so nothing waits for it. Raises OSError."""
    (Path(folder) / stream / _NAME).unlink(missing_ok=True)
