"""Arrays of known length that several threads fill piece by piece, so that no piece is kept and nothing is copied twice."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Room:
    """Columns of `count` rows, each of the type in which a piece brings it first; `none` fills it where a piece lacks it."""

    def __init__(self, count: int, none: Sequence[Any]) -> None:
        self.count = count
        self._none = tuple(none)
        self._columns: list[Array | None] = [None] * len(self._none)
        self._lock = threading.Lock()

    def put(self, begin: int, arrays: Sequence[Array | None]) -> None:
        """A piece, whose rows start at row `begin`; None for a column that it lacks."""
        for place, array in enumerate(arrays):
            if array is not None:
                column = self._columns[place]
                if column is None:
                    column = self._make(place, array.dtype)
                column[begin : begin + len(array)] = array

    def columns(self) -> tuple[Array | None, ...]:
        """The columns, (count,); None for one that no piece had."""
        return tuple(self._columns)

    def _make(self, place: int, kind: np.dtype[Any]) -> Array:
        with self._lock:
            column = self._columns[place]
            if column is None:
                required = self._none[place] is None
                column = np.empty(self.count, kind) if required else np.full(self.count, self._none[place], kind)
                self._columns[place] = column
            return column
