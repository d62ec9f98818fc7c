"""Which of several controllers acts: a lease in the store, with a token that only rises.

A token is taken by put-if-absent of the next number, so exactly one of any number of racers has it. Its holder writes a beat
beside it; the others watch the beat change, each by its own monotonic clock, and take the next token when it has stood still
for `patience` seconds. No two clocks are ever compared. The token is no protection by itself: a holder that was asleep finds
that a higher one exists before it acts, the ledger takes its events only at the expected number, and routers refuse older
epochs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from holdfast.store import Store, canonical_json

PATIENCE = 6.0


class Lease:
    """The right to act for `model`; `holder` names this controller. Methods raise OutsideError where the store is away.

    Both clocks are of real seconds, as the routers' leases are, whatever clock evidence is judged by. `wall` is UTC, written
    for people and for whoever takes over; only `idle_before` compares it with another machine's, and never goes below what was
    watched here.
    """

    def __init__(
        self,
        store: Store,
        model: str,
        holder: str,
        *,
        patience: float = PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.store, self.holder, self.patience = store, holder, patience
        self.token: int | None = None
        self.idle_before: float | None = None
        self._prefix = f"leases/{model}/"
        self._monotonic, self._wall = monotonic, wall
        self._beats = 0
        self._beaten = 0.0
        self._seen: tuple[int, bytes | None] | None = None
        self._since = 0.0

    def hold(self) -> int | None:
        """Our token if we may act now, else None. After taking over, `idle_before` is for how many seconds nobody held it."""
        latest, now = self._latest(), self._monotonic()
        if self.token is not None and latest == self.token:
            if now - self._beaten > self.patience / 3:
                self._beat()
            return self.token
        self.token = None
        if latest > 0 and not self._is_dead(latest, now):
            return None
        return self._take(latest, now)

    def release(self) -> None:
        """Let go, so that another may act at once."""
        if self.token is not None and self._latest() == self.token:
            self.store.put(self._beat_key(self.token), canonical_json({"released": True, "at": self._wall()}))
        self.token = None

    def _latest(self) -> int:
        names = (key.removeprefix(self._prefix) for key in self.store.list(self._prefix))
        return max((int(name[:8]) for name in names if name.endswith(".json")), default=0)

    def _is_dead(self, token: int, now: float) -> bool:
        seen = (token, self.store.get(self._beat_key(token)))
        if _read(seen[1]).get("released"):
            return True
        if seen != self._seen:
            self._seen, self._since = seen, now
            return False
        return now - self._since >= self.patience

    def _take(self, latest: int, now: float) -> int | None:
        token, wall = latest + 1, self._wall()
        claim = canonical_json({"holder": self.holder, "at": wall})
        if not self.store.put_if_absent(f"{self._prefix}{token:08d}.json", claim):
            return None
        last = _read(self.store.get(self._beat_key(latest)) if latest else None).get("at")
        watched = now - self._since if self._seen is not None and self._seen[0] == latest else 0.0
        self.idle_before = max(wall - last, watched) if isinstance(last, (int, float)) else None
        self.token, self._beats = token, 0
        self._beat()
        older = latest - 1  # the one before stays: a reader may be at it
        for key in (f"{self._prefix}{older:08d}.json", self._beat_key(older)):
            self.store.delete(key)
        return token

    def _beat(self) -> None:
        assert self.token is not None  # noqa: S101 - only a holder beats
        self._beats += 1
        self.store.put(self._beat_key(self.token), canonical_json({"beat": self._beats, "at": self._wall()}))
        self._beaten = self._monotonic()

    def _beat_key(self, token: int) -> str:
        return f"{self._prefix}{token:08d}.beat"


def _read(data: bytes | None) -> dict[str, Any]:
    """A beat; empty where there is none that can be read."""
    try:
        document = json.loads(data or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
