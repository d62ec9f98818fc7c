"""The log of predictions as numpy arrays: one row a request that is evidence, in the order of time; the rest is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from holdfast.data.hashing import NULL_HASH, Hashes
from holdfast.evidence import _columns as columns
from holdfast.evidence._index import Index, Places, time_order
from holdfast.evidence._room import Room
from holdfast.evidence._threads import in_threads
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.sums import BUCKETS

Ints = npt.NDArray[np.int64]
Small = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]

REQUIRED = ("prediction_id", "time", "variant", "unit")
OPTIONAL = ("latency_ms", "fault", "override", "row", "release", "epoch", "share")
VARIANTS = ("champion", "canary")
BATCH_ROWS = 1 << 16
_PLAIN = 6  # fields of `Rows` that every log has
_WHY = ("", "override", "no_id", "no_unit", "no_time", "absurd_time", "unknown_variant")  # the last found counts
_FURTHER = len(_WHY)  # a further row of a request: its first one stands for it


@dataclass(frozen=True, eq=False)
class Rows:
    """Requests, sorted by time; every array is (n,).

    id       hash of the prediction id
    micros   UTC microseconds since 1970
    arm      0 champion, 1 canary: as assigned
    unit     hash of the unit
    fault    whether it failed
    latency  milliseconds, NaN where there is none
    release (hash of its name), epoch (−1: none) and share (NaN: none) are None where the log lacks the column.
    """

    id: Hashes
    micros: Ints
    arm: Small
    unit: Hashes
    fault: Bools
    latency: npt.NDArray[np.float32]
    release: Hashes | None = None
    epoch: Ints | None = None
    share: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.id)

    @property
    def bucket(self) -> Ints:
        """The hash bucket of the unit, 0 … BUCKETS − 1, from the trailing bits: the sample of units uses the leading ones."""
        return (self.unit & np.uint64(BUCKETS - 1)).view(np.int64)

    @property
    def marked(self) -> bool:
        """Whether one of release, epoch and share is there."""
        return not (self.release is None and self.epoch is None and self.share is None)

    @property
    def cell(self) -> Ints:
        """arm · BUCKETS + bucket."""
        return self.bucket + self.arm.astype(np.int64) * BUCKETS

    @cached_property
    def index(self) -> Index:
        """Where each id stands; made when first asked for."""
        return Index(self.id)

    def take(self, places: Any) -> Rows:
        """The rows at `places`: row numbers, a mask, or a slice (which copies nothing)."""
        found: Any = (None if array is None else array[places] for array in self.arrays())
        return Rows(*found)

    def arrays(self) -> tuple[npt.NDArray[Any] | None, ...]:
        """The arrays in the order of the fields."""
        optional = (self.release, self.epoch, self.share)
        return (self.id, self.micros, self.arm, self.unit, self.fault, self.latency, *optional)

    def core(self) -> Rows:
        """Without release, epoch and share."""
        if not self.marked:
            return self
        found = Rows(self.id, self.micros, self.arm, self.unit, self.fault, self.latency)
        if "index" in self.__dict__:
            found.__dict__["index"] = self.index
        return found

    @classmethod
    def empty(cls) -> Self:
        ids, times, arms = np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int8)
        return cls(ids, times, arms, ids, np.empty(0, np.bool_), np.empty(0, np.float32))

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """All rows of `parts` one after the other, whatever their times; `in_order` sorts them."""
        parts = [part for part in parts if len(part)] or list(parts[:1])
        if len(parts) < 2:
            return parts[0] if parts else cls.empty()
        marked = any(part.marked for part in parts)
        arrays: Any = zip(*(part.complete() if marked else part.arrays()[:_PLAIN] for part in parts), strict=True)
        return cls(*(np.concatenate(found) for found in arrays))

    def in_order(self) -> tuple[Rows, Places | None]:
        """Sorted by time, rows of the same microsecond in their order here; and that order, None where nothing moved."""
        order = time_order(self.micros)
        return (self, None) if order is None else (self.take(order), order)

    def unique(self) -> tuple[Rows, LeftOut]:
        """Without the rows whose id an earlier one has, and their count."""
        repeats = self.index.repeats()
        if repeats is None:
            return self, LeftOut()
        return self.take(~repeats), LeftOut.of("duplicate", self.arm[repeats])

    def complete(self) -> tuple[npt.NDArray[Any] | None, ...]:
        """The arrays, with what is "none" where an optional one is not there."""
        none = (NULL_HASH, np.int64(-1), np.nan)
        arrays = self.arrays()
        filled = [np.full(len(self), n) if a is None else a for a, n in zip(arrays[_PLAIN:], none, strict=True)]
        return (*arrays[:_PLAIN], *filled)


def clean(predictions: pa.Table, *, per_request: bool = False) -> tuple[Rows, LeftOut]:
    """The rows that are evidence, sorted by time, and the count of those that are not.

    Left out are rows with an unknown variant, no unit, no id, no time or one outside 2000 to 2100, rows whose variant was
    overridden, and repetitions of a prediction id: of those the first by time stays, of the same microsecond the first in
    the log. A row counts under one reason. Of a request with several rows the first (`row` 0 or null) is its evidence: it
    was answered once, however many things it asked about; the others are passed over. With `per_request` each request is a
    unit of its own. Raises UserError where a column is missing or of a type that cannot be used.
    """
    columns.required(predictions.schema, REQUIRED, "prediction")
    room = rows_room(predictions.num_rows)
    in_threads(lambda piece: room.put(piece[0], parse(piece[1], per_request=per_request)), numbered(predictions))
    return settled(room)


def rows_room(count: int) -> Room:
    """Room for `count` parsed rows."""
    return Room(count, [*[None] * _PLAIN, NULL_HASH, -1, np.nan, None])


def numbered(table: pa.Table) -> list[tuple[int, pa.RecordBatch]]:
    """The table in batches, each with the number of its first row."""
    batches = table.to_batches(max_chunksize=BATCH_ROWS)
    begins = np.cumsum([0, *(batch.num_rows for batch in batches)])
    return [(int(begin), batch) for begin, batch in zip(begins, batches, strict=False)]


def parse(batch: pa.RecordBatch, *, per_request: bool = False) -> tuple[npt.NDArray[Any] | None, ...]:
    """One batch of the log, with the required columns, as the arrays of `Rows` and why a row is no evidence (0: it is).

    With `per_request` each request is a unit of its own, whatever the column says.
    """
    ids, no_id = columns.id_hashes(batch.column("prediction_id"), "prediction_id")
    units, no_unit = (ids, no_id) if per_request else columns.id_hashes(batch.column("unit"), "unit")
    times = columns.micros(batch.column("time"), "time")
    arms = columns.places_of(batch.column("variant"), "variant", VARIANTS)
    faults = _read(batch, "fault", lambda column, _: columns.said(column), np.bool_(False))
    latency = _read(batch, "latency_ms", columns.numbers, np.float64("nan")).astype(np.float32)
    why = np.zeros(batch.num_rows, np.uint8)
    timeless = times == columns.NO_TIME
    absurd = ~timeless & ((times < columns.EARLIEST) | (times >= columns.LATEST))
    forced = _read(batch, "override", columns.flags, np.bool_(False))
    for place, bad in enumerate((forced, no_id, no_unit, timeless, absurd, arms < 0), 1):
        why[bad] = place
    why[_read(batch, "row", lambda column, name: columns.whole_numbers(column, name, 0), np.int64(0)) > 0] = _FURTHER
    return (ids, times, arms, units, faults, latency, *_marks(batch), why)


def settled(room: Room) -> tuple[Rows, LeftOut]:
    """The rows of one log, parsed, as `clean` has them."""
    if not room.count:
        return Rows.empty(), LeftOut()
    *arrays, why = cast("Any", room.columns())
    rows, left_out = Rows(*arrays), LeftOut()
    if why.any():
        for place in np.unique(why[(why > 0) & (why < _FURTHER)]):
            left_out += LeftOut.of(_WHY[place], rows.arm[why == place])
        rows = rows.take(why == 0)
    unique, repeated = rows.in_order()[0].unique()
    return unique, left_out + repeated


def _marks(batch: pa.RecordBatch) -> tuple[Any, Any, Any]:
    """release, epoch and share, None for what the log lacks."""
    names = batch.schema.names
    release = columns.id_hashes(batch.column("release"), "release")[0] if "release" in names else None
    epoch = columns.whole_numbers(batch.column("epoch"), "epoch", -1) if "epoch" in names else None
    share = columns.numbers(batch.column("share"), "share") if "share" in names else None
    return release, epoch, share


def _read(
    batch: pa.RecordBatch, name: str, function: Callable[[pa.Array, str], npt.NDArray[Any]], default: np.generic
) -> npt.NDArray[Any]:
    """An optional column; `default` everywhere where the log lacks it."""
    if name not in batch.schema.names:
        return np.full(batch.num_rows, default)
    return function(batch.column(name), name)
