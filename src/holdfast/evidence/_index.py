"""Finding rows by their 64-bit ids, and putting them in order, by sorting whole numbers that carry their own position.

numpy sorts plain 64-bit numbers six times as fast as it finds the order of them. So the leading bits of a key are packed with
the row's number in the trailing bits, and equal leading bits are compared in full afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from holdfast.data.hashing import Hashes
from holdfast.evidence._threads import as_they_come

Places = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_FEW = 1 << 14
_SIEVE_BITS = 4
_SIEVED = 1 << 21  # a larger index is looked up at once
_LOOKED_UP = 1 << 21  # at a time
_PART = 1 << 17  # done at a time, in the processor's cache


def time_order(micros: npt.NDArray[np.int64]) -> Places | None:
    """The stable order of whole numbers such as times, (n,); None where they are in order already."""
    if len(micros) < 2 or bool(np.all(micros[1:] >= micros[:-1])):
        return None
    bits = _bits(len(micros))
    first, last = int(micros.min()), int(micros.max())
    if last - first >= 1 << (64 - bits):
        return np.argsort(micros, kind="stable")
    keys = (micros - first).view(np.uint64) << np.uint64(bits)
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    keys &= _low(bits)
    return keys.view(np.int64)


class Index:
    """Where each id stands among `ids`, (n,). Memory: 8 bytes an id beside the ids themselves, 2 to 4 more for a sieve."""

    def __init__(self, ids: Hashes) -> None:
        self.ids = ids
        self._bits = _bits(len(ids))
        self._packed = _packed(ids, self._bits)

    def repeats(self) -> Bools | None:
        """Which rows have an id that an earlier row has, (n,); None where no row has."""
        parts = [self._packed[begin : begin + _PART + 1] for begin in range(0, max(len(self.ids) - 1, 1), _PART)]
        alike = np.concatenate([_same_heads(part, self._bits) for part in parts])
        if not alike.any():
            return None
        among = np.concatenate([alike, [False]]) | np.concatenate([[False], alike])
        rows = np.sort((self._packed[among] & _low(self._bits)).view(np.int64))
        _, first = np.unique(self.ids[rows], return_index=True)
        found = np.zeros(len(self.ids), np.bool_)
        found[rows] = True
        found[rows[first]] = False
        return found if found.any() else None

    def find(self, wanted: Hashes) -> Places:
        """The place of each wanted id, (m,); −1 where it is not there. Of equal ids, the first one's."""
        found = [places for _, places in self.find_parts(wanted)]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def find_parts(self, wanted: Hashes) -> Iterator[tuple[slice, Places]]:
        """The same part by part, in order: which of the wanted ids, and their places. Later parts are looked up meanwhile."""
        parts = [slice(begin, begin + _LOOKED_UP) for begin in range(0, max(len(wanted), 1), _LOOKED_UP)]
        return zip(parts, as_they_come(lambda part: self._find_in_order(wanted[part]), parts), strict=True)

    def _find_in_order(self, wanted: Hashes) -> Places:
        """Many are sorted first, so that neighbours are looked for together; few are sieved, because most may not be there."""
        found = np.empty(len(wanted), np.int64)
        if len(wanted) < _FEW:
            maybe = self._sieved(wanted) if len(self.ids) <= _SIEVED else np.arange(len(wanted))
            found.fill(-1)
            found[maybe] = self._find(wanted[maybe])
            return found
        bits = _bits(len(wanted))
        order = _packed(wanted, bits)
        for begin in range(0, len(wanted), _PART):
            part = (order[begin : begin + _PART] & _low(bits)).view(np.int64)
            found[part] = self._find(wanted[part])
        return found

    @cached_property
    def _sieve(self) -> npt.NDArray[np.uint8]:
        """A bit for each value of the leading bits of an id, 16 to 32 of them an id: set where an id has them."""
        there = np.zeros(1 << (self._bits + _SIEVE_BITS), np.bool_)
        there[(self.ids >> np.uint64(64 - self._bits - _SIEVE_BITS)).view(np.int64)] = True
        return np.packbits(there, bitorder="little")

    def _sieved(self, wanted: Hashes) -> Places:
        """Which of the wanted ids may be there."""
        slots = (wanted >> np.uint64(64 - self._bits - _SIEVE_BITS)).view(np.int64)
        bits = self._sieve[slots >> 3] >> (slots & 7).astype(np.uint8)
        return np.flatnonzero(bits & 1)

    def _find(self, wanted: Hashes) -> Places:
        found = np.full(len(wanted), -1, np.int64)
        if not len(self.ids):
            return found
        heads = wanted & ~_low(self._bits)
        places = np.searchsorted(self._packed, heads)
        open_ones: Places | slice = slice(None)
        while True:  # once, but for ids whose leading bits are those of others
            packed = self._packed.take(places, mode="clip")
            rows = (packed & _low(self._bits)).view(np.int64)
            maybe = (packed & ~_low(self._bits)) == heads
            maybe &= places < len(self._packed)
            same = maybe & (self.ids.take(rows) == wanted[open_ones])
            found[open_ones] = np.where(same, rows, -1)
            again = maybe & ~same
            if not again.any():
                return found
            open_ones = np.flatnonzero(again) if isinstance(open_ones, slice) else open_ones[again]
            heads, places = heads[again], places[again] + 1


def _packed(keys: Hashes, bits: int) -> Hashes:
    """Leading bits of the keys and the row's number in the trailing ones, sorted."""
    found = np.empty(len(keys), np.uint64)
    for begin in range(0, len(keys), _PART):
        part = found[begin : begin + _PART]
        np.bitwise_and(keys[begin : begin + _PART], ~_low(bits), out=part)
        part |= np.arange(begin, begin + len(part), dtype=np.uint64)
    found.sort()
    return found


def _same_heads(packed: Hashes, bits: int) -> Bools:
    """Of each number but the last, whether the next one's leading bits are the same."""
    heads = packed >> np.uint64(bits)
    same: Bools = heads[1:] == heads[:-1]
    return same


def _bits(count: int) -> int:
    return max(count - 1, 1).bit_length()


def _low(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)
