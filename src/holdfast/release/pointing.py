"""Make a router match the ledger: idempotent, and fenced by the epoch."""

from __future__ import annotations

from holdfast.release.routing import TrafficRouter
from holdfast.release.state import ReleaseState


def point(router: TrafficRouter, state: ReleaseState) -> None:
    """Tell `router` where requests should go, which also renews its lease; nothing before there is a champion.

    Raises OutsideError where it cannot be reached, and Refused (`stale_epoch`) where it was told something later: then this
    state is old.
    """
    wanted = state.routing
    if wanted is not None:
        router.apply(wanted)
