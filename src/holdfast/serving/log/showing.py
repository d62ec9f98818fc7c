"""What there is of a log: rows, days, variants, size, and what waits on this machine. From the tables' own logs: quick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from holdfast.evidence.delta import DataFile, existing_tables
from holdfast.serving.log.compaction import OUTCOMES, PREDICTIONS
from holdfast.serving.log.segments import count_records, sealed, unsealed
from holdfast.store import Store


@dataclass(frozen=True)
class ShownTable:
    """One table. `latest` is the time of its latest row."""

    rows: int
    files: int
    size: int
    first_day: str | None
    last_day: str | None
    latest: datetime | None

    @classmethod
    def of(cls, files: Sequence[DataFile]) -> ShownTable:
        days = [file.day.isoformat() for file in files if file.day is not None]
        times = [file.stats["maxValues"]["time"] for file in files if "maxValues" in file.stats]
        latest = datetime.fromisoformat(max(times)) if times else None
        rows, size = sum(file.rows for file in files), sum(file.size for file in files)
        return cls(rows, len(files), size, min(days, default=None), max(days, default=None), latest)

    def to_json(self) -> dict[str, Any]:
        latest = None if self.latest is None else self.latest.isoformat()
        return {
            "rows": self.rows,
            "files": self.files,
            "bytes": self.size,
            "days": [self.first_day, self.last_day],
            "latest": latest,
        }


@dataclass(frozen=True)
class ShownLog:
    """Both tables, the predictions' rows by variant, and the segments of this machine that are not in them yet."""

    predictions: ShownTable
    outcomes: ShownTable
    variants: dict[str, int]
    waiting: int
    waiting_bytes: int

    def sentences(self, now: datetime) -> Iterator[str]:
        """What people read."""
        for name, table in ((PREDICTIONS, self.predictions), (OUTCOMES, self.outcomes)):
            days = f", {table.first_day} to {table.last_day}" if table.first_day else ""
            yield f"{name}: {table.rows:,} rows in {table.files:,} files, {table.size:,} bytes{days}."
        if self.variants:
            yield f"variants: {', '.join(f'{count:,} {name}' for name, count in sorted(self.variants.items()))}."
        yield f"on this machine {self.waiting:,} records in {self.waiting_bytes:,} bytes wait to be compacted."
        if (lag := self.lag(now)) is not None:
            yield f"the latest prediction in the table is {lag:,.0f} s old."

    def lag(self, now: datetime) -> float | None:
        """Seconds since the latest prediction in the table."""
        return None if self.predictions.latest is None else (now - self.predictions.latest).total_seconds()

    def to_json(self, now: datetime) -> dict[str, Any]:
        lag = self.lag(now)
        return {
            "predictions": self.predictions.to_json(),
            "outcomes": self.outcomes.to_json(),
            "variants": self.variants,
            "waiting": {"records": self.waiting, "bytes": self.waiting_bytes},
            "lag_seconds": None if lag is None else round(lag, 3),
        }


def shown(folder: Path, store: Store, model: str) -> ShownLog:
    """The log of `model` as it is. OutsideError where the store is away."""
    tables = existing_tables(store, model)
    predictions, outcomes = ([], []) if tables is None else (table.files() for table in tables)
    variants = Counter[str]()
    for file in predictions:
        variants[file.partition.get("variant") or "none"] += file.rows
    paths = [
        path for stream in (PREDICTIONS, OUTCOMES) for path in (*sealed(folder, stream), *unsealed(folder, stream))
    ]
    waiting = [_waiting(path) for path in paths]
    records, sizes = (sum(found) for found in zip(*waiting, strict=True)) if waiting else (0, 0)
    return ShownLog(ShownTable.of(predictions), ShownTable.of(outcomes), dict(variants), records, sizes)


def _waiting(path: Path) -> tuple[int, int]:
    """Records and bytes of a segment; none where it was compacted a moment ago."""
    try:
        return count_records(path)[0], path.stat().st_size
    except FileNotFoundError:
        return 0, 0
