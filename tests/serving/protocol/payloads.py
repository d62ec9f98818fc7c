"""Payloads to compare and to draw, for the tests of the protocols."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from holdfast.serving.payload import Payload

NUMERIC = ["?", "<i1", "<i2", "<i4", "<i8", "<u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8"]


def is_same(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> bool:
    """Same type, shape and values, bit for bit but for the bits of a NaN."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype == object:
        pairs = list(zip(left.ravel().tolist(), right.ravel().tolist(), strict=True))
        return all(type(a) is type(b) and a == b for a, b in pairs)
    return bool(np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))


def are_same(left: Payload, right: Payload) -> bool:
    return (left.kind, left.names) == (right.kind, right.names) and all(map(is_same, left.arrays, right.arrays))


def texts() -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def _values(dtype: str, shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    if dtype in {"str", "bytes"}:
        elements = texts() if dtype == "str" else st.binary(min_size=1, max_size=6)
        return st.lists(elements, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))).map(
            lambda values: np.fromiter(values, dtype=object, count=len(values)).reshape(shape)
        )
    return arrays.arrays(dtype=np.dtype(dtype), shape=shape)


@st.composite
def payloads(draw: st.DrawFn) -> Payload:
    """Whatever a request may hold, of up to 4 rows."""
    kind = draw(st.sampled_from(["frame", "tensor", "tensors"]))
    rows = draw(st.integers(1, 4))
    count = 1 if kind == "tensor" else draw(st.integers(2 if kind == "tensors" else 1, 4))
    names = draw(st.lists(texts().filter(bool), min_size=count, max_size=count, unique=True))
    tails = [() if kind == "frame" else draw(st.sampled_from([(), (1,), (3,), (2, 2)])) for _ in names]
    if kind == "tensors":
        tails[0] = (2, 2)  # with columns only it would be a frame
    dtypes = st.sampled_from([*NUMERIC, "str", "bytes"])
    return Payload(kind, tuple(names), tuple(draw(_values(draw(dtypes), (rows, *tail))) for tail in tails))
