"""Forgetting one unit: its rows and their outcomes leave the tables, and no file that ever held them is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from holdfast.data.hashing import as_numpy
from holdfast.evidence._arrow import arrow_bools, arrow_text, python_texts
from holdfast.evidence.delta import DataFile, DeltaTables, LogTable
from holdfast.evidence.delta_log import Origin, moved
from holdfast.ledger import Ledger
from holdfast.serving.log.appending import FORGOTTEN, has_forgotten, pause, steadily
from holdfast.serving.log.compaction import OUTCOMES, PREDICTIONS, compact
from holdfast.serving.log.forgotten import Forgotten, record_erased, record_forgotten
from holdfast.serving.log.segments import damaged, sealed, unsealed

Bools = npt.NDArray[np.bool_]
_ABANDONED = timedelta(hours=1)  # an unfinished write that is older has no writer any more
_OPEN = "is being written; what it holds of the unit is dropped when it is compacted"
_WAITING = "waits to be compacted or sent to Kafka, and is deleted then"
_DAMAGED = "holds the id in bytes that cannot be read as records; delete it"


@dataclass(frozen=True)
class Erased:
    """What was removed. `left` names files of this machine that hold the id still, and why that is."""

    digest: str
    rows: int
    outcomes: int
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Rewritten:
    """A file without some rows: `new`, None where none is left, and the prediction ids of the rows that went."""

    old: DataFile
    new: DataFile | None
    origin: Origin
    ids: list[str]


def forget(folder: Path | None, tables: DeltaTables, ledger: Ledger, model: str, unit: str, now: datetime) -> Erased:
    """Remove everything of `unit`, which is as the log names it. To be repeated where it was interrupted or OutsideError came.

    The ledger is told first, so that no replica brings rows back that it still holds in segments of its own. Then the segments
    of `folder` are compacted without them, and then the tables are written anew where they have to be.
    """
    digest = record_forgotten(ledger, model, unit, now)
    if folder is not None:
        compact(folder, tables, lambda: Forgotten.of(ledger, model))
    known = steadily(tables.predictions, lambda: _ids_of(tables.predictions, unit))
    outcomes = len(erase(tables.outcomes, "prediction_id", known, digest))  # first: its rows are found by the others
    ids = erase(tables.predictions, "unit", [unit], digest)
    if late := list(set(ids) - set(known)):
        outcomes += len(erase(tables.outcomes, "prediction_id", late, digest))
    record_erased(ledger, model, digest, {"rows": len(ids), "outcomes": outcomes})
    return Erased(digest, len(ids), outcomes, () if folder is None else tuple(_left(folder, unit)))


def erase(table: LogTable, column: str, values: list[str], note: str) -> list[str]:
    """Remove the rows whose `column` is one of `values`, and every file that held them; returns their prediction ids.

    There is always a commit, so that whoever wrote files before it and commits after it starts over.
    """
    table.refresh()
    seen: dict[str, _Rewritten | None] = {}
    wanted, attempt = arrow_text(values), 0

    def look() -> tuple[set[str], list[DataFile]]:
        listed, files = table.listed(), table.files()
        for file in files:
            if file.path not in seen:
                seen[file.path] = _without(table, file, column, wanted)
        return listed, files

    while True:
        base = table.version
        listed, files = steadily(table, look)
        rewritten = [each for file in files if (each := seen[file.path]) is not None]
        if table.version == base and _committed(table, rewritten, note):
            break
        if has_forgotten(table, base):
            seen.clear()  # that one has deleted what no version had, ours as well
        attempt += 1
        pause(attempt)
    written = {each.new.path for each in seen.values() if each is not None and each.new is not None}
    table.purge((listed | written) - {file.path for file in table.files()})
    table.store.clean(table.key, _ABANDONED)
    return [name for each in rewritten for name in each.ids]


def _committed(table: LogTable, rewritten: list[_Rewritten], note: str) -> bool:
    notes = moved({each.new.path: [each.origin] for each in rewritten if each.new is not None})
    return table.commit(
        add=[each.new for each in rewritten if each.new is not None],
        remove=[each.old for each in rewritten],
        notes={**notes, FORGOTTEN: note},
    )


def _without(table: LogTable, file: DataFile, column: str, values: pa.Array) -> _Rewritten | None:
    """The file without those rows; None where it has none of them."""
    gone = _mask(table.read(file, [column]), column, values)
    if not gone.any():
        return None
    origin = Origin(file.path, len(gone), _stretches(gone))
    rows = table.read(file)
    ids = _ids(_where(rows, gone))
    kept = None if gone.all() else table.write_into(file.partition, _where(rows, ~gone))
    return _Rewritten(file, kept, origin, ids)


def _ids_of(table: LogTable, unit: str) -> list[str]:
    """The prediction ids of the unit's rows."""
    table.refresh()
    found: list[str] = []
    for file in table.files():
        rows = table.read(file, ["unit", "prediction_id"])
        found += _ids(_where(rows, _mask(rows, "unit", arrow_text([unit]))))
    return found


def _ids(rows: pa.Table) -> list[str]:
    return [text for text in python_texts(rows.column("prediction_id")) if text is not None]


def _where(rows: pa.Table, which: Bools) -> pa.Table:
    return rows.filter(arrow_bools(which))


def _mask(rows: pa.Table, column: str, values: pa.Array) -> Bools:
    chunks = [as_numpy(pc.is_in(chunk, value_set=values)) for chunk in rows.column(column).chunks]
    return np.concatenate(chunks) if chunks else np.empty(0, np.bool_)


def _stretches(gone: Bools) -> list[tuple[int, int]]:
    """Where `gone` is true, as [begin, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], gone, [False]]).astype(np.int8))).tolist()
    return [(begin, end) for number, (begin, end) in enumerate(pairwise(edges)) if number % 2 == 0]


def _left(folder: Path, unit: str) -> Iterator[str]:
    """Files that are not ours to change."""
    text = unit.encode()
    for stream in (PREDICTIONS, OUTCOMES):
        if (folder / stream).is_dir():
            kinds = (
                (unsealed(folder, stream), _OPEN),
                (sealed(folder, stream), _WAITING),
                (damaged(folder, stream), _DAMAGED),
            )
            yield from (f"{path} {why}." for paths, why in kinds for path in paths if _holds(path, text))


def _holds(path: Path, text: bytes) -> bool:
    try:
        return text in path.read_bytes()
    except FileNotFoundError:
        return False
