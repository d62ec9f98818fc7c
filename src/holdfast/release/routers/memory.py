"""A router in this process: for tests, for a model served in the same process, and to try Holdfast without one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from holdfast.errors import OutsideError
from holdfast.release.routing import Routing, Sticky, fence


class MemoryRouter:
    """Keeps the routing, with its lease on a monotonic clock in seconds. `broken` holds versions that do not answer;
    `away` makes every call fail as a router does that cannot be reached.
    """

    name = "memory"
    sticky: Sticky = "unit"
    keeps_lease = True

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.broken: set[str] = set()
        self.away = False
        self._routing: Routing | None = None
        self._told = 0.0
        self._lock = threading.Lock()

    def read(self) -> Routing | None:
        self._reach()
        return self._routing

    def apply(self, routing: Routing) -> None:
        self._reach()
        with self._lock:
            fence(self._routing, routing)
            self._routing, self._told = routing, self.clock()

    def health(self) -> Mapping[str, bool]:
        self._reach()
        now = self._routing
        known = () if now is None else (now.champion, *([now.canary] if now.canary else []))
        return {version: version not in self.broken for version in known}

    def answers(self, unit: str) -> str:
        """The version that answers `unit` now; the champion's once the lease has lapsed."""
        now = self._routing
        if now is None:
            raise OutsideError("the router was never told where to send requests.")
        lapsed = self.clock() - self._told > now.lease_seconds
        canary = not lapsed and now.variant_of(unit) == "canary"
        return str(now.canary) if canary else now.champion

    def _reach(self) -> None:
        if self.away:
            raise OutsideError("the router in memory is away.", reason_code="router_unavailable")
