"""What controllers told the gateway: for each epoch one document, a routing and a beat that says that somebody stands by it.

The store has no compare-and-swap, so one document for all would let a controller that fell asleep between reading and writing
put its old word over a later one. Here it renews what it knew, and nobody looks there any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from holdfast.errors import Damaged, UserError
from holdfast.release.routers.wanted import checked
from holdfast.release.routing import Routing
from holdfast.store import Store, canonical_json


@dataclass(frozen=True)
class Told:
    """`beat` rises with every telling, so a reader sees by its own clock how long ago somebody stood by `routing`."""

    routing: Routing
    beat: int

    def to_bytes(self) -> bytes:
        """The document that `read_told` reads."""
        return canonical_json({"routing": self.routing.to_json(), "beat": self.beat})


def told_key(model: str, epoch: int) -> str:
    """Where the document of an epoch is kept."""
    return f"routing/{model}/{epoch:08d}.json"


def read_told(data: bytes | None, key: str) -> Told | None:
    """The document in `data`; None for None. Damaged where it is none: documents are written whole, so somebody changed it."""
    if data is None:
        return None
    try:
        document = json.loads(data)
        return Told(checked(Routing.from_json(document["routing"])), int(document["beat"]))
    except (ValueError, TypeError, KeyError, AttributeError, UserError) as error:
        raise Damaged(
            f"{key} in the store does not say who answers: {error}.",
            hint="Remove it: a controller writes it again from the ledger.",
        ) from None


def latest_told(store: Store, model: str) -> Told | None:
    """What was told under the highest epoch; None where nothing was. Raises OutsideError, Damaged."""
    keys = _keys(store, model)
    return read_told(store.get(keys[-1]), keys[-1]) if keys else None


def tell(store: Store, model: str, told: Told) -> None:
    """Write the document of its epoch. Raises OutsideError where the store is away."""
    store.put(told_key(model, told.routing.epoch), told.to_bytes())


def clear_old(store: Store, model: str) -> None:
    """Remove all documents but the latest two: a replica may be at the one before."""
    for key in _keys(store, model)[:-2]:
        store.delete(key)


def _keys(store: Store, model: str) -> list[str]:
    """Keys of all documents, the highest epoch last (they have as many digits as the ledger's)."""
    return store.list(f"routing/{model}/")
