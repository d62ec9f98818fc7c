"""Routing as a small JSON file that any server or proxy can watch."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.errors import OutsideError
from holdfast.release.routing import Routing, Sticky, fence


class FileRouter:
    """Writes `path` whole, under a lock beside it, so that of racing controllers the higher epoch stays.

    The document is the routing and `until`, UTC seconds: a reader sends nobody to the canary after that.
    """

    name = "file"
    sticky: Sticky = "unit"

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
        with self._locked():
            fence(self.read(), routing)
            self._write({**routing.to_json(), "until": self.clock() + routing.lease_seconds})

    def health(self) -> Mapping[str, bool]:
        return {}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._away(error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _write(self, document: Mapping[str, Any]) -> None:
        try:
            handle, temporary = tempfile.mkstemp(dir=self.path.parent)
            with os.fdopen(handle, "w") as file:
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except OSError as error:
            raise self._away(error) from None

    def _away(self, error: Exception) -> OutsideError:
        return OutsideError(
            f"the routing file {self.path} cannot be used: {error}.",
            hint="Check the folder, its rights and the file's content.",
            reason_code="router_unavailable",
        )
