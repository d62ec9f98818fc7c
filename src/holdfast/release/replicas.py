"""Which replicas of the gateway live, and what they serve: each writes one small document again and again.

A document carries a beat. Its readers watch the beat change, each by its own monotonic clock, and no two clocks are compared:
a replica whose document stood still for `patience` seconds is dead to the reader, and long after that the document is removed.
A replica that was only cut off writes it again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from holdfast.store import Store, canonical_json, known_fields

EVERY = 3.0  # seconds between two beats
PATIENCE = 12.0
_REMOVED_AFTER = 600.0

Condition = Literal["loading", "ready", "failed", "dead"]


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One replica as it tells of itself.

    `url` is where its admin port answers (None: it cannot be nudged), `epoch` the routing that its requests see now (−1: none),
    `serving` whether it answers requests at all. `versions` says how each version is here: `loading` (or waiting for registry
    or store), `ready` (loaded, warm, alive), `failed` (it could not be loaded, or did not warm up), `dead` (loaded, no answer).
    """

    id: str
    url: str | None = None
    epoch: int = -1
    serving: bool = False
    versions: Mapping[str, Condition] = field(default_factory=dict)
    beat: int = 0

    def to_json(self) -> dict[str, Any]:
        """The document that `from_json` reads."""
        return {**asdict(self), "versions": dict(self.versions)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """A replica from its document; fields of later releases of Holdfast are ignored."""
        return cls(**known_fields(cls, document))


def announce(store: Store, model: str, replica: Replica) -> None:
    """Write the replica's document. Raises OutsideError where the store is away."""
    store.put(replica_key(model, replica.id), canonical_json(replica.to_json()))


def withdraw(store: Store, model: str, replica: str) -> None:
    """Say that the replica of this id has ended."""
    store.delete(replica_key(model, replica))


def replica_key(model: str, replica: str) -> str:
    """Where the document of a replica is kept."""
    return f"replicas/{model}/{replica}.json"


class Replicas:
    """A reader of all replicas of `model`."""

    def __init__(
        self,
        store: Store,
        model: str,
        *,
        patience: float = PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.model, self.patience = store, model, patience
        self._monotonic = monotonic
        self._seen: dict[str, tuple[bytes, float]] = {}

    def living(self) -> list[Replica]:
        """Those whose beat has moved lately, or is seen for the first time; sorted. Raises OutsideError: the store is away."""
        keys = self.store.list(replica_key(self.model, "").removesuffix(".json"))
        found = [(key, self.store.get(key)) for key in keys]
        self._seen = {key: self._seen[key] for key in keys if key in self._seen}
        replicas = [_read(data) for key, data in found if data is not None and self._lives(key, data)]
        return [replica for replica in replicas if replica is not None]

    def _lives(self, key: str, data: bytes) -> bool:
        now = self._monotonic()
        seen, since = self._seen.get(key, (b"", now))
        if data != seen:
            self._seen[key] = (data, now)
            return True
        if now - since > _REMOVED_AFTER:
            self.store.delete(key)
        return now - since <= self.patience


def _read(data: bytes) -> Replica | None:
    """A replica; None where the document cannot be read, which is as good as no replica."""
    try:
        return Replica.from_json(json.loads(data))
    except (ValueError, TypeError, AttributeError):
        return None
