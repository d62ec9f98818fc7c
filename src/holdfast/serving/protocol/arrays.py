"""From the lists of JSON to arrays, with the types that numpy and pandas would give them, and without their traps.

numpy makes text as wide as its longest element, so that a body of some megabytes may ask for terabytes; here text is always
dtype object. Nothing here loops over numbers in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.serving.payload import Kind, Payload
from holdfast.serving.protocol._json import expressible, shown
from holdfast.serving.served import BadInput

Array = npt.NDArray[Any]

MOST_AXES = 32
MOST_CELLS = 1_000_000  # of a table with holes, whose size the body's does not bound

_NUMBERS = {bool, int, float}
_NUMBERS_AND_TEXT = {bool, int, float, str}
_NESTED = {list, dict}
_NUMBERS_OR_NULL = {int, float, NoneType}


def flattened(nested: list[Any]) -> tuple[list[Any], tuple[int, ...]]:
    """The values of nested lists in row-major order, and their shape. Raises BadInput where the lists are uneven."""
    shape, flat = [len(nested)], nested
    while flat and type(flat[0]) is list:
        if len(flat) == 1:  # one row, the usual request
            flat = flat[0]
            shape.append(len(flat))
            continue
        if set(map(type, flat)) != {list} or len(widths := set(map(len, flat))) > 1:
            raise BadInput("The lists are uneven: lists at one depth must have the same length.")
        shape.append(widths.pop())
        flat = list(chain.from_iterable(flat))
    if len(shape) > MOST_AXES:
        raise BadInput(f"The lists are nested more than {MOST_AXES} deep.")
    return flat, tuple(shape)


def nested_array(nested: list[Any]) -> Array:
    """Nested lists as numpy would make them an array, text as dtype object. Raises BadInput for uneven ones."""
    flat, shape = flattened(nested)
    if not flat:
        raise BadInput("The lists have no values in them; send at least one.")
    kinds = set(map(type, flat))
    if list in kinds:
        raise BadInput("The lists are uneven: a list stands where its neighbours are values.")
    if kinds <= _NUMBERS:
        return np.array(flat).reshape(shape)
    if str in kinds and kinds <= _NUMBERS_AND_TEXT and not _goes_beyond(flat):
        flat = list(map(str, flat))
    return objects(flat).reshape(shape)


def column(values: Sequence[Any]) -> Array:
    """Values of JSON as a column, as pandas would type it: nulls among numbers are NaN, everything mixed is dtype object."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        return _of_kind(kinds.pop(), values)
    return _real(values) if kinds <= _NUMBERS_OR_NULL else objects(values)


def columns(flat: Sequence[Any], width: int) -> tuple[Array, ...]:
    """The columns of a table whose values are given row by row."""
    kinds = set(map(type, flat))
    if kinds == {float}:
        return tuple(np.ascontiguousarray(np.array(flat).reshape(-1, width).T))
    return tuple(column(flat[place::width]) for place in range(width))


def objects(values: Sequence[Any]) -> Array:
    """Values as they are, one dimension."""
    if not _NESTED.isdisjoint(map(type, values)):
        expressible(values)
    return np.fromiter(values, dtype=object, count=len(values))


def named(names: Sequence[str], arrays: Sequence[Array]) -> Payload:
    """Arrays under their names: a frame where all have one dimension, else tensors. Raises BadInput where they do not match."""
    distinct(names)
    rows_agree(names, arrays)
    kind: Kind = "frame" if all(array.ndim == 1 for array in arrays) else "tensors"
    return Payload(kind, tuple(names), tuple(arrays))


def distinct(names: Sequence[str]) -> None:
    """Raises BadInput where a name comes twice."""
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise BadInput(f"The name {shown(twice)} is there twice; every input needs its own.")


def rows_agree(names: Sequence[str], arrays: Sequence[Array]) -> None:
    """Raises BadInput where arrays differ in their number of rows, or there is none: no model has an answer to nothing."""
    rows = len(arrays[0]) if arrays else 0
    if not rows:
        raise BadInput("The request has no rows; send at least one.")
    if len(arrays) == 1:
        return
    for name, array in zip(names, arrays, strict=True):
        if len(array) != rows:
            raise BadInput(
                f"{shown(name)} has {len(array)} rows where {shown(names[0])} has {rows}; all inputs need as many."
            )


def _of_kind(kind: type, values: Sequence[Any]) -> Array:
    if kind is float:
        return np.array(values, np.float64)
    if kind is int:
        return _whole(values)
    return np.array(values, bool) if kind is bool else objects(values)


def _whole(values: Sequence[int]) -> Array:
    try:
        return np.array(values, np.int64)
    except OverflowError:
        is_unsigned = min(values) >= 0 and max(values) < 2**64
        return np.array(values, np.uint64) if is_unsigned else objects(values)


def _real(values: Sequence[float | None]) -> Array:
    try:
        array = np.array(values, np.float64)
    except OverflowError:  # a whole number beyond every float
        return objects(values)
    if (np.abs(array) >= 2**63).any() and _goes_beyond(values):
        return objects(values)
    return array


def _goes_beyond(values: Sequence[Any]) -> bool:
    """Whether there is a whole number of more than 64 bits."""
    return any(type(value) is int and not -(2**63) <= value < 2**64 for value in values)
