"""The first outcome of each request, kept right whatever the order in which outcomes arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from holdfast.evidence._index import Places, time_order

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NEVER = np.iinfo(np.int64).max
_OPEN = NEVER - 1  # there are outcomes, and which is the first is not decided yet
_CHUNK = 1 << 17


@dataclass(frozen=True, eq=False)
class Others:
    """Outcomes that are not the first of their request, (k,): which request, when, what. There are few."""

    at: Places
    micros: Ints
    value: Floats

    def take(self, places: npt.NDArray[np.bool_]) -> Others:
        return Others(self.at[places], self.micros[places], self.value[places])


class First:
    """Of each request, (n,): when its first outcome came (NEVER: not yet), what it was (0 then), and the others that came.

    Of outcomes of the same microsecond the one that arrived first counts.
    """

    def __init__(self, when: Ints, value: Floats, others: Others) -> None:
        self.when, self.value, self.others = when, value, others

    @classmethod
    def none(cls, count: int) -> Self:
        """Of `count` requests without outcomes."""
        return cls(np.full(count, NEVER, np.int64), np.zeros(count), _no_others())

    def add(self, at: Places, micros: Ints, value: Floats) -> None:
        """Outcomes, (m,), of the requests `at` that arrive now, in this order."""
        several = []
        for begin in range(0, len(at), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            several.append(begin + self._add_alone(at[part], micros[part], value[part]))
        if sum(map(len, several)):
            places = np.concatenate(several)
            self._decide(at[places], micros[places], value[places])

    def changed(self, at: Places, micros: Ints, value: Floats) -> tuple[Places, First | None, First]:
        """`add`, and: the requests concerned, what they had before (None: nothing at all), and what they have now."""
        if not (_shared(at) | (self.when[at] != NEVER)).any():
            self.when[at], self.value[at] = micros, value
            return at, None, First(micros, value, _no_others())
        touched = np.unique(at)
        before = self.take(touched)
        self.add(at, micros, value)
        return touched, before, self.take(touched)

    def alone(self, places: Any) -> First:
        """Of the requests at `places` (row numbers, or a slice, which copies nothing), without the others."""
        return First(self.when[places], self.value[places], _no_others())

    def slice(self, begin: int, end: int) -> First:
        """Of the requests from `begin` to `end`; `when` and `value` are not copied."""
        others = self.others.take((self.others.at >= begin) & (self.others.at < end))
        return First(
            self.when[begin:end], self.value[begin:end], Others(others.at - begin, others.micros, others.value)
        )

    def take(self, places: Places) -> First:
        """Of the requests at `places`, which rise."""
        others = self.others.take(np.isin(self.others.at, places))
        at = np.searchsorted(places, others.at)
        return First(self.when[places], self.value[places], Others(at, others.micros, others.value))

    @classmethod
    def joined(cls, parts: Sequence[First], order: Places | None) -> First:
        """Of the requests of all parts, one part after the other, then put in `order` (None: as they are)."""
        when = np.concatenate([part.when for part in parts])
        value = np.concatenate([part.value for part in parts])
        begins = np.cumsum([0, *(len(part.when) for part in parts[:-1])])
        at = np.concatenate([part.others.at + begin for part, begin in zip(parts, begins, strict=True)])
        others = [part.others for part in parts]
        micros, values = np.concatenate([o.micros for o in others]), np.concatenate([o.value for o in others])
        if order is not None:
            when, value = when[order], value[order]
            place = np.empty(len(order), np.int64)
            place[order] = np.arange(len(order))
            at = place[at]
        return cls(when, value, Others(at, micros, values))

    def all(self) -> tuple[Places, Ints, Floats]:
        """Every outcome: of which request, when, what; the first ones come first."""
        places = np.flatnonzero(self.when != NEVER)
        at = np.concatenate([places, self.others.at])
        micros = np.concatenate([self.when[places], self.others.micros])
        return at, micros, np.concatenate([self.value[places], self.others.value])

    def _add_alone(self, at: Places, micros: Ints, value: Floats) -> Places:
        """Put down the outcomes that are alone with their request so far; returns which are not, of which `_decide` decides."""
        others_there = self.when[at] != NEVER
        crowded = _shared(at) | others_there
        if not crowded.any():
            self.when[at], self.value[at] = micros, value
            return np.empty(0, np.int64)
        alone = at[~crowded]
        self.when[alone], self.value[alone] = micros[~crowded], value[~crowded]
        self.when[at[crowded & ~others_there]] = _OPEN
        return np.flatnonzero(crowded)

    def _decide(self, at: Places, micros: Ints, value: Floats) -> None:
        """Choose again where there is more than one."""
        touched = np.unique(at)
        won = touched[self.when[touched] < _OPEN]
        again = np.isin(self.others.at, touched)
        lost = self.others.take(again)
        at = np.concatenate([won, lost.at, at])
        micros = np.concatenate([self.when[won], lost.micros, micros])
        value = np.concatenate([self.value[won], lost.value, value])
        for by_time in (True, False):  # then by request; both keep the order of arrival
            order = time_order(micros if by_time else at)
            if order is not None:
                at, micros, value = at[order], micros[order], value[order]
        first = np.ones(len(at), np.bool_)
        first[1:] = at[1:] != at[:-1]
        self.when[at[first]], self.value[at[first]] = micros[first], value[first]
        kept, late = self.others.take(~again), ~first
        self.others = Others(
            np.concatenate([kept.at, at[late]]),
            np.concatenate([kept.micros, micros[late]]),
            np.concatenate([kept.value, value[late]]),
        )


def _no_others() -> Others:
    return Others(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def _shared(at: Places) -> npt.NDArray[np.bool_]:
    """Which of the outcomes have a request that another of them has too, (m,)."""
    ordered = np.sort(at)
    if not (ordered[1:] == ordered[:-1]).any():
        return np.zeros(len(at), np.bool_)
    _, which, counts = np.unique(at, return_inverse=True, return_counts=True)
    shared: npt.NDArray[np.bool_] = counts[which] > 1
    return shared
