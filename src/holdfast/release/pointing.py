"""Make a router match the ledger: idempotent, and fenced by the epoch."""

from __future__ import annotations

from holdfast.errors import OutsideError
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


def point_recorded(router: TrafficRouter, state: ReleaseState) -> None:
    """`point` after a person's command was written: where the router is away, OutsideError says that nothing is lost."""
    try:
        point(router, state)
    except OutsideError as error:
        raise OutsideError(
            f"it is recorded, but the router was not told: {error.message}",
            hint="A running controller tells it as soon as it answers; so does `holdfast release reconcile`.",
            reason_code=error.reason_code,
        ) from None
