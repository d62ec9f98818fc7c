"""The same function on several pieces at once. numpy and pyarrow let other threads run while they count."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Piece = TypeVar("Piece")
Found = TypeVar("Found")

_MOST = 8
_MANY_ROWS = 1 << 18


def in_threads(function: Callable[[Piece], Found], pieces: Iterable[Piece]) -> list[Found]:
    """`function` of each piece, in their order; the first error is raised."""
    return list(as_they_come(function, list(pieces)))


def as_they_come(function: Callable[[Piece], Found], pieces: Sequence[Piece]) -> Iterator[Found]:
    """The same one by one, while the next ones are in the making."""
    threads = min(_cores(), len(pieces), _MOST)
    if threads < 2:
        yield from map(function, pieces)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(function, pieces)


def at_once(rows: int, *tasks: Callable[[], Any]) -> list[Any]:
    """What each task gives; several at a time where there are so many rows that a thread pays."""
    return in_threads(lambda task: task(), tasks) if rows >= _MANY_ROWS else [task() for task in tasks]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
