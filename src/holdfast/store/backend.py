"""What a place for objects must be able to do, and the folder that does it durably."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Protocol

_TEMPORARY = ".holdfast-writing-"


class Backend(Protocol):
    """Keys are relative paths with `/`. A reader sees a whole object or none. Writes are durable when they return."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, data: bytes) -> None: ...

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` unless there is something; of any number of callers exactly one is told True."""
        ...

    def list(self, prefix: str) -> list[str]: ...

    def delete(self, key: str) -> None: ...

    def exists(self, key: str) -> bool: ...

    def reader(self, key: str) -> io.RawIOBase:
        """The object as a file; OSError where it cannot be read."""
        ...


class Folder:
    """Objects as files. A new one is written under another name, synced, and then linked or renamed into place."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> bytes | None:
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def put(self, key: str, data: bytes) -> None:
        path = self.root / key
        temporary = self._written(path, data)
        try:
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        path = self.root / key
        temporary = self._written(path, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
        return True

    def list(self, prefix: str) -> list[str]:
        start = self.root / prefix.rpartition("/")[0]
        found = []
        for folder, _, files in os.walk(start):
            inside = Path(folder).relative_to(self.root).as_posix()
            names = (name if inside == "." else f"{inside}/{name}" for name in files if not name.startswith(_TEMPORARY))
            found += [key for key in names if key.startswith(prefix)]
        return sorted(found)

    def delete(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def reader(self, key: str) -> io.RawIOBase:
        return (self.root / key).open("rb", buffering=0)

    def clean(self, folder: str, older_than: timedelta) -> None:
        """Delete unfinished writes below `folder` that nobody can be at any more."""
        for path in (self.root / folder).rglob(f"{_TEMPORARY}*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime >= older_than.total_seconds():
                    path.unlink()

    def _written(self, path: Path, data: bytes) -> Path:
        """A synced file with `data` beside `path`."""
        self._make(path.parent)
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        return temporary

    def _make(self, folder: Path) -> None:
        """Make `folder` and what is missing above it, private to the user, each synced into its parent."""
        if folder.is_dir():
            return
        if folder not in (self.root, folder.parent):
            self._make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True, parents=folder == self.root)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
