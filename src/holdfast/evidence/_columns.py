"""Columns of the two logs as numpy arrays: hashes of ids, microseconds, numbers, flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from holdfast.data.hashing import Hashes, as_numpy, hash_array
from holdfast.errors import UserError
from holdfast.evidence._arrow import arrow_numbers, arrow_text, filled

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NO_TIME = np.iinfo(np.int64).min
EARLIEST = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
LATEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_YES, _NO = ("true", "yes", "1"), ("", "false", "no", "0")


def required(schema: pa.Schema, names: Sequence[str], what: str) -> None:
    """UserError where the `what` log lacks a column that it must have."""
    lacking = [name for name in names if name not in schema.names]
    if lacking:
        found = ", ".join(schema.names[:12]) or "none"
        raise UserError(
            f"The {what} log has no column {lacking[0]!r}: expected {', '.join(names)}, found {found}.",
            hint=f"Add the column {lacking[0]!r}, or rename the one that holds it.",
            reason_code="bad_log",
        )


def id_hashes(column: pa.Array, name: str) -> tuple[Hashes, Bools]:
    """Hashes of ids, (n,), and which are null or empty. Whole numbers are hashed as the text that a CSV file has of them."""
    if pa.types.is_dictionary(column.type):
        hashes, missing = id_hashes(column.dictionary, name)
        codes, absent = _codes(column, len(hashes))
        return np.append(hashes, np.uint64(0))[codes], np.append(missing, True)[codes] | absent
    text = _id_text(column, name)
    hashes = hash_array(text)
    if not text.null_count and not (hashes == _EMPTY).any():
        return hashes, np.zeros(len(hashes), np.bool_)
    return hashes, filled(pc.binary_length(text), 0) == 0


def micros(column: pa.Array, name: str) -> Ints:
    """UTC microseconds since 1970, (n,); NO_TIME where there is none. Times without a zone are UTC."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _by_value(column, lambda values: micros(values, name), NO_TIME)
    if pa.types.is_timestamp(kind):
        counts = filled(column.cast(pa.int64()), NO_TIME)
        return _scaled(counts, _PER_SECOND[kind.unit])
    if _is_text(kind):
        return _text_micros(column.cast(pa.string()))
    if pa.types.is_null(kind):
        return np.full(len(column), NO_TIME, np.int64)
    raise hopeless(name, kind, "a timestamp or ISO 8601 text", "Write it as a timestamp in UTC.")


def numbers(column: pa.Array, name: str) -> Floats:
    """Numbers, (n,); NaN where there is none. Booleans are 0 and 1, text is parsed, and text that is no number is NaN."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _by_value(column, lambda values: numbers(values, name), np.nan)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif _is_text(kind):
        return _text_numbers(column.cast(pa.string()))
    elif pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise hopeless(name, kind, "numbers", "Write one number a row.")
    return filled(column.cast(pa.float64()), np.nan)


def whole_numbers(column: pa.Array, name: str, default: int) -> Ints:
    """Whole numbers, (n,); `default` where there is none."""
    if pa.types.is_integer(column.type):
        return filled(column.cast(pa.int64(), safe=False), default)
    found = numbers(column, name)
    whole: Ints = np.where(np.isfinite(found), found, default).astype(np.int64)
    return whole


def places_of(column: pa.Array, name: str, values: Sequence[str]) -> npt.NDArray[np.int8]:
    """The place of each text among `values`, (n,); −1 for every other text and for null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _by_value(column, lambda found: places_of(found, name, values), -1)
    if pa.types.is_null(kind) or not values:
        return np.full(len(column), -1, np.int8)
    if not _is_text(kind):
        raise hopeless(name, kind, f"text such as {values[0]!r}", "Write it as text.")
    found = pc.index_in(column.cast(pa.string()), value_set=arrow_text(values))
    return filled(found, -1).astype(np.int8)


