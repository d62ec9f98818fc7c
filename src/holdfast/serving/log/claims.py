"""Which process a replica's name belongs to, and the numbers of its segments: one lock file for each name.

The system lets go of the lock when the process ends, however it ends. The lock file also keeps the last number given, so that
no name of a segment is ever given twice, whatever was deleted and whatever the clock did.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import time
from pathlib import Path
from typing import Self

from holdfast.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class Claim:
    """The right to write segments called `name` in `folder`, until `release` or the end of this process."""

    def __init__(self, folder: Path, name: str, handle: int) -> None:
        self.folder, self.name, self._handle = folder, name, handle

    @classmethod
    def take(cls, folder: Path, wanted: str) -> Self:
        """The name `wanted`, or `wanted-2`, `wanted-3` … where others have it. UserError for a bad name, OSError."""
        if not _NAME.fullmatch(wanted):
            raise UserError(f"expected a replica's name of letters, digits, '_', '.' and '-', found {wanted!r}.")
        for number in itertools.count(1):
            name = wanted if number == 1 else f"{wanted}-{number}"
            claim = cls.try_take(folder, name)
            if claim is not None:
                return claim
        raise AssertionError  # the count has no end

    @classmethod
    def try_take(cls, folder: Path, name: str) -> Self | None:
        """The name, or None where somebody has it. Raises OSError."""
        handle = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:
            os.close(handle)
            raise
        return cls(folder, name, handle)

    def next_number(self) -> int:
        """A number that is larger than every one before: UTC milliseconds where the clock allows. Raises OSError."""
        last = os.pread(self._handle, 32, 0)
        number = max(int(last) + 1 if last.strip().isdigit() else 1, time.time_ns() // 1_000_000)
        os.pwrite(self._handle, b"%016d\n" % number, 0)
        os.fsync(self._handle)
        return number

    def release(self) -> None:
        """Let others have the name. The lock file stays: it keeps the number."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
