"""How many requests may be under way: what comes above that is refused at once, and the canary is shed before anybody is."""

from __future__ import annotations

import math


class Overloaded(Exception):
    """There is no room for another request (HTTP 503, with Retry-After)."""


class Admission:
    """Counts requests under way, at most `limit`. From `canary_from` (a fraction of it) on the gateway is pressed.

    It lives on one event loop and needs no lock.
    """

    def __init__(self, limit: int, canary_from: float = 1.0) -> None:
        self.limit = limit
        self.under_way = 0
        self.refused = 0
        self._pressed_from = max(1, math.ceil(limit * canary_from))

    @property
    def is_full(self) -> bool:
        """Whether the next request is refused."""
        return self.under_way >= self.limit

    @property
    def is_pressed(self) -> bool:
        """Whether requests are answered by the champion only."""
        return self.under_way > self._pressed_from

    def enter(self) -> None:
        """Take a place. Raises Overloaded where there is none."""
        if self.under_way >= self.limit:
            self.refused += 1
            raise Overloaded(f"{self.limit} requests are under way, which is all that this replica takes.")
        self.under_way += 1

    def leave(self) -> None:
        """Give the place back."""
        self.under_way -= 1
