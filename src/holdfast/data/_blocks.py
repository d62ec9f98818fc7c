"""One column of one batch, brought into the form that counting needs; shared by profiles and row checks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from holdfast.data.hashing import Hashes, as_numpy, hash_array

Kind = Literal["numeric", "temporal", "categorical", "length", "opaque"]
Floats = npt.NDArray[np.float64]

_MICROSECONDS = pa.timestamp("us")


def kind_of(data_type: pa.DataType) -> Kind:
    """How a column is summarised: lists by their lengths, what has no order and no text by its nulls only."""
    if pa.types.is_dictionary(data_type):
        return kind_of(data_type.value_type)
    if pa.types.is_integer(data_type) or pa.types.is_floating(data_type) or pa.types.is_decimal(data_type):
        return "numeric"
    if pa.types.is_timestamp(data_type) or pa.types.is_date(data_type):
        return "temporal"
    if pa.types.is_string(data_type) or pa.types.is_large_string(data_type) or pa.types.is_boolean(data_type):
        return "categorical"
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type) or pa.types.is_fixed_size_list(data_type):
        return "length"
    return "opaque"


def numbers_of(array: pa.Array) -> pa.Array:
    """A numeric, temporal or list column as numbers: times in microseconds since 1970 (UTC), lists as lengths."""
    if pa.types.is_decimal(array.type) or array.type == pa.float16():
        return array.cast(pa.float64())
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        return array.cast(pa.timestamp("us", getattr(array.type, "tz", None)), safe=False).cast(pa.int64())
    if kind_of(array.type) == "length":
        return pc.list_value_length(array)
    return array


@dataclass(frozen=True)
class Block:
    """A column of a batch; `first_row` is the number of its first row in the table, from 0."""

    name: str
    kind: Kind
    array: pa.Array
    first_row: int = 0

    @property
    def rows(self) -> int:
        return len(self.array)

    @property
    def nulls(self) -> int:
        return int(self.array.null_count)

    @cached_property
    def present(self) -> npt.NDArray[Any]:
        """The numbers that are not null, NaN and infinities included."""
        numbers = numbers_of(self.array)
        if numbers.null_count:
            numbers = numbers.drop_null()
        return as_numpy(numbers)

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest present number; NaN when one of them is NaN. Needs at least one."""
        return float(self.present.min()), float(self.present.max())

    @cached_property
    def finite(self) -> npt.NDArray[Any]:
        """The present numbers without NaN and infinities."""
        if len(self.present) == 0 or np.isfinite(self.bounds).all():
            return self.present
        found: npt.NDArray[Any] = self.present[np.isfinite(self.present)]
        return found

    def full(self) -> Floats:
        """All rows as float64, NaN where null; slow, for examples of what is wrong."""
        values: Floats = as_numpy(numbers_of(self.array)).astype(np.float64)
        return values

    @cached_property
    def entries(self) -> tuple[pa.Array, Hashes, npt.NDArray[np.int64]]:
        """Values of a categorical column, their hashes, and how often each occurs; a value may be listed twice."""
        array = self.array
        if pa.types.is_dictionary(array.type):
            codes = as_numpy(array.indices.drop_null())
            values = _as_text(array.dictionary)
            return values, hash_array(values), np.bincount(codes, minlength=len(values))
        values = _as_text(array.drop_null() if array.null_count else array)
        return values, hash_array(values), np.ones(len(values), np.int64)

    def encoded(self) -> Block:
        """The same block with its text as a dictionary, so that few distinct values are few entries."""
        if self.kind != "categorical" or pa.types.is_dictionary(self.array.type):
            return self
        return Block(self.name, self.kind, self.array.dictionary_encode(), self.first_row)

    def row_hashes(self) -> Hashes:
        """One hash per row, (n,), comparable with those of `entries`."""
        array = self.array
        if pa.types.is_dictionary(array.type):
            return hash_array(pa.DictionaryArray.from_arrays(array.indices, _as_text(array.dictionary)))
        return hash_array(_as_text(array) if self.kind == "categorical" else array)


def places_array(places: npt.NDArray[Any]) -> pa.Array:
    """Row numbers or hashes (n,) as an Arrow array.

    `pyarrow.array` would do the same, but imports pandas where it is installed: a second and 50 MB for nothing.
    """
    kind = pa.uint64() if places.dtype == np.uint64 else pa.int64()
    values = np.ascontiguousarray(places, np.uint64 if kind == pa.uint64() else np.int64)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _as_text(values: pa.Array) -> pa.Array:
    return values if pa.types.is_string(values.type) else values.cast(pa.string())
