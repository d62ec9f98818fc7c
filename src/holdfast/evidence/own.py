"""What of a log that many write belongs to one of them: a replica's prediction ids carry its mark."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from holdfast.data.arrow import arrow_numbers
from holdfast.evidence import _columns as columns
from holdfast.evidence._arrow import filled

Bools = npt.NDArray[np.bool_]

_DIGITS = 8


@dataclass(frozen=True)
class Mark:
    """The `text` that all prediction ids of one replica have from character `place` on, and no other replica's have."""

    text: str
    place: int = 0

    @classmethod
    def of(cls, replica: str, place: int = 0) -> Self:
        """Eight hexadecimal digits that stay the same when the replica called so starts again."""
        return cls(hashlib.blake2b(replica.encode(), digest_size=_DIGITS // 2).hexdigest(), place)

    def on(self, ids: pa.Array) -> Bools:
        """Which ids carry it, (n,)."""
        if pa.types.is_dictionary(ids.type):
            ids = ids.cast(ids.type.value_type)
        text = ids.cast(pa.string())
        if self.place:
            text = pc.utf8_slice_codeunits(text, self.place, self.place + len(self.text))
        return filled(pc.starts_with(text, pattern=self.text), False)


def own_predictions(batch: pa.RecordBatch, mark: Mark, release: str, epoch: int, begin_micros: int) -> pa.RecordBatch:
    """The replica's own rows of one step: of this release and epoch, where the log has them, and not from before it began."""
    kept = mark.on(batch.column("prediction_id"))
    if "release" in batch.schema.names:
        kept &= columns.places_of(batch.column("release"), "release", [release]) == 0
    if "epoch" in batch.schema.names:
        kept &= columns.whole_numbers(batch.column("epoch"), "epoch", -1) == epoch
    kept &= columns.micros(batch.column("time"), "time") >= begin_micros
    return _taken(batch, kept)


def own_outcomes(batch: pa.RecordBatch, mark: Mark) -> pa.RecordBatch:
    """The outcomes of the replica's own predictions. Whoever received them, they are nobody else's."""
    return _taken(batch, mark.on(batch.column("prediction_id")))


def _taken(batch: pa.RecordBatch, kept: Bools) -> pa.RecordBatch:
    return batch if kept.all() else batch.take(arrow_numbers(np.flatnonzero(kept)))
