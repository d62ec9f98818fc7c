"""Numbers and texts as Arrow arrays. `pyarrow.array` would do the same, but imports pandas: a second and 50 MB for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bools = npt.NDArray[np.bool_]


def arrow_numbers(values: npt.NDArray[Any], valid: Bools | None = None) -> pa.Array:
    """A numpy array of numbers, (n,), as an Arrow array that shares its memory; null where not `valid`."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(values.dtype), len(values), [validity(valid), pa.py_buffer(values)]
    )


def arrow_text(values: Sequence[str | None]) -> pa.Array:
    """Text as an Arrow array; None is null. ASCII, which ids are, is encoded in one piece."""
    texts = [value or "" for value in values]
    content, lengths = "".join(texts), [*map(len, texts)]
    data = content.encode()
    if len(data) != len(content):
        lengths = [len(text.encode()) for text in texts]
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    valid = None if None not in values else np.array([value is not None for value in values], np.bool_)
    buffers = [validity(valid), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers).cast(pa.string())


def validity(valid: Bools | None) -> pa.Buffer | None:
    """Arrow's bits of what is not null, (n,); None where nothing is."""
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
