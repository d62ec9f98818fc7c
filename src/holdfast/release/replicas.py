"""Which replicas of the gateway live, and what they serve: each writes one small document again and again.

A document carries a beat. Its readers watch the beat change, each by its own monotonic clock, and no two clocks are compared:
a replica whose document stood still for `patience` seconds is dead to the reader, and long after that the document is removed.
A replica that was only cut off writes it again. A name belongs to one process: one that starts and sees the document under
its name move does not begin, and of two that began together the younger one ends.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from holdfast.errors import Conflict
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
    `why` says of versions that are not ready what is in the way. `process` names the process that writes; of two, the one that
    began earlier has the smaller one.
    """

    id: str
    url: str | None = None
    epoch: int = -1
    serving: bool = False
    versions: Mapping[str, Condition] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    beat: int = 0
    process: str = ""

    def to_json(self) -> dict[str, Any]:
        """The document that `from_json` reads."""
        return {**asdict(self), "versions": dict(self.versions), "why": dict(self.why)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """A replica from its document; fields of later releases of Holdfast are ignored."""
        return cls(**known_fields(cls, document))


class NameTaken(Conflict):
    """Another process lives under this replica's name."""

    reason_code = "name_taken"


class Presence:
    """This process under the name of a replica, whose document nobody else may write meanwhile.

    Methods raise OutsideError where the store is away, NameTaken where another process has the name.
    """

    def __init__(self, store: Store, model: str, name: str) -> None:
        self.store, self.model, self.name = store, model, name
        self.process = f"{time.time_ns():020d}-{secrets.token_hex(8)}"
        self._still: bytes | None = None

    def others(self) -> bytes | None:
        """The document under the name, where another process wrote it."""
        data = self.store.get(replica_key(self.model, self.name))
        found = None if data is None else _read(data)
        return None if found is None or found.process == self.process else data

    def begin(self, seen: bytes | None) -> None:
        """Take the name from the process that wrote `seen`, unless its document has moved since."""
        now = self.others()
        if now is not None and now != seen:
            raise self._taken()
        self._still = now

    def say(self, replica: Replica) -> None:
        """Write the document. Where another process has just done so, the younger of the two ends."""
        data = self.others()
        other = None if data is None or data == self._still else _read(data)
        if other is not None and other.process < self.process:
            raise self._taken()
        announce(self.store, self.model, replace(replica, process=self.process))

    def leave(self) -> None:
        """Remove the document, unless it is another process's."""
        if self.others() is None:
            withdraw(self.store, self.model, self.name)

    def _taken(self) -> NameTaken:
        return NameTaken(
            f"expected to be the only process that is replica {self.name}, found another one that lives.",
            hint="Give each gateway a folder of its own for its log (serving.log.folder), not a copy of another's.",
        )


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
