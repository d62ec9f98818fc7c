"""Holdfast's own gateway as a router: a document in the store, which every replica follows.

    apply    fence by the epoch ─► write routing/MODEL/EPOCH.json with the next beat ─► nudge the replicas of a new routing
    replica  reads the ledger and its epoch's document a few times a second, and switches by itself (serving/following.py)

The document permits a canary and renews its lease. What replicas obey is the ledger.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

from holdfast.errors import OutsideError
from holdfast.release.replicas import PATIENCE, Condition, Replica, Replicas
from holdfast.release.routers.nudging import nudge
from holdfast.release.routers.told import Told, clear_old, latest_told, tell
from holdfast.release.routers.wanted import checked
from holdfast.release.routing import Routing, Sticky, fence
from holdfast.store import Store

TOKEN = "HOLDFAST_ADMIN_TOKEN"


class GatewayRouter:
    """Steers all replicas that serve `model` from `store`. `token` names the environment variable with their admin token;
    where it is empty nobody is nudged, and replicas follow by themselves.
    """

    name = "holdfast"
    sticky: Sticky = "unit"
    keeps_lease = True

    def __init__(
        self,
        store: Store,
        model: str,
        *,
        token: str = TOKEN,
        patience: float = PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.model, self.token = store, model, token
        self.replicas = Replicas(store, model, patience=patience, monotonic=monotonic)
        self._serving: list[Replica] = []

    def read(self) -> Routing | None:
        told = latest_told(self.store, self.model)
        return None if told is None else told.routing

    def apply(self, routing: Routing) -> None:
        checked(routing)
        before = latest_told(self.store, self.model)
        fence(None if before is None else before.routing, routing)
        renews = before is not None and before.routing.epoch == routing.epoch
        tell(self.store, self.model, Told(routing, before.beat + 1 if before is not None and renews else 0))
        if not renews:
            self._nudge()
            clear_old(self.store, self.model)

    def health(self) -> Mapping[str, bool]:
        """As `TrafficRouter`. The champion answers where any replica says so: one that is ill must not bar the way back of all.
        Every other version answers where all do. While the canary has no share, one that is not loaded yet does not answer.

        Raises OutsideError where no replica serves.
        """
        serving = [replica for replica in self.replicas.living() if replica.serving]
        if not serving:
            raise OutsideError(
                f"no replica of the gateway serves {self.model}.",
                hint="Start one: holdfast serve.",
                reason_code="nobody_serves",
            )
        self._serving = serving
        return health_of(self.read(), serving)

    def why(self) -> Mapping[str, str]:
        """What the replicas said of versions that are not ready, as `health` saw them last."""
        return why_of(self._serving)

    def _nudge(self) -> None:
        token = os.environ.get(self.token)
        if not token:
            return
        try:
            living = self.replicas.living()
        except OutsideError:
            return  # the document is written, which is what counts
        nudge([replica.url for replica in living if replica.url], token)


def health_of(routing: Routing | None, serving: Sequence[Replica]) -> dict[str, bool]:
    """Whether each version answers, as the serving replicas tell it under `routing`. Pure."""
    named = {version for replica in serving for version in replica.versions}
    found: dict[str, bool | None] = {version: _everywhere(_conditions(version, serving)) for version in named}
    if routing is not None:
        if routing.canary is not None:
            found[routing.canary] = _canary(_conditions(routing.canary, serving), warming=routing.share == 0)
        found[routing.champion] = "ready" in _conditions(routing.champion, serving)
    return {version: answer for version, answer in found.items() if answer is not None}


def why_of(serving: Sequence[Replica]) -> dict[str, str]:
    """By version what is in its way, as the first replica says that has something to say of it. Pure."""
    found: dict[str, list[str]] = {}
    for replica in serving:
        for version, why in replica.why.items():
            found.setdefault(version, []).append(f"{why.rstrip('.')} (replica {replica.id})")
    return {version: said[0] + (f" and {len(said) - 1} more" if said[1:] else "") for version, said in found.items()}


def _conditions(version: str, serving: Sequence[Replica]) -> list[Condition | None]:
    return [replica.versions.get(version) for replica in serving]


def _everywhere(conditions: Sequence[Condition | None]) -> bool:
    return all(condition == "ready" for condition in conditions if condition is not None)


def _canary(conditions: Sequence[Condition | None], *, warming: bool) -> bool | None:
    """None where nobody can tell. With a share, a replica that has only just started does not speak against the canary: until
    it has loaded it, the champion answers there, and what it answers is no evidence.
    """
    if warming:
        return all(condition == "ready" for condition in conditions)
    if "failed" in conditions or "dead" in conditions:
        return False
    return True if "ready" in conditions else None