def said(column: pa.Array) -> Bools:
    """Where there is something, (n,): text that is not empty, true, any other value that is not null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _by_value(column, said, False)
    if pa.types.is_null(kind):
        return np.zeros(len(column), np.bool_)
    if pa.types.is_boolean(kind):
        return filled(column, False)
    if _is_text(kind):
        return filled(pc.binary_length(column.cast(pa.string())), 0) > 0
    return as_numpy(column.is_valid())


def flags(column: pa.Array, name: str) -> Bools:
    """Yes or no, (n,); null is no. Text that says neither is yes, because it was set by somebody."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _by_value(column, lambda values: flags(values, name), False)
    if _is_text(kind):
        lower = pc.utf8_lower(column.cast(pa.string()))
        return as_numpy(lower.is_valid()) & (places_of(lower, name, _NO) < 0)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return filled(column.cast(pa.bool_()), False)
    raise hopeless(name, kind, "true or false", "Write it as a boolean.")


def hopeless(name: str, kind: pa.DataType, expected: str, hint: str) -> UserError:
    return UserError(f"The log's column {name!r} holds {kind}: expected {expected}.", hint=hint, reason_code="bad_log")


def _id_text(column: pa.Array, name: str) -> pa.Array:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column
    if str(kind) == "extension<arrow.uuid>":
        return arrow_text([None if value is None else str(value) for value in column.to_pylist()])
    if pa.types.is_floating(kind):
        column = _whole(column, name)
    if _is_text(kind) or pa.types.is_integer(column.type) or pa.types.is_null(kind):
        return column.cast(pa.string())
    raise hopeless(name, kind, "text", "Write it as text.")


def _whole(column: pa.Array, name: str) -> pa.Array:
    """Whole numbers that became floats because some of them are missing."""
    values = filled(column.cast(pa.float64()), np.nan)
    valid = ~np.isnan(values)
    whole = np.where(valid, values, 0.0)
    if not (np.abs(whole) < 2**53).all() or (whole != np.floor(whole)).any():
        raise hopeless(name, column.type, "text or whole numbers", "Write it as text.")
    return arrow_numbers(whole.astype(np.int64), valid)


def _scaled(counts: Ints, per_second: int) -> Ints:
    """Counts of a unit as microseconds; what would overflow becomes a time that is absurd."""
    if per_second == 10**6:
        return counts
    if per_second > 10**6:
        return np.where(counts == NO_TIME, NO_TIME, counts // (per_second // 10**6))
    factor = 10**6 // per_second
    most = np.iinfo(np.int64).max // factor
    return np.where(counts == NO_TIME, NO_TIME, np.clip(counts, -most, most) * factor)


def _text_micros(column: pa.Array) -> Ints:
    """ISO 8601, with a zone or without; all alike is fast, anything else is read value by value."""
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return filled(column.cast(kind).cast(pa.int64()), NO_TIME)
        except pa.ArrowInvalid:
            continue
    return np.fromiter((_one_time(text) for text in column.to_pylist()), np.int64, len(column))


def _one_time(text: str | None) -> int:
    try:
        found = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return NO_TIME
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    since = found - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _text_numbers(column: pa.Array) -> Floats:
    try:
        return filled(column.cast(pa.float64()), np.nan)
    except pa.ArrowInvalid:
        encoded = column.dictionary_encode()
        return _by_value(encoded, lambda values: np.array([_one_number(v) for v in values.to_pylist()]), np.nan)


def _one_number(text: str) -> float:
    known = text.strip().lower()
    if known in _YES or known in _NO[1:]:
        return float(known in _YES)
    try:
        return np.nan if "_" in known else float(known)
    except ValueError:
        return np.nan


def _by_value(
    column: pa.DictionaryArray, function: Callable[[pa.Array], npt.NDArray[Any]], null: Any
) -> npt.NDArray[Any]:
    """`function` of the dictionary's values, spread over the rows; `null` for nulls."""
    values = function(column.dictionary)
    codes, _ = _codes(column, len(values))
    spread: npt.NDArray[Any] = np.append(values, np.array([null], values.dtype))[codes]
    return spread


def _codes(column: pa.DictionaryArray, null: int) -> tuple[npt.NDArray[Any], Bools]:
    """The codes of a dictionary array, `null` for nulls, and where they are null."""
    indices = column.indices
    if not indices.null_count:
        return as_numpy(indices), np.zeros(len(indices), np.bool_)
    return filled(indices.cast(pa.int64()), null), as_numpy(indices.is_null())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind)) or kind == pa.string_view()


_EMPTY = hash_array(arrow_text([""]))[0]
