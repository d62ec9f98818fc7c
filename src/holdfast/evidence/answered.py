"""Requests as a replica has just answered them, as the table that the log will have of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa

from holdfast.data.arrow import arrow_numbers, arrow_text

# prediction_id, time (UTC microseconds), variant, unit, latency_ms, fault, override, how many rows, release, epoch
Answered: TypeAlias = tuple[str, int, str, str | None, float, str | None, bool, int, str | None, int]
TIME: Final = 1
RELEASE: Final = 8
EPOCH: Final = 9

_MICROS = pa.timestamp("us", "UTC")


def answered_table(answered: Sequence[Answered]) -> pa.Table:
    """The first record of each request, with the columns that evidence reads (release and epoch are the caller's).

    Of a fault only that there is one.
    """
    ids, times, variants, units, latencies, faults, overrides, counts, _, _ = zip(*answered, strict=True)
    columns = {
        "prediction_id": _text(ids),
        "time": _as_micros(np.array(times, np.int64)),
        "variant": _few(variants),
        "unit": _text(units),
        "latency_ms": arrow_numbers(np.array(latencies, np.float64)),
        "fault": arrow_numbers(np.zeros(len(answered), np.int8), np.array([bool(fault) for fault in faults], np.bool_)),
        "override": arrow_numbers(np.array(overrides, np.uint8)),
    }
    table = pa.table(columns)
    return table if all(counts) else table.filter(pa.array([count > 0 for count in counts]))


def _text(values: Sequence[str | None]) -> pa.Array:
    """As the log writes it: half a surrogate pair becomes a question mark."""
    try:
        return arrow_text(values)
    except UnicodeEncodeError:
        return arrow_text([None if text is None else text.encode("utf-8", "replace").decode() for text in values])


def _few(values: Sequence[str]) -> pa.Array:
    """Text with few different values."""
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    codes = np.array([places[value] for value in values], np.int32)
    return pa.DictionaryArray.from_arrays(arrow_numbers(codes), _text(list(places)))


def _as_micros(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Array:
    return pa.Array.from_buffers(_MICROS, len(values), [None, pa.py_buffer(values)])
