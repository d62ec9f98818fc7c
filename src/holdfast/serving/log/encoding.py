"""Records as bytes, a few microseconds each, and many of them as an Arrow table, more than a million rows a second.

JSON is as quick to write but ten times slower to read into columns, so a payload is a packed head, its texts, and for each row
the JSON text of its output and of what is kept of its input. An empty text stands for null. The first two bytes name kind and
version. `benchmarks/prediction_log.py` has the figures.
"""

from __future__ import annotations

import json
import math
import struct
from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from holdfast.errors import UserError
from holdfast.serving.log.packed import Packed, batches, texts
from holdfast.serving.records import Record

LONGEST_TEXT = (1 << 16) - 1  # bytes of an id, a name or a unit
_MICROS = pa.timestamp("us", "UTC")

PREDICTIONS = pa.schema(
    {
        "prediction_id": pa.string(),
        "time": _MICROS,
        "model": pa.string(),
        "version": pa.string(),
        "variant": pa.string(),
        "served_by": pa.string(),
        "unit": pa.string(),
        "latency_ms": pa.float64(),
        "fault": pa.string(),
        "output": pa.string(),
        "release": pa.string(),
        "epoch": pa.int64(),
        "share": pa.float64(),
        "override": pa.bool_(),
        "row": pa.int32(),
        "inputs": pa.string(),
    }
)
_TAG = b"P1"
_HEAD = struct.Struct("<2sBxIqqdd8H2I")
_LENGTH = struct.Struct("<I")
_MANY = 16
_NUMBERS = {float, int, bool}
_FIELDS: list[Any] = [("tag", "S2"), ("override", "?"), ("_", "u1"), ("rows", "<u4"), ("time", "<i8"), ("epoch", "<i8")]
_FIELDS += [("latency", "<f8"), ("share", "<f8"), ("texts", "<u2", (8,)), ("bodies", "<u4", (2,))]
_HEADS = np.dtype(_FIELDS)
_TEXTS = ("prediction_id", "model", "version", "variant", "served_by", "unit", "fault", "release")

OUTCOMES = pa.schema(
    {
        "prediction_id": pa.string(),
        "time": _MICROS,
        "name": pa.string(),
        "value": pa.float64(),
        "row": pa.int32(),
        "event_id": pa.string(),
    }
)
_OUTCOME_TAG = b"O1"
_OUTCOME_HEAD = struct.Struct("<2sBxiqd3Hxx")
_OUTCOME_FIELDS: list[Any] = [("tag", "S2"), ("has_row", "?"), ("_", "u1"), ("row", "<i4"), ("time", "<i8")]
_OUTCOME_HEADS = np.dtype([*_OUTCOME_FIELDS, ("value", "<f8"), ("texts", "<u2", (3,)), ("__", "<u2")])


def encode(record: Record) -> bytes:
    """The payload of one request. UserError for a text of more than 65,535 bytes."""
    names, sizes = _utf8(
        record.prediction_id,
        record.model,
        record.version,
        record.variant,
        record.served_by,
        record.unit or "",
        record.fault or "",
        record.release or "",
    )
    rows = len(record.outputs)
    output_sizes, output = _row_bodies(record.outputs)
    input_sizes, inputs = _row_bodies(record.inputs) if record.inputs is not None else (bytes(4 * rows), b"")
    if len(input_sizes) != len(output_sizes):
        raise ValueError(f"expected an input for each of {rows} rows, found {len(input_sizes) // 4}")
    try:
        head = _HEAD.pack(
            _TAG,
            record.override,
            rows,
            record.time,
            record.epoch,
            record.latency_ms,
            record.share,
            *sizes,
            len(output),
            len(inputs),
        )
    except struct.error:
        raise _unfit(sizes) from None
    return b"".join((head, names, output_sizes, input_sizes, output, inputs))


def table_of(payloads: Sequence[bytes]) -> pa.Table:
    """The rows of the requests, in their order, with the schema `PREDICTIONS`. Damaged for payloads of another kind."""
    found = [_batch(part) for part in batches(payloads)]
    return pa.Table.from_batches(found, PREDICTIONS)


def encode_outcome(
    event_id: str, prediction_id: str, time_micros: int, name: str, value: float, row: int | None = None
) -> bytes:
    """The payload of one outcome; `row` None is the whole request. UserError for a text of more than 65,535 bytes."""
    names, sizes = _utf8(prediction_id, name, event_id)
    try:
        head = _OUTCOME_HEAD.pack(_OUTCOME_TAG, row is not None, row or 0, time_micros, value, *sizes)
    except struct.error:
        raise _unfit(sizes) from None
    return head + names


