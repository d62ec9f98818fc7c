"""The log of outcomes as numpy arrays, by name, and how outcomes join requests: exactly once, the first one by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from holdfast.data.hashing import Hashes
from holdfast.evidence import _columns as columns
from holdfast.evidence._room import Room
from holdfast.evidence._threads import in_threads
from holdfast.evidence.firsts import First
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.rows import Rows, numbered

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

REQUIRED = ("prediction_id", "time", "name", "value")
_WHY = ("", "outcome_no_id", "outcome_no_time", "outcome_absurd_time")


@dataclass(frozen=True, eq=False)
class Marks:
    """Outcomes of one name in the order in which they arrived; every array is (n,). `value` is NaN where it is no number."""

    id: Hashes
    micros: Ints
    value: Floats

    def __len__(self) -> int:
        return len(self.id)

    def take(self, places: Any) -> Marks:
        """The outcomes at `places`: row numbers, a mask, or a slice."""
        return Marks(self.id[places], self.micros[places], self.value[places])

    @classmethod
    def empty(cls) -> Self:
        return cls(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.float64))

    @classmethod
    def joined(cls, parts: Sequence[Marks]) -> Marks:
        """All outcomes of `parts`, one part after the other."""
        parts = [part for part in parts if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else cls.empty()
        arrays = zip(*((part.id, part.micros, part.value) for part in parts), strict=True)
        return cls(*(np.concatenate(found) for found in arrays))


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Outcomes by their name; a name without outcomes may be absent."""

    by_name: Mapping[str, Marks] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(marks) for marks in self.by_name.values())

    def of(self, name: str) -> Marks:
        """The outcomes called `name`."""
        return self.by_name.get(name, Marks.empty())

    def take(self, places: Mapping[str, Any]) -> Outcomes:
        """Of every name in `places`, the outcomes there."""
        return Outcomes({name: self.of(name).take(where) for name, where in places.items()})

    @classmethod
    def joined(cls, parts: Sequence[Outcomes]) -> Self:
        """All outcomes of `parts`, one part after the other."""
        names = dict.fromkeys(name for part in parts for name in part.by_name)
        return cls({name: Marks.joined([part.of(name) for part in parts]) for name in names})


def clean_outcomes(outcomes: pa.Table, names: Sequence[str] | None = None) -> tuple[Outcomes, LeftOut]:
    """The outcomes called one of `names` (None: all), in the order of the log, and the count of those that cannot be joined.

    Booleans are 0 and 1, text is parsed; a value that is no finite number stays, as NaN or infinite, and makes its request
    count for nothing. An outcome of one of a request's rows is one of the request. Raises UserError where a column is missing
    or of a type that cannot be used.
    """
    columns.required(outcomes.schema, REQUIRED, "outcome")
    wanted = _names(outcomes.column("name")) if names is None else list(dict.fromkeys(names))
    room = outcomes_room(outcomes.num_rows)
    in_threads(lambda piece: room.put(piece[0], parse_outcomes(piece[1], wanted)), numbered(outcomes))
    return settled_outcomes(room, wanted)


def outcomes_room(count: int) -> Room:
    """Room for `count` parsed outcomes."""
    return Room(count, [None] * 5)


def parse_outcomes(batch: pa.RecordBatch, names: Sequence[str]) -> tuple[npt.NDArray[Any], ...]:
    """One batch of the log, with the required columns: ids, times, values, the place of each name, why one cannot be joined."""
    ids, no_id = columns.id_hashes(batch.column("prediction_id"), "prediction_id")
    times = columns.micros(batch.column("time"), "time")
    named = columns.places_of(batch.column("name"), "name", names)
    why = np.zeros(batch.num_rows, np.uint8)
    timeless = times == columns.NO_TIME
    absurd = ~timeless & ((times < columns.EARLIEST) | (times >= columns.LATEST))
    for place, bad in enumerate((no_id, timeless, absurd), 1):
        why[bad] = place
    return ids, times, columns.numbers(batch.column("value"), "value"), named, why


def settled_outcomes(room: Room, names: Sequence[str]) -> tuple[Outcomes, LeftOut]:
    """The outcomes of one log, parsed, as `clean_outcomes` has them."""
    if not room.count:
        return Outcomes(), LeftOut()
    ids, times, values, named, why = cast("Any", room.columns())
    marks, left_out = Marks(ids, times, values), LeftOut()
    if not why.any() and (named == named[0]).all():
        return Outcomes({names[named[0]]: marks} if named[0] >= 0 else {}), left_out
    lost = np.bincount(why[named >= 0], minlength=len(_WHY))
    left_out = LeftOut({reason: (0, 0, int(count)) for reason, count in zip(_WHY[1:], lost[1:], strict=True)})
    found = {name: marks.take((named == place) & (why == 0)) for place, name in enumerate(names)}
    return Outcomes({name: some for name, some in found.items() if len(some)}), left_out


def join(rows: Rows, marks: Marks) -> tuple[First, Marks]:
    """The first outcome of each request, and the outcomes whose request is not among `rows`."""
    first, unknown = First.none(len(rows)), []
    if not len(rows) or not len(marks):
        return first, marks
    for part, places in rows.index.find_parts(marks.id):
        some, known = marks.take(part), places >= 0
        if not known.all():
            unknown.append(some.take(~known))
            some, places = some.take(known), places[known]  # noqa: PLW2901 - only what is known is added
        first.add(places, some.micros, some.value)
    return first, Marks.joined(unknown)


def raw(rows: Rows, first: First) -> Marks:
    """The outcomes that `first` was made of: the ones that won come first, so that they win again."""
    places, micros, values = first.all()
    return Marks(rows.id[places], micros, values)


def _names(column: pa.ChunkedArray) -> list[str]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return [name for name in pc.unique(column).to_pylist() if isinstance(name, str)]
