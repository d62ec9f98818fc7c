"""One event: small, immutable, and bound to the one before it by hash. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from holdfast.errors import Damaged
from holdfast.store import canonical_json, digest

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Event:
    """What happened, and by whose word.

    `id` is random, so that of two writers with the same words each knows its own; `number` counts from 0 within
    `stream`; `time` is UTC text; `who` is a claim; `ci` holds the actor and the run's URL where a CI ran it; `evidence`
    maps a name to a digest or URI; `previous` is the digest of the event before, None for the first; `digest` is of this
    event's stored bytes.
    """

    stream: str
    number: int
    type: str
    time: str
    who: str
    id: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, str] = field(default_factory=dict)
    type_version: int = 1
    ci: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    previous: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The stored document."""
        return {
            "format": FORMAT,
            "stream": self.stream,
            "number": self.number,
            "type": self.type,
            "type_version": self.type_version,
            "time": self.time,
            "id": self.id,
            "who": self.who,
            "ci": dict(self.ci),
            "commit": self.commit,
            "payload": dict(self.payload),
            "evidence": dict(self.evidence),
            "previous": self.previous,
        }

    def to_bytes(self) -> bytes:
        """The stored bytes: canonical, so that equal events have equal digests."""
        return canonical_json(self.to_json())

    @cached_property
    def digest(self) -> str:
        return digest(self.to_bytes())


def read_event(data: bytes, key: str) -> Event:
    """The event in `data`; Damaged where the bytes are not exactly those of an event."""
    try:
        document = json.loads(data)
        event = Event(**{name: value for name, value in document.items() if name != "format"})
        same = document["format"] == FORMAT and event.to_bytes() == data
    except (ValueError, TypeError, KeyError, AttributeError):
        same = False
    if not same:
        raise Damaged(f"the ledger's {key} is not the event that was written.", hint="Type `holdfast ledger verify`.")
    return event