def outcomes_table_of(payloads: Sequence[bytes]) -> pa.Table:
    """The outcomes in their order, with the schema `OUTCOMES`. Damaged for payloads of another kind."""
    found = [_outcome_batch(part) for part in batches(payloads)]
    return pa.Table.from_batches(found, OUTCOMES)


def json_text(value: Any) -> bytes:
    """`value` as JSON: NaN is null, bytes are text or else base64, what JSON cannot say is said as text. Never raises."""
    try:
        return _dumps(value)
    except TypeError:  # half a surrogate pair, integers of more than 64 bits, very deep nesting
        pass
    try:
        return json.dumps(_clean(value), separators=(",", ":"), ensure_ascii=False).encode()
    except RecursionError:
        return b'"nested too deeply"'


def _batch(payloads: Sequence[bytes]) -> pa.RecordBatch:
    packed = Packed(payloads, _HEADS, _TAG)
    heads = packed.heads
    rows = heads["rows"].astype(np.int64)
    packed.split([*heads["texts"].T, 4 * rows, 4 * rows, *heads["bodies"].T])
    first = np.cumsum(rows) - rows
    columns = {name: packed.text(number, rows) for number, name in enumerate(_TEXTS)}
    columns |= {
        "time": pa.array(np.repeat(heads["time"], rows)).view(_MICROS),
        "latency_ms": pa.array(np.repeat(heads["latency"], rows)),
        "output": _row_texts(packed, 8, 10),
        "epoch": pa.array(np.repeat(heads["epoch"], rows)),
        "share": pa.array(np.repeat(heads["share"], rows)),
        "override": pa.array(np.repeat(heads["override"], rows)),
        "row": pa.array((np.arange(rows.sum()) - np.repeat(first, rows)).astype(np.int32)),
        "inputs": _row_texts(packed, 9, 11),
    }
    return pa.record_batch([columns[name] for name in PREDICTIONS.names], schema=PREDICTIONS)


def _row_texts(packed: Packed, lengths: int, body: int) -> pa.Array:
    """One text for each row: all payloads' bodies are those texts one after the other."""
    sizes, data = np.frombuffer(packed.joined(lengths), "<u4"), packed.joined(body)
    packed.check(int(sizes.sum(dtype=np.int64)) == len(data))
    return texts(sizes, pa.py_buffer(data))


def _outcome_batch(payloads: Sequence[bytes]) -> pa.RecordBatch:
    packed = Packed(payloads, _OUTCOME_HEADS, _OUTCOME_TAG)
    heads = packed.heads
    packed.split(list(heads["texts"].T))
    columns = [
        packed.text(0),
        pa.array(heads["time"]).view(_MICROS),
        packed.text(1),
        pa.array(heads["value"]),
        pa.array(heads["row"], mask=~heads["has_row"]),
        packed.text(2),
    ]
    return pa.record_batch(columns, schema=OUTCOMES)


def _utf8(*parts: str) -> tuple[bytes, list[int]]:
    """The texts one after the other, and how many bytes each has; half a surrogate pair becomes a question mark."""
    joined = "".join(parts)
    if joined.isascii():
        return joined.encode(), list(map(len, parts))
    encoded = [part.encode("utf-8", "replace") for part in parts]
    return b"".join(encoded), list(map(len, encoded))


def _row_bodies(values: Sequence[Any]) -> tuple[bytes, bytes]:
    """How many bytes the JSON text of each value has, and those texts; None has none."""
    bodies = _number_bodies(values) or [b"" if value is None else json_text(value) for value in values]
    if len(bodies) == 1:
        return _LENGTH.pack(len(bodies[0])), bodies[0]
    return struct.pack(f"<{len(bodies)}I", *map(len, bodies)), b"".join(bodies)


def _number_bodies(values: Sequence[Any]) -> list[bytes] | None:
    """The texts of many numbers in a tenth of the time; None where there are few, or others."""
    if len(values) < _MANY or not set(map(type, values)) <= _NUMBERS:
        return None
    try:
        return orjson.dumps(values)[1:-1].split(b",")
    except TypeError:  # more than 64 bits
        return None


def _unfit(sizes: Sequence[int]) -> Exception:
    if max(sizes) > LONGEST_TEXT:
        message = f"expected ids and names of at most {LONGEST_TEXT} bytes, found {max(sizes)}."
        return UserError(message, reason_code="too_long")
    return ValueError("expected 64-bit integers and numbers in a record")


def _plain(value: Any) -> Any:
    """What orjson does not know, as something that it knows."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            return b64encode(value).decode()
    return value.tolist() if hasattr(value, "tolist") else str(value)


_dumps = partial(orjson.dumps, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def _clean(value: Any) -> Any:
    """`value` as json.dumps writes it to valid UTF-8 JSON."""
    if isinstance(value, dict):
        return {_clean_text(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int) else _clean(_plain(value))


def _clean_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
