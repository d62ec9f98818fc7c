"""Records as bytes, a few microseconds each, and many of them as an Arrow table, some million rows a second.

JSON is as quick to write but ten times slower to read into columns, so a payload is a packed head, what it has in common with
many others, its own texts, and for each row the JSON text of its output and of what is kept of its input. An empty text stands
for null. The first two bytes name kind and version. `benchmarks/prediction_log.py` has the figures.
"""

from __future__ import annotations

import json
import math
import struct
from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from holdfast.data.arrow import arrow_numbers, arrow_text
from holdfast.errors import UserError
from holdfast.serving.log import packed
from holdfast.serving.log.packed import Packed, another_length, texts
from holdfast.serving.log.payloads import Ints, Payloads
from holdfast.serving.records import Record

LONGEST_TEXT = (1 << 16) - 1  # bytes of an id, a name or a unit
_MICROS = pa.timestamp("us", "UTC")

_FEW = pa.dictionary(pa.int32(), pa.string())  # text with few different values

PREDICTIONS = pa.schema(
    {
        "prediction_id": pa.string(),
        "time": _MICROS,
        "model": _FEW,
        "version": _FEW,
        "variant": _FEW,
        "served_by": _FEW,
        "unit": pa.string(),
        "latency_ms": pa.float64(),
        "fault": _FEW,
        "output": pa.string(),
        "release": _FEW,
        "epoch": pa.int64(),
        "share": pa.float64(),
        "override": pa.bool_(),
        "row": pa.int32(),
        "inputs": pa.string(),
    }
)
_TAG = b"P2"
_HEAD = struct.Struct("<2sxxIqd3I2H")
_LENGTH = struct.Struct("<I")
_FIELDS: list[Any] = [("tag", "S2"), ("_", "u2"), ("rows", "<u4"), ("time", "<i8"), ("latency", "<f8")]
_HEADS = np.dtype([*_FIELDS, ("common", "<u4"), ("bodies", "<u4", (2,)), ("texts", "<u2", (2,))])
_COMMON = struct.Struct("<qd?x6H")
_COMMON_TEXTS = ("model", "version", "variant", "served_by", "fault", "release")
_MANY = 16
_NUMBERS = {float, int, bool}

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
    common = _common(
        record.epoch,
        record.share,
        record.override,
        record.model,
        record.version,
        record.variant,
        record.served_by,
        record.fault or "",
        record.release or "",
    )
    names, sizes = _utf8(record.prediction_id, record.unit or "")
    rows = len(record.outputs)
    output_sizes, output = _row_bodies(record.outputs)
    input_sizes, inputs = _row_bodies(record.inputs) if record.inputs is not None else (bytes(4 * rows), b"")
    if len(input_sizes) != len(output_sizes):
        raise ValueError(f"expected an input for each of {rows} rows, found {len(input_sizes) // 4}")
    bodies = len(output), len(inputs)
    try:
        head = _HEAD.pack(_TAG, rows, record.time, record.latency_ms, len(common), *bodies, *sizes)
    except struct.error:
        raise _unfit(sizes) from None
    return b"".join((head, common, names, output_sizes, input_sizes, output, inputs))


def table_of(payloads: Sequence[bytes]) -> pa.Table:
    """The rows of the requests, in their order, with the schema `PREDICTIONS`. Damaged for payloads of another kind."""
    found = [_batch(part) for part in Payloads.of(payloads).parts(packed.BATCH_BYTES)]
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
    found = [_outcome_batch(part) for part in Payloads.of(payloads).parts(packed.BATCH_BYTES)]
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


@lru_cache(1024)
def _common(epoch: int, share: float, override: bool, *texts: str) -> bytes:
    """What the requests of an hour have in common, a few times at most."""
    names, sizes = _utf8(*texts)
    try:
        return _COMMON.pack(epoch, share, override, *sizes) + names
    except struct.error:
        raise _unfit(sizes) from None


def _batch(payloads: Payloads) -> pa.RecordBatch:
    found = Packed(payloads, _HEADS, _TAG)
    heads = found.heads
    rows = heads["rows"].astype(np.int64)
    found.split([heads["common"], *heads["texts"].T, 4 * rows, 4 * rows, *heads["bodies"].T])
    first = np.cumsum(rows) - rows
    columns = _common_columns(found.piece(0), rows) | {
        "prediction_id": found.text(1, rows),
        "time": pa.array(np.repeat(heads["time"], rows)).view(_MICROS),
        "unit": found.text(2, rows),
        "latency_ms": pa.array(np.repeat(heads["latency"], rows)),
        "output": _row_texts(found, 0, rows),
        "row": pa.array((np.arange(rows.sum()) - np.repeat(first, rows)).astype(np.int32)),
        "inputs": _row_texts(found, 1, rows),
    }
    return pa.record_batch([columns[name] for name in PREDICTIONS.names], schema=PREDICTIONS)


def _common_columns(pieces: pa.Array, rows: Ints) -> dict[str, pa.Array]:
    """Columns of what was packed by `_common`: each different piece is looked at once."""
    encoded = pieces.dictionary_encode()
    different = [_unpacked(piece) for piece in encoded.dictionary.to_pylist()]
    codes = np.repeat(encoded.indices.to_numpy(), rows)
    epochs, shares, overrides, *names = map(list, zip(*different, strict=True))
    columns = {name: _few(values, codes) for name, values in zip(_COMMON_TEXTS, names, strict=True)}
    numbers = {"epoch": np.array(epochs, np.int64), "share": np.array(shares), "override": np.array(overrides)}
    return columns | {name: pa.array(values[codes]) for name, values in numbers.items()}


def _unpacked(piece: bytes) -> list[Any]:
    """The arguments of `_common`."""
    if len(piece) < _COMMON.size:
        raise another_length()
    epoch, share, override, *sizes = _COMMON.unpack_from(piece)
    ends = list(accumulate(sizes, initial=_COMMON.size))
    if ends[-1] != len(piece):
        raise another_length()
    return [epoch, share, override, *(piece[begin:end].decode() for begin, end in pairwise(ends))]


def _few(values: Sequence[str], codes: npt.NDArray[np.int32]) -> pa.Array:
    """`values[codes]`; an empty text is null."""
    place = {value: number for number, value in enumerate(dict.fromkeys(filter(None, values)))}
    places = np.array([place.get(value, -1) for value in values], np.int32)[codes]
    there = None if all(values) else places >= 0
    return pa.DictionaryArray.from_arrays(arrow_numbers(places, there), arrow_text(list(place)))


def _row_texts(found: Packed, body: int, rows: Ints) -> pa.Array:
    """One text for each row, of the outputs (0) or inputs (1): all payloads' bodies are those texts one after the other."""
    if not found.heads["bodies"][:, body].any():
        return pa.nulls(rows.sum(), pa.string())
    sizes, data = np.frombuffer(found.joined(3 + body), "<u4"), found.joined(5 + body)
    found.check(int(sizes.sum(dtype=np.int64)) == len(data))
    return texts(sizes, pa.py_buffer(data))


def _outcome_batch(payloads: Payloads) -> pa.RecordBatch:
    found = Packed(payloads, _OUTCOME_HEADS, _OUTCOME_TAG)
    heads = found.heads
    found.split(list(heads["texts"].T))
    columns = [
        found.text(0),
        pa.array(heads["time"]).view(_MICROS),
        found.text(1),
        pa.array(heads["value"]),
        pa.array(heads["row"], mask=~heads["has_row"]),
        found.text(2),
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
