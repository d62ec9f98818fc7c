"""HAProxy's map as compare-and-swap: of writers on any hosts, one that looked at an older content never wins."""

from __future__ import annotations

import time
from dataclasses import dataclass

from holdfast.release.routers.haproxy_entry import KEY, Entry, Slot
from holdfast.release.routers.haproxy_runtime import MapState, RuntimeSocket, first_line
from holdfast.release.routing import Routing

_TRIES = 20
_LOOK_AGAIN_SECONDS = 0.05
_WRITING_SECONDS = 0.5  # whoever prepares a content commits it within half of this time, or not at all


class Moved(Exception):
    """Somebody else wrote first: no error, one looks again."""


@dataclass(frozen=True)
class Held:
    """What HAProxy holds: the map's state, and its entry read."""

    state: MapState
    entry: Entry | None

    @property
    def routing(self) -> Routing | None:
        return None if self.entry is None else self.entry.routing

    @property
    def slot(self) -> Slot:
        """The slot that answers as champion now; an empty map means blue, as the configuration says."""
        return "blue" if self.entry is None else self.entry.slot


class RoutingMap:
    """The one entry of the map that stands in the file PREFIX.map. Every method raises OutsideError without HAProxy."""

    def __init__(self, runtime: RuntimeSocket, prefix: str) -> None:
        self.runtime = runtime
        self.file_name = f"{prefix}.map"

    def held(self, path: str | None = None) -> Held:
        """What HAProxy holds now; `path` is the map's file there, where it is known already."""
        state = self.runtime.map_state(self.file_name, path or self.runtime.map_state(self.file_name).path)
        return Held(state, None if state.text is None else Entry.parse(state.text))

    def swap(self, held: Held, entry: Entry) -> Held:
        """Write `entry` in place of exactly what is held. Raises Moved where HAProxy holds something else by now.

        HAProxy refuses to commit a content whose number is lower than the current one, so whoever prepares after us and
        commits before us wins. Where numbers below ours are open we wait until they are closed or surely dead.
        """
        path, text, dead = held.state.path, entry.text(), -1
        for _ in range(_TRIES):
            began = time.monotonic()
            number = self.runtime.prepared(path)
            state = self._unmoved(held, path)
            if number - 1 <= max(state.current, dead):
                self._commit(path, number, text, began + _WRITING_SECONDS / 2)
                return self._written(entry, path, text)
            dead = self._dead(held, state)
        raise Moved

    def _dead(self, held: Held, state: MapState) -> int:
        """The latest number, once it has stood for as long as nobody takes to commit. Waiting takes no number itself, so
        that the first to have waited long enough goes ahead. Raises Moved where somebody commits.
        """
        since = time.monotonic()
        while time.monotonic() - since < _WRITING_SECONDS:
            time.sleep(_LOOK_AGAIN_SECONDS)
            now = self._unmoved(held, state.path)
            if now.latest != state.latest:
                state, since = now, time.monotonic()
        return state.latest

    def _commit(self, path: str, number: int, text: str, latest: float) -> None:
        """Raises Moved where HAProxy refuses the number, or the monotonic clock has passed `latest`."""
        answer = self.runtime.ask(f"add map @{number} {path} {KEY} {text}").strip()
        if time.monotonic() > latest:
            raise Moved
        answer = answer or self.runtime.ask(f"commit map @{number} {path}").strip()
        if "Version number" in answer:
            self.runtime.ask(f"clear map @{number} {path}")
            raise Moved
        if answer:
            raise self.runtime.away(f"refused to change its map: {first_line(answer)}")

    def _unmoved(self, held: Held, path: str) -> MapState:
        state = self.runtime.map_state(self.file_name, path)
        if state.text != held.state.text:
            raise Moved
        return state

    def _written(self, entry: Entry, path: str, text: str) -> Held:
        """Read back."""
        state = self.runtime.map_state(self.file_name, path)
        if state.text != text:
            raise Moved
        return Held(state, entry)
