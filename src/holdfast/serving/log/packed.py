"""Payloads of one layout as Arrow columns, without a loop over them in Python.

A payload is a head of fixed size, texts whose lengths stand in the head, and nothing else. So the payloads one after the other
are already the data of an Arrow array of pieces (head, text, text, …, head, …), and a column is every n-th piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from holdfast.errors import Damaged

Ints = npt.NDArray[np.int64]
BATCH_BYTES = 4 << 20  # of the processor's cache, and far under the 2 GiB that an Arrow array of texts may hold


class Packed:
    """Payloads whose head has the numpy dtype `head`, with a field `tag`, which must be `tag`.

    `heads` is the structured array of all heads, (n,). Damaged where a payload is of another kind.
    """

    def __init__(self, payloads: Sequence[bytes], head: np.dtype[Any], tag: bytes) -> None:
        self._data = pa.py_buffer(b"".join(payloads))
        self._sizes = np.fromiter(map(len, payloads), np.int64, len(payloads))
        self.check(bool((self._sizes >= head.itemsize).all()))
        split = np.stack([np.full(len(payloads), head.itemsize), self._sizes - head.itemsize], 1)
        self.heads: npt.NDArray[Any] = np.frombuffer(bytes_of(self._pieces(split).take(self._every(2, 0))), head)
        known = self.heads["tag"] == tag
        if not known.all():
            found = bytes(self.heads["tag"][~known][0])
            raise Damaged(
                f"expected records of the kind {tag!r}, found {found!r}.", hint="A newer Holdfast reads them."
            )

    def split(self, lengths: Sequence[npt.NDArray[Any]]) -> None:
        """Say how long each text is, in their order: arrays of shape (n,)."""
        pieces = np.stack([np.full(len(self.heads), self.heads.dtype.itemsize), *lengths], 1).astype(np.int64)
        self.check(bool((pieces.sum(1) == self._sizes).all()))
        self._count = pieces.shape[1]
        self._texts = self._pieces(pieces)

    def text(self, number: int, repeats: Ints | None = None) -> pa.Array:
        """Text `number` (from 0) of every payload, each as often as `repeats` says, as strings; an empty text is null."""
        places = self._every(self._count, number + 1)
        found = self._texts.take(places if repeats is None else np.repeat(places, repeats))
        offsets = np.frombuffer(found.buffers()[1], np.int32, len(found) + 1)
        return texts(np.diff(offsets), found.buffers()[2], offsets)

    def joined(self, number: int) -> memoryview:
        """Text `number` of all payloads, one after the other."""
        return bytes_of(self._texts.take(self._every(self._count, number + 1)))

    def _pieces(self, lengths: Ints) -> pa.Array:
        offsets = np.zeros(lengths.size + 1, np.int32)
        np.cumsum(lengths.ravel(), out=offsets[1:])
        return pa.Array.from_buffers(pa.binary(), lengths.size, [None, pa.py_buffer(offsets), self._data])

    def _every(self, step: int, first: int) -> Ints:
        return np.arange(first, first + step * len(self._sizes), step)

    def check(self, is_whole: bool) -> None:
        """Damaged unless `is_whole`."""
        if not is_whole:
            raise Damaged("expected records as long as their heads say, found another length.")


def batches(payloads: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The payloads in pieces that an Arrow array can hold."""
    ends = np.cumsum(np.fromiter(map(len, payloads), np.int64, len(payloads)))
    begin = 0
    while begin < len(payloads):
        before = int(ends[begin - 1]) if begin else 0
        end = max(int(np.searchsorted(ends, before + BATCH_BYTES, "right")), begin + 1)
        yield payloads[begin:end]
        begin = end


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
