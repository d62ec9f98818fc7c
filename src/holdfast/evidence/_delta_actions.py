"""What a Delta table's own log says: files that come and go, and what a commit notes. To and from our own words; pure."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from holdfast.evidence._arrow import python_numbers, python_texts
from holdfast.evidence._partitions import DAY, time_text

UNKNOWN = 1 << 62  # rows
NOTES = "holdfast"  # ours among what a commit says of itself


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of a table. `path` is relative to the table, `stats` what the table's log says of it."""

    path: str
    size: int
    partition: Mapping[str, str | None]
    stats: Mapping[str, Any] = field(default_factory=dict)
    modified: int = 0  # UTC milliseconds

    @property
    def rows(self) -> int:
        """How many there are; `UNKNOWN` where another writer does not say."""
        return int(self.stats.get("numRecords", UNKNOWN))

    @property
    def day(self) -> date | None:
        """The UTC day of its rows; None for rows without a time."""
        text = self.partition.get(DAY)
        return date.fromisoformat(text) if text else None


@dataclass(frozen=True)
class Change:
    """What one commit did: files that came, paths that went and whether their rows went with them, and our notes."""

    added: tuple[DataFile, ...]
    removed: Mapping[str, bool]
    notes: Mapping[str, Any]


def actions_of(add: Sequence[DataFile], remove: Sequence[DataFile], changes: bool) -> list[Any]:
    from deltalake.transaction import AddAction, RemoveAction

    now = int(time.time() * 1000)
    return [
        *(RemoveAction(file.path, changes, now, file.size, dict(file.partition)) for file in remove),
        *(
            AddAction(file.path, file.size, file.partition, file.modified, changes, json.dumps(file.stats))
            for file in add
        ),
    ]


def parsed_commit(data: bytes) -> Change:
    """A commit as the table's log has it: one JSON document a line."""
    added: list[DataFile] = []
    removed: dict[str, bool] = {}
    notes: Mapping[str, Any] = {}
    for line in data.splitlines():
        action = json.loads(line)
        if (add := action.get("add")) is not None:
            stats = json.loads(add.get("stats") or "{}")
            file = DataFile(
                unquote(add["path"]), add["size"], add["partitionValues"], stats, int(add["modificationTime"])
            )
            added.append(file)
        elif (remove := action.get("remove")) is not None:
            removed[unquote(remove["path"])] = bool(remove.get("dataChange", True))
        elif (said := action.get("commitInfo")) is not None:
            notes = said.get(NOTES) or {}
    return Change(tuple(added), removed, notes)


def listed_files(actions: pa.Table, partitions: Sequence[str]) -> Iterator[DataFile]:
    """The files in a table's own list of them."""
    values = [python_texts(actions.column(f"partition.{name}")) for name in partitions]
    paths, sizes = python_texts(actions.column("path")), python_numbers(actions.column("size_bytes"))
    written = python_numbers(actions.column("modification_time").cast(pa.timestamp("ms")))
    rows, first, last = (_counts(actions, name) for name in ("num_records", "min.time", "max.time"))
    for place, path in enumerate(paths):
        stats: dict[str, Any] = {} if rows[place] is None else {"numRecords": rows[place]}
        for name, micros in (("minValues", first[place]), ("maxValues", last[place])):
            if micros is not None:
                stats[name] = {"time": time_text(micros)}
        partition = {name: of_name[place] for name, of_name in zip(partitions, values, strict=True)}
        yield DataFile(unquote(path or ""), sizes[place] or 0, partition, stats, written[place] or 0)


def _counts(actions: pa.Table, name: str) -> list[int | None]:
    """Numbers, or microseconds; None everywhere where no file has them."""
    if name not in actions.schema.names:
        return [None] * actions.num_rows
    column = actions.column(name)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return python_numbers(column)
