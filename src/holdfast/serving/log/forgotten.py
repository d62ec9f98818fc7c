"""Who asked to be forgotten, as the ledger has it: digests and moments, never an id.

Replicas may still hold rows of that unit in segments of their own. So what a compaction brings later is looked through as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from holdfast.evidence._arrow import arrow_bools, filled, python_texts
from holdfast.ledger import Ledger

UNIT_FORGOTTEN, UNIT_ERASED = "unit_forgotten", "unit_erased"
_DIGEST_BYTES = 16


class Forgotten:
    """The rows that must not come back: by digest of their unit, up to a moment in UTC microseconds."""

    def __init__(self, model: str = "", until: Mapping[str, int] | None = None) -> None:
        self.model, self.until = model, dict(until or {})

    @classmethod
    def of(cls, ledger: Ledger, model: str) -> Forgotten:
        """As the ledger says now."""
        until: dict[str, int] = {}
        for event in ledger.follow(stream_of(model)):
            if event.type == UNIT_FORGOTTEN:
                until[event.payload["unit"]] = _micros(event.payload["until"])
        return cls(model, until)

    def without(self, rows: pa.Table) -> pa.Table:
        """`rows` of the predictions' table without those of forgotten units."""
        if not self.until or not rows.num_rows:
            return rows
        times = filled(_whole(rows.column("time")).cast(pa.int64()), 0)
        if times.min() > max(self.until.values()):
            return rows
        units = _whole(rows.column("unit")).dictionary_encode()
        ends = [self.until.get(unit_digest(self.model, unit or ""), -1) for unit in python_texts(units.dictionary)]
        if max(ends, default=-1) < 0:
            return rows
        end = np.array([*ends, -1])[filled(units.indices.cast(pa.int64()), len(ends))]
        return rows.filter(arrow_bools(times > end))


def unit_digest(model: str, unit: str) -> str:
    """What the ledger says instead of a unit's id."""
    key = hashlib.blake2b(model.encode(), digest_size=32).digest()
    return hashlib.blake2b(unit.encode("utf-8", "replace"), key=key, digest_size=_DIGEST_BYTES).hexdigest()


def stream_of(model: str) -> str:
    """The ledger's stream of what was done to the log of `model`."""
    return f"log/{model}"


def record_forgotten(ledger: Ledger, model: str, unit: str, until: datetime) -> str:
    """Say that all rows of `unit` up to `until` are to be forgotten; returns its digest."""
    digest = unit_digest(model, unit)
    ledger.append_latest(stream_of(model), UNIT_FORGOTTEN, {"unit": digest, "until": until.isoformat()})
    return digest


def record_erased(ledger: Ledger, model: str, digest: str, counts: Mapping[str, Any]) -> None:
    """Say that it was done."""
    ledger.append_latest(stream_of(model), UNIT_ERASED, {"unit": digest, **counts})


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pc.cast(column, column.type).combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _micros(text: str) -> int:
    since = datetime.fromisoformat(text) - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return since // timedelta(microseconds=1)
