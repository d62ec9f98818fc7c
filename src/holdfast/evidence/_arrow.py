"""Between numpy and Arrow without a scalar: pyarrow imports pandas for each way to make one, which costs a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from holdfast.data.arrow import arrow_numbers, arrow_text
from holdfast.data.hashing import as_numpy

__all__ = ["arrow_bools", "arrow_numbers", "arrow_text", "filled", "python_numbers", "python_texts", "same_text"]


def arrow_bools(values: npt.NDArray[np.bool_]) -> pa.Array:
    """A numpy array of booleans, (n,), as an Arrow array."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def python_texts(column: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """Text as Python has it."""
    if isinstance(column, pa.ChunkedArray):
        return [text for chunk in column.chunks for text in python_texts(chunk)]
    whole = column.cast(pa.large_string())
    _, offsets, data = whole.buffers()
    ends = np.frombuffer(offsets, np.int64)[whole.offset : whole.offset + len(whole) + 1].tolist() if len(whole) else []
    content, there = bytes(data or b""), as_numpy(whole.is_valid())
    return [
        content[begin:end].decode() if valid else None for begin, end, valid in zip(ends, ends[1:], there, strict=False)
    ]


def python_numbers(column: pa.ChunkedArray) -> list[int | None]:
    """Whole numbers and moments, in their own unit, as Python has them."""
    found: list[int | None] = []
    for chunk in column.chunks:
        values = filled(chunk.cast(pa.int64()), 0).tolist()
        found += [value if valid else None for value, valid in zip(values, as_numpy(chunk.is_valid()), strict=True)]
    return found


def same_text(value: str, count: int) -> pa.Array:
    """One text `count` times, as a dictionary array."""
    return pa.DictionaryArray.from_arrays(arrow_numbers(np.zeros(count, np.int8)), arrow_text([value]))


def filled(column: pa.Array, null: Any) -> npt.NDArray[Any]:
    """Numbers or booleans as numpy, (n,), `null` where they are null; no copy of numbers without nulls."""
    if not column.null_count:
        return as_numpy(column)
    if pa.types.is_boolean(column.type):
        return filled(column.cast(pa.uint8()), int(null)).view(np.bool_)
    absent, data = column.is_null(), column.buffers()[1]
    bare = pa.Array.from_buffers(column.type, len(column), [None, data], offset=column.offset)
    values = as_numpy(bare).copy()
    values[as_numpy(absent)] = null
    return values
