"""What waits for the next flush: the event loop appends, the flushing thread takes, and there is a limit."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Pending(Generic[Item]):
    """Items with a weight each, together at most `room`; what does not fit is counted in `lost`.

    One thread adds and one takes. A deque's ends are safe to use from both, and each count has one writer.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.lost = 0
        self._items: deque[tuple[Item, int]] = deque()
        self._came = 0
        self._went = 0

    def add(self, item: Item, weight: int = 1) -> None:
        if self._came - self._went + weight > self.room:
            self.lost += 1
            return
        self._came += weight
        self._items.append((item, weight))

    def take(self) -> list[Item]:
        """All that came so far, in its order."""
        items = [self._items.popleft() for _ in range(len(self._items))]
        self._went += sum(weight for _, weight in items)
        return [item for item, _ in items]
