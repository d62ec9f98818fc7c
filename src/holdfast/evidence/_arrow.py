"""Between numpy and Arrow without a scalar: pyarrow imports pandas for each way to make one, which costs a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from holdfast.data.hashing import as_numpy

Bools = npt.NDArray[np.bool_]


def arrow_numbers(values: npt.NDArray[Any], valid: Bools | None = None) -> pa.Array:
    """A numpy array of numbers, (n,), as an Arrow array that shares its memory; null where not `valid`."""
    values = np.ascontiguousarray(values)
    bits = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [bits, pa.py_buffer(values)])


def arrow_text(values: Sequence[str | None]) -> pa.Array:
    """Text as an Arrow array; None is null."""
    parts = [(value or "").encode() for value in values]
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    valid = np.packbits([value is not None for value in values], bitorder="little")
    buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(b"".join(parts))]
    return pa.Array.from_buffers(pa.large_string(), len(parts), buffers).cast(pa.string())


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
