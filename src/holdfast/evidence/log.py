"""The two log tables as a thing that grows: everything, or what came since a position; and straight to rows and outcomes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from holdfast.errors import UserError
from holdfast.evidence import outcomes as outcome_log
from holdfast.evidence import rows as prediction_log
from holdfast.evidence._files import Appended, Asked, Given, Piece, appended
from holdfast.evidence._room import Room
from holdfast.evidence._threads import at_once, in_threads
from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.outcomes import Outcomes, outcomes_room, parse_outcomes, settled_outcomes
from holdfast.evidence.rows import BATCH_ROWS, Rows, parse, rows_room, settled

Position = Mapping[str, Any]  # JSON; what it holds is the log's own affair

PREDICTIONS = Asked("prediction", prediction_log.REQUIRED, prediction_log.OPTIONAL)
OUTCOMES = Asked("outcome", outcome_log.REQUIRED, ())


@dataclass(frozen=True)
class Slice:
    """Rows of both logs in the order in which they were appended; `unfinished` names files that could not be parsed yet."""

    predictions: pa.Table
    outcomes: pa.Table
    unfinished: tuple[str, ...] = ()


class PredictionLog(Protocol):
    """Something that has the two log tables."""

    def read(self, after: Position | None) -> tuple[Slice, Position]:
        """What was appended since `after` (None: everything), and the position after it.

        OutsideError (`log_unavailable`) where it cannot be read, UserError where it is no such log.
        """
        ...


@runtime_checkable
class LogInPieces(Protocol):
    """A log whose `read` can also be had as pieces that are not read yet: predictions, and outcomes."""

    def appended(self, after: Position | None) -> tuple[Appended, Appended]: ...


class MemoryLog:
    """The two tables in memory; `append` adds to them."""

    def __init__(self, predictions: pa.Table | None = None, outcomes: pa.Table | None = None) -> None:
        self._predictions: list[pa.Table] = []
        self._outcomes: list[pa.Table] = []
        self.append(predictions, outcomes)

    def append(self, predictions: pa.Table | None = None, outcomes: pa.Table | None = None) -> None:
        """Rows at the end of either table."""
        if predictions is not None:
            self._predictions.append(predictions)
        if outcomes is not None:
            self._outcomes.append(outcomes)

    def read(self, after: Position | None) -> tuple[Slice, Position]:
        begins = after or {"predictions": 0, "outcomes": 0}
        predictions = _table(self._predictions[begins["predictions"] :], PREDICTIONS)
        outcomes = _table(self._outcomes[begins["outcomes"] :], OUTCOMES)
        return Slice(predictions, outcomes), {"predictions": len(self._predictions), "outcomes": len(self._outcomes)}


class FileLog:
    """The two tables as files: each a folder of Parquet files, a Parquet file, or a CSV file. Only needed columns are read.

    A folder grows by whole new files, of which one that cannot be parsed yet is left for the next time (the slice names it); a
    file grows by rows at its end. Without `outcomes` there are none.
    """

    def __init__(self, predictions: Path, outcomes: Path | None = None) -> None:
        self.predictions, self.outcomes = Path(predictions), None if outcomes is None else Path(outcomes)

    def read(self, after: Position | None) -> tuple[Slice, Position]:
        return sliced(*self.appended(after))

    def appended(self, after: Position | None) -> tuple[Appended, Appended]:
        """What `read` reads, as pieces that are not read yet."""
        predictions = appended(self.predictions, PREDICTIONS, after and after["predictions"])
        if self.outcomes is None:
            return predictions, Appended([], {})
        return predictions, appended(self.outcomes, OUTCOMES, after and after["outcomes"])


@dataclass(frozen=True)
class Taken:
    """What was appended to a log, clean: see `clean` and `clean_outcomes`."""

    rows: Rows
    outcomes: Outcomes
    left_out: LeftOut
    position: Position
    unfinished: tuple[str, ...] = ()


def take(
    log: PredictionLog, after: Position | None = None, names: Sequence[str] = (), *, per_request: bool = False
) -> Taken:
    """What was appended since `after`, with the outcomes called one of `names`: `read` and cleaning in one.

    With `per_request` each request is a unit of its own: for proxies that draw every request anew.
    Of files, pieces are read and cleaned one by one, several at a time, so the text of ids is never all in memory.
    """
    wanted = list(dict.fromkeys(names))
    of_rows, of_marks, position, unfinished = _pieces(log, after)
    of_marks = of_marks if wanted else []
    room, marks_room = rows_room(_count(of_rows)), outcomes_room(_count(of_marks))
    parsed = functools.partial(parse, per_request=per_request)
    in_threads(lambda task: _fill(room, *task, parsed), _placed(of_rows))

    def marks_of(batch: pa.RecordBatch) -> Sequence[Any]:
        return parse_outcomes(batch, wanted)

    fills = [functools.partial(_fill, marks_room, *task, marks_of) for task in _placed(of_marks)]
    tasks: list[Callable[[], Any]] = [lambda: settled(room), *fills]  # rows are sorted while outcomes are read
    (rows, left_out), *_ = at_once(room.count + marks_room.count, *tasks)
    marks, lost = settled_outcomes(marks_room, wanted)
    return Taken(rows, marks, left_out + lost, position, unfinished)


def unread(
    log: PredictionLog, after: Position | None
) -> tuple[Iterator[pa.RecordBatch], Iterator[pa.RecordBatch], Position]:
    """Predictions and outcomes appended since `after`, batch by batch as they are asked for, and the position after them.

    For those who want few rows of many: of a table that nobody asks for nothing is read.
    """
    of_rows, of_marks, position, _ = _pieces(log, after)
    return _batches(of_rows), _batches(of_marks), position


def sliced(predictions: Appended, outcomes: Appended) -> tuple[Slice, Position]:
    """What was appended, read, and the position after it."""
    rows, marks = _read(predictions, PREDICTIONS), _read(outcomes, OUTCOMES)
    return Slice(rows, marks, _unfinished(predictions, outcomes)), _position(predictions, outcomes)


def _pieces(
    log: PredictionLog, after: Position | None
) -> tuple[Sequence[Piece], Sequence[Piece], Position, tuple[str, ...]]:
    """Pieces of both tables, the position after them, and the files that are not finished."""
    if isinstance(log, LogInPieces):
        rows, marks = log.appended(after)
        return rows.pieces, marks.pieces, _position(rows, marks), _unfinished(rows, marks)
    found, position = log.read(after)
    return _given(found.predictions, PREDICTIONS), _given(found.outcomes, OUTCOMES), position, found.unfinished


def _batches(pieces: Sequence[Piece]) -> Iterator[pa.RecordBatch]:
    for piece in pieces:
        yield from piece()


def _fill(room: Room, begin: int, piece: Piece, parsed: Callable[[pa.RecordBatch], Sequence[Any]]) -> None:
    """Read one piece, whose first row is row `begin`."""
    for batch in piece():
        room.put(begin, parsed(batch))
        begin += batch.num_rows


def _count(pieces: Sequence[Piece]) -> int:
    return sum(piece.rows for piece in pieces)


def _placed(pieces: Sequence[Piece]) -> list[tuple[int, Piece]]:
    """The pieces, each with the number of its first row."""
    begins = np.cumsum([0, *(piece.rows for piece in pieces)])
    return [(int(begin), piece) for begin, piece in zip(begins, pieces, strict=False)]


def _given(table: pa.Table, asked: Asked) -> list[Piece]:
    asked.among(table.schema)
    return [Given(batch) for batch in table.to_batches(max_chunksize=BATCH_ROWS)]


def _read(found: Appended, asked: Asked) -> pa.Table:
    return _table([pa.Table.from_batches([batch]) for piece in found.pieces for batch in piece()], asked)


def _table(tables: list[pa.Table], asked: Asked) -> pa.Table:
    """One table with the needed columns only; text is plain text, so that tables of different writers fit."""
    if not tables:
        kinds = {"time": pa.timestamp("us", "UTC"), "value": pa.float64()}
        return pa.table({name: pa.array([], kinds.get(name, pa.string())) for name in asked.required})
    plain = [_plain(table.select(asked.among(table.schema))) for table in tables]
    try:
        return pa.concat_tables(plain, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(
            f"The parts of the {asked.what} log do not fit together: {error}.", reason_code="bad_log"
        ) from error


def _plain(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
        elif field.type == pa.string_view():
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
    return table


def _position(predictions: Appended, outcomes: Appended) -> Position:
    return {"predictions": predictions.position, "outcomes": outcomes.position}


def _unfinished(predictions: Appended, outcomes: Appended) -> tuple[str, ...]:
    return (*predictions.unfinished, *outcomes.unfinished)
