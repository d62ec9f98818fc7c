"""Who answers which request: the wanted routing as data, and what a router must be able to do."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, runtime_checkable

from holdfast.errors import Refused
from holdfast.store import known_fields

Sticky = Literal["unit", "request"]
_BUCKETS = 1 << 64


@dataclass(frozen=True, kw_only=True)
class Routing:
    """Versions and the canary's share of the units, fenced by `epoch`.

    `epoch` is the number of the ledger event that asked for it, so a later decision always has a higher one. `release`
    names the attempt and salts the assignment: a new release draws new users. `lease_seconds` is how long a router may
    send users to the canary without being told again; after that the champion answers everybody.
    """

    model: str
    epoch: int
    champion: str
    canary: str | None = None
    share: float = 0.0
    release: str | None = None
    lease_seconds: float = 30.0

    def to_json(self) -> dict[str, Any]:
        """The document that `from_json` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """A routing from its document; fields of later releases of Holdfast are ignored."""
        return cls(**known_fields(cls, document))

    def same_as(self, other: Routing) -> bool:
        """Whether both route alike under the same epoch; how long the lease lasts does not count."""
        return dataclasses.replace(self, lease_seconds=other.lease_seconds) == other

    def variant_of(self, unit: str) -> Literal["champion", "canary"]:
        """The variant of `unit`: the same on every replica; raising the share only moves units to the canary."""
        return "canary" if self.canary is not None and drawn(self.release or "", unit) < self.share else "champion"


def drawn(release: str, unit: str) -> float:
    """A number in [0, 1) that depends on the release and the unit only: BLAKE2b keyed with the release."""
    hashed = _keyed(release).copy()
    hashed.update(unit.encode())
    return int.from_bytes(hashed.digest(), "big") / _BUCKETS


@functools.lru_cache(maxsize=64)
def _keyed(release: str) -> Any:
    """The hash before it has seen a unit: making the key costs more than using it, and a gateway draws each request."""
    key = hashlib.blake2b(release.encode(), digest_size=32).digest()
    return hashlib.blake2b(digest_size=8, key=key)


class TrafficRouter(Protocol):
    """What sends requests to versions. Every method raises OutsideError where it cannot be reached.

    `sticky` is "unit" where the same user always gets the same variant, "request" where each request is drawn anew.
    `keeps_lease` is whether it sends everybody to the champion by itself when it was not told again within the routing's
    `lease_seconds`; where it is False the share stays until somebody tells it otherwise.
    """

    name: str
    sticky: Sticky
    keeps_lease: bool

    def read(self) -> Routing | None:
        """What it routes now; None where it was never told. A lapsed lease does not change it."""
        ...

    def apply(self, routing: Routing) -> None:
        """Route so from now on, and renew the lease. Idempotent; Refused (`stale_epoch`) for an older epoch than it has."""
        ...

    def health(self) -> Mapping[str, bool]:
        """Whether each version that it knows answers; a version that it cannot judge is absent."""
        ...


@runtime_checkable
class TellsWhy(Protocol):
    """A router that knows why a version does not answer."""

    def why(self) -> Mapping[str, str]:
        """By version, as the last `health` found it; nothing of those that answer."""
        ...


def fence(now: Routing | None, wanted: Routing) -> None:
    """Refused where `wanted` is older than what a router has, or differs from it under the same epoch."""
    if now is None or wanted.epoch > now.epoch or wanted == now:
        return
    if wanted.epoch == now.epoch and dataclasses.replace(wanted, lease_seconds=now.lease_seconds) == now:
        return
    raise Refused(
        f"the router has epoch {now.epoch} of {now.model}; epoch {wanted.epoch} is stale.",
        hint="Another controller decided later; this one must read the ledger again.",
        reason_code="stale_epoch",
    )
