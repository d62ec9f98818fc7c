"""Routing as a small JSON file that any server or proxy can watch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from holdfast.errors import OutsideError
from holdfast.release.routers.whole_files import locked, write_whole
from holdfast.release.routing import Routing, Sticky, fence


class FileRouter:
    """Writes `path` whole, under a lock beside it, so that of racing controllers the higher epoch stays.

    The document is the routing and `until`, UTC seconds: a reader sends nobody to the canary after that, so the lease
    is kept by whoever reads the file.
    """

    name = "file"
    sticky: Sticky = "unit"
    keeps_lease = True

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self.clock = clock

    def read(self) -> Routing | None:
        try:
            return Routing.from_json(json.loads(self.path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise self._away(error) from None

    def apply(self, routing: Routing) -> None:
        try:
            with locked(self.path.with_suffix(".lock")):
                fence(self.read(), routing)
                document = {**routing.to_json(), "until": self.clock() + routing.lease_seconds}
                write_whole(self.path, json.dumps(document))
        except OSError as error:
            raise self._away(error) from None

    def health(self) -> Mapping[str, bool]:
        return {}

    def _away(self, error: Exception) -> OutsideError:
        return OutsideError(
            f"the routing file {self.path} cannot be used: {error}.",
            hint="Check the folder, its rights and the file's content.",
            reason_code="router_unavailable",
        )
