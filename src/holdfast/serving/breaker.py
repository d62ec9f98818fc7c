"""When a replica stops asking a canary by itself: too many of its users met a fault within a short time. Pure."""

from __future__ import annotations

from collections.abc import Hashable


class Breaker:
    """Opens at `faults` faults of different units within `window` seconds, and stays open for that release.

    Units and not requests are counted, so that one client who repeats a request cannot take a canary away. A new release
    closes it; a new share of the same release does not.
    """

    def __init__(self, faults: int, window: float) -> None:
        self.faults, self.window = faults, window
        self.release: str | None = None
        self.reason: str | None = None
        self._latest: dict[Hashable, float] = {}  # of each unit, oldest first; never more than `faults`

    @property
    def is_open(self) -> bool:
        """Whether nobody is sent to the canary any more."""
        return self.reason is not None

    def follow(self, release: str | None) -> None:
        """The release that is routed now (None: none, or its lease is over). Another one starts with nothing against it."""
        if release is not None and release != self.release:
            self.release, self.reason = release, None
            self._latest.clear()

    def fault(self, unit: Hashable, fault: str, at: float) -> bool:
        """A fault of the canary that the champion did not have; `at` in seconds of a clock that only rises.

        True where this one opened the breaker.
        """
        if self.is_open:
            return False
        self._latest.pop(unit, None)
        self._latest[unit] = at
        self._latest = {unit: last for unit, last in self._latest.items() if last >= at - self.window}
        if len(self._latest) < self.faults:
            return False
        self.reason = (
            f"{len(self._latest)} units met faults of the canary within {self.window:g} s, the last one: {fault}"
        )
        return True
