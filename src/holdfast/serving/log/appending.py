"""Rows at the end of a table, exactly once, while others append, merge and forget."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa

from holdfast.errors import Conflict, OutsideError
from holdfast.evidence.delta import DataFile, LogTable

Found = TypeVar("Found")

FORGOTTEN = "forgotten"  # the note of a commit that took somebody's rows out
_TRIES = 100
_LONGEST_PAUSE = 1.0


@dataclass(frozen=True)
class Addition:
    """Rows to append, and how far each writer has come with them."""

    rows: pa.Table
    cursors: Mapping[str, int] = field(default_factory=dict)


def append(table: LogTable, made: Callable[[], Addition | None]) -> Addition | None:
    """Append what `made` says, which looks at `table` as it is then; None where it finds nothing to do.

    It is asked again where somebody was forgotten meanwhile or another brought the same rows. Conflict after many lost races.
    """
    for _ in range(_TRIES):
        table.refresh()
        decided_on = table.version
        addition = steadily(table, made)
        if table.version != decided_on:
            continue
        if addition is None:
            return None
        files = table.write(addition.rows)
        if _committed(table, files, addition.cursors):
            return addition
        discard(table, files)
    raise _crowded(table)


def steadily(table: LogTable, read: Callable[[], Found]) -> Found:
    """What `read` finds in files of `table`; again where they were deleted meanwhile, as forgetting and retention do."""
    while True:
        base = table.version
        try:
            return read()
        except OutsideError:
            table.refresh()
            if table.version == base:
                raise


def discard(table: LogTable, files: Sequence[DataFile]) -> None:
    """Delete files that were written for a commit that was lost, unless it was not."""
    table.purge({file.path for file in files} - {file.path for file in table.files()})


def has_forgotten(table: LogTable, since: int) -> bool:
    """Whether somebody was forgotten after version `since`: files written before may hold what must not come back."""
    return any(FORGOTTEN in change.notes for change in table.changes(since))


def pause(attempt: int) -> None:
    """Wait before the next attempt, at random, so that two do not meet again."""
    time.sleep(random.random() * min(0.01 * 2 ** min(attempt, 10), _LONGEST_PAUSE))  # noqa: S311


def _committed(table: LogTable, files: Sequence[DataFile], cursors: Mapping[str, int]) -> bool:
    ours = {file.path for file in files}
    for attempt in range(_TRIES):
        base = table.version
        if table.commit(add=files, cursors=cursors):
            return True
        if ours and ours <= {file.path for file in table.files()}:
            return True  # it was there before the answer to us was lost
        if has_forgotten(table, base) or any(table.cursor(writer) >= end for writer, end in cursors.items()):
            return False
        pause(attempt)
    raise _crowded(table)


def _crowded(table: LogTable) -> Conflict:
    return Conflict(f"others changed the log {table.key} {_TRIES} times while rows were to be appended.")
