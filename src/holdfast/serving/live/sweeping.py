"""What replicas and controllers kept under `live/` and nobody needs any more is deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta

from holdfast.evidence.delta import day_of
from holdfast.store import Store

_PROFILE = "profile"


def sweep(store: Store, model: str, living: Callable[[], str | None], now: datetime, keep: timedelta | None) -> int:
    """Delete the summaries and courses of releases that are over, and the profiles of days that ended more than `keep` ago.

    `living` asks for the id of the living release, None for none; how many keys were deleted. Raises OutsideError.
    """
    prefix = f"live/{model}/"
    names = [key.removeprefix(prefix) for key in store.list(prefix)]
    if not names:
        return 0
    before = None if keep is None else day_of(now - keep)
    gone = list(
        obsolete(names, living(), before)
    )  # asked after the listing: of a release that began meanwhile nothing is in it
    for name in gone:
        store.delete(prefix + name)
    return len(gone)


def obsolete(names: Iterable[str], living: str | None, before: date | None) -> Iterator[str]:
    """Which keys under `live/MODEL/` nobody needs. Pure."""
    for name in names:
        head, _, rest = name.partition("/")
        if head == _PROFILE:
            if before is not None and rest[:10] < before.isoformat():
                yield name
        elif living is None or not head.startswith((f"{living}-", f"{living}.")):
            yield name
