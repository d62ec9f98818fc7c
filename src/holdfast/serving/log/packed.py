"""Payloads of one layout as Arrow columns, without a loop over them in Python.

A payload is a head of fixed size, pieces whose lengths stand in the head, and nothing else. So the buffer that payloads lie in
is already the data of an Arrow array (what lies before, head, piece, piece, …, head, …), and a column is every n-th of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from holdfast.errors import Damaged
from holdfast.serving.log.payloads import Ints, Payloads

BATCH_BYTES = 4 << 20  # of the processor's cache, and far under the 2 GiB that an Arrow array may hold


class Packed:
    """Payloads, at least one, whose head has the numpy dtype `head`, with a field `tag`, which must be `tag`.

    `heads` is the structured array of all heads, (n,). Damaged where a payload is of another kind.
    """

    def __init__(self, payloads: Payloads, head: np.dtype[Any], tag: bytes) -> None:
        self._payloads, self._sizes = payloads, payloads.ends - payloads.begins
        self.check(bool((self._sizes >= head.itemsize).all()))
        places, bare = len(payloads.data) - head.itemsize + 1, f"V{head.itemsize}"  # with fields it takes far longer
        anywhere = np.ndarray((places,), bare, payloads.data, strides=(1,))
        self.heads: npt.NDArray[Any] = anywhere[payloads.begins].view(head)
        known = self.heads["tag"] == tag
        if not known.all():
            found = bytes(self.heads["tag"][~known][0])
            raise Damaged(
                f"expected records of the kind {tag!r}, found {found!r}.",
                hint="The release of Holdfast that wrote them reads them.",
            )

    def split(self, lengths: Sequence[npt.NDArray[Any]]) -> None:
        """Say how long each piece is, in their order: arrays of shape (n,)."""
        begins, ends = self._payloads.begins, self._payloads.ends
        before = begins - np.append(begins[0], ends[:-1])
        sizes = np.stack([before, np.full(len(begins), self.heads.dtype.itemsize), *lengths], 1)
        offsets = np.zeros(sizes.size + 1, np.int64)
        np.cumsum(sizes.ravel(), out=offsets[1:])
        self._step = sizes.shape[1]
        self.check(np.array_equal(offsets[self._step :: self._step], ends - begins[0]))
        buffers = [pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(self._payloads.data)[begins[0] : ends[-1]]]
        self._pieces = pa.Array.from_buffers(pa.binary(), sizes.size, [None, *buffers])

    def piece(self, number: int, repeats: Ints | None = None) -> pa.Array:
        """Piece `number` (from 0) of every payload, each as often as `repeats` says, as bytes."""
        places = np.arange(2 + number, len(self._pieces), self._step)
        return self._pieces.take(places if repeats is None else np.repeat(places, repeats))

    def text(self, number: int, repeats: Ints | None = None) -> pa.Array:
        """The same as strings; an empty one is null."""
        found = self.piece(number, repeats)
        offsets = np.frombuffer(found.buffers()[1], np.int32, len(found) + 1)
        return texts(np.diff(offsets), found.buffers()[2], offsets)

    def joined(self, number: int) -> memoryview:
        """Piece `number` of all payloads, one after the other."""
        return bytes_of(self.piece(number))

    def check(self, is_whole: bool) -> None:
        """Damaged unless `is_whole`."""
        if not is_whole:
            raise another_length()


def texts(lengths: npt.NDArray[Any], data: Any, offsets: npt.NDArray[np.int32] | None = None) -> pa.Array:
    """Strings of the given lengths, (n,), that lie one after the other in `data` (UTF-8); an empty one is null."""
    if offsets is None:
        offsets = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
    is_there = np.packbits(lengths > 0, bitorder="little")
    buffers = [pa.py_buffer(is_there), pa.py_buffer(offsets), data if data is not None else pa.py_buffer(b"")]
    return pa.Array.from_buffers(pa.string(), len(lengths), buffers)


def bytes_of(array: pa.Array) -> memoryview:
    """All bytes of a binary array that begins at its first buffer's beginning."""
    size = np.frombuffer(array.buffers()[1], np.int32)[len(array)]
    return memoryview(array.buffers()[2] or b"")[:size]


def another_length() -> Damaged:
    return Damaged("expected records as long as their heads say, found another length.")
