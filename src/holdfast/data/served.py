"""Inputs of requests as columns to be profiled beside a table: small arrays of whatever clients sent, by what is expected.

A value that is not of its column's kind counts as null, so that a client who sends nonsense shows as missing values and cannot
break the count.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from holdfast.data._blocks import Kind
from holdfast.data.arrow import arrow_numbers, arrow_text, validity

Values = npt.NDArray[Any]
Frame = Mapping[str, Values]  # columns, (rows,) each

_CACHED = 256  # requests whose arrays stay in the processor's cache while they are put together

_TYPES: Mapping[Kind, pa.DataType] = {
    "numeric": pa.float64(),
    "temporal": pa.timestamp("us"),
    "categorical": pa.string(),
    "length": pa.list_(pa.null()),
    "opaque": pa.binary(),
}


def served_schema(kinds: Mapping[str, Kind]) -> pa.Schema:
    """The schema of `served_batch`."""
    return pa.schema([(name, _TYPES[kind]) for name, kind in kinds.items()])


def stacked(names: Sequence[str], requests: Sequence[Sequence[Values]], wanted: Collection[str]) -> Frame:
    """The wanted columns of requests that all have the columns `names`, the rows of one after those of the other."""
    begins = range(0, len(requests), _CACHED)
    pieces = [_stacked(names, requests[begin : begin + _CACHED], wanted) for begin in begins]
    return {name: _joined([piece[name] for piece in pieces]) for name in pieces[0]} if pieces else {}


def _stacked(names: Sequence[str], requests: Sequence[Sequence[Values]], wanted: Collection[str]) -> Frame:
    columns = zip(names, zip(*requests, strict=True), strict=True)
    return {name: _joined(parts) for name, parts in columns if name in wanted}


def served_batch(frames: Sequence[tuple[int, Frame]], kinds: Mapping[str, Kind]) -> pa.RecordBatch:
    """The columns in `kinds` of all frames, one after the other; each is given with its number of rows.

    A column that a frame lacks is null there; what is not in `kinds` is left out.
    """
    columns = []
    for name, kind in kinds.items():
        parts = [frame.get(name) for _, frame in frames]
        known = [np.empty(rows, object) if p is None else p for p, (rows, _) in zip(parts, frames, strict=True)]
        columns.append(_READ[kind](_joined(known)))
    return pa.record_batch(columns, schema=served_schema(kinds))


def _joined(parts: Sequence[Values]) -> Values:
    """One value a row, (n,); objects where the parts are not alike, or are rows of a matrix."""
    try:
        found = np.concatenate(parts)
    except (TypeError, ValueError):
        found = None
    if found is None or found.ndim != 1 or found.dtype.kind in "US":  # of texts and numbers numpy makes texts
        return np.concatenate([_objects(part) for part in parts])
    return found


def _objects(part: Values) -> Values:
    found = np.empty(len(part), object)
    found[:] = part.astype("datetime64[us]").tolist() if part.dtype.kind == "M" else part.tolist()
    return found


def _numeric(values: Values) -> pa.Array:
    if values.dtype.kind in "iufb":
        return arrow_numbers(values.astype(np.float64, copy=False))
    return _numbers(values, _number, np.float64)


def _temporal(values: Values) -> pa.Array:
    if values.dtype.kind == "M":
        micros = values.astype("datetime64[us]").view(np.int64)
        return arrow_numbers(micros, ~np.isnat(values)).view(_TYPES["temporal"])
    return _numbers(values, _micros, np.int64).view(_TYPES["temporal"])


def _categorical(values: Values) -> pa.Array:
    if values.dtype.kind == "b":
        return arrow_text(np.where(values, "true", "false").tolist())
    found = values.tolist()
    if not {type(value) for value in found} <= {str, type(None)}:
        found = [_text(value) for value in found]
    try:
        return arrow_text(found)
    except UnicodeEncodeError:  # half a surrogate pair
        return arrow_text([None if text is None else text.encode("utf-8", "replace").decode() for text in found])


def _length(values: Values) -> pa.Array:
    found = [len(value) if isinstance(value, (list, tuple, np.ndarray)) else -1 for value in values.tolist()]
    lengths = np.array(found, np.int64)
    ends = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(np.maximum(lengths, 0), out=ends[1:])
    buffers = [validity(lengths >= 0), pa.py_buffer(ends)]
    return pa.Array.from_buffers(_TYPES["length"], len(lengths), buffers, children=[pa.nulls(int(ends[-1]))])


def _opaque(values: Values) -> pa.Array:
    there = np.array([value is not None for value in values.tolist()], np.bool_)
    buffers = [validity(there), pa.py_buffer(np.zeros(len(there) + 1, np.int32)), pa.py_buffer(b"")]
    return pa.Array.from_buffers(_TYPES["opaque"], len(there), buffers)


_READ: Mapping[Kind, Callable[[Values], pa.Array]] = {
    "numeric": _numeric,
    "temporal": _temporal,
    "categorical": _categorical,
    "length": _length,
    "opaque": _opaque,
}


def _numbers(values: Values, read: Callable[[Any], Any], kind: type[np.generic]) -> pa.Array:
    """Values read one by one; None is null."""
    found = [read(value) for value in values.tolist()]
    valid = np.array([value is not None for value in found], np.bool_)
    return arrow_numbers(np.array([value or 0 for value in found], kind), valid)


def _number(value: Any) -> float | None:
    if type(value) is float:
        return value
    try:
        return float(value) if isinstance(value, numbers.Real) else None
    except OverflowError:
        return None


def _micros(value: Any) -> int | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime):
            return None
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _text(value: Any) -> str | None:
    """As a table would hold it: true and false, whole numbers without a point."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value != value else str(value)  # noqa: PLR0124 - NaN is not itself
