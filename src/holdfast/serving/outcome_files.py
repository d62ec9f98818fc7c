"""Outcomes from files and databases straight into their table, all of a source or none of it, each event once."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from holdfast.config.secrets import mask
from holdfast.data.hashing import Hashes, as_numpy, combined, hash_array
from holdfast.errors import OutsideError, UserError
from holdfast.evidence._arrow import arrow_bools, arrow_numbers, arrow_text
from holdfast.evidence.delta import LogTable, day_of
from holdfast.serving.log.appending import Addition, append
from holdfast.serving.log.encoding import OUTCOMES
from holdfast.serving.outcomes import FIELDS, Outcome, RefusedEntry, checked

_BATCH = 50_000
_BEFORE = timedelta(days=7)  # how much earlier than the first new one the same event may have been logged
_KEY = ("prediction_id", "time", "name", "value", "row")  # what names an outcome without an event id
_NO_ROW = -1

Entries = Iterator[list[Any]]


@dataclass(frozen=True)
class Added:
    """What became of the entries of a source: those that the log has already are `repeated`."""

    added: int
    repeated: int
    refused: tuple[RefusedEntry, ...]


def add_outcomes(table: LogTable, entries: Entries, now: datetime) -> Added:
    """Append what is usable and not there yet, in one commit. Whoever was interrupted does it again."""
    parts, refused, place = [outcome_table([])], [], 0
    for batch in entries:
        outcomes, bad = checked(batch, now, place)
        parts.append(outcome_table(outcomes))
        refused += bad
        place += len(batch)
    rows = pa.concat_tables(parts).combine_chunks()

    def new() -> Addition | None:
        found = _new(table, rows)
        return Addition(found) if found.num_rows else None

    addition = append(table, new) if rows.num_rows else None
    added = 0 if addition is None else addition.rows.num_rows
    return Added(added, rows.num_rows - added, tuple(refused))


def entries_in(path: Path) -> Entries:
    """The entries of a Parquet, CSV or NDJSON file. Other columns than the known ones are not looked at.

    UserError where there is no such file, or it is of no such kind.
    """
    readers = {".parquet": _parquet, ".pq": _parquet, ".csv": _csv, ".ndjson": _ndjson, ".jsonl": _ndjson}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"expected a file that ends in {', '.join(readers)}, found {path.name}.")
    try:
        yield from reader(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except pa.ArrowException as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0].rstrip('.')}.") from error


def entries_of_query(url: str, query: str) -> Entries:
    """The rows of an SQL query as entries. UserError where driver or query are wrong, OutsideError where nobody answers."""
    try:
        import sqlalchemy
        from sqlalchemy import exc
    except ImportError:
        raise UserError("reading from a database needs SQLAlchemy.", hint="Type: pip install sqlalchemy") from None
    try:
        engine = sqlalchemy.create_engine(url)
    except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
        raise UserError(f"the database {mask(url)} cannot be opened: {_sentence(error)}.") from None
    try:
        with engine.connect() as connection:
            found = connection.execution_options(stream_results=True).execute(sqlalchemy.text(query))
            names = [name for name in found.keys() if name in FIELDS]  # noqa: SIM118 - it is no mapping
            _some_columns(names, "the query")
            for batch in found.mappings().partitions(_BATCH):
                yield [{name: row[name] for name in names} for row in batch]
    except exc.OperationalError as error:
        raise OutsideError(f"the database {mask(url)} could not be asked: {_sentence(error)}.") from None
    except exc.SQLAlchemyError as error:
        raise UserError(f"the query cannot be run: {_sentence(error)}.") from None
    finally:
        engine.dispose()


def outcome_table(outcomes: Sequence[Outcome]) -> pa.Table:
    """Outcomes as rows of their table."""
    row = np.array([_NO_ROW if o.row is None else o.row for o in outcomes], np.int32)
    columns = [
        arrow_text([o.prediction_id for o in outcomes]),
        arrow_numbers(np.array([o.time for o in outcomes], np.int64)).view(OUTCOMES.field("time").type),
        arrow_text([o.name for o in outcomes]),
        arrow_numbers(np.array([o.value for o in outcomes], np.float64)),
        arrow_numbers(row, row != _NO_ROW),
        arrow_text([o.event_id for o in outcomes]),
    ]
    return pa.Table.from_arrays(columns, schema=OUTCOMES)


def _new(table: LogTable, rows: pa.Table) -> pa.Table:
    """The rows that are not in the table, each once."""
    keys = _keys(rows)
    earliest = int(as_numpy(rows.column("time").chunk(0).cast(pa.int64())).min())
    earliest_day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=earliest)
    since = day_of(earliest_day - _BEFORE)
    known = [_keys(table.read(file)) for file in table.files() if file.day is not None and file.day >= since]
    _, first = np.unique(keys, return_index=True)
    is_new = np.zeros(len(keys), np.bool_)
    is_new[first] = True
    is_new &= ~np.isin(keys, np.concatenate([np.empty(0, np.uint64), *known]))
    return rows.filter(arrow_bools(is_new))


def _keys(rows: pa.Table) -> Hashes:
    """A hash of each row's event id, or of the row itself where it has none, (n,)."""
    rows = rows.combine_chunks()
    if not rows.num_rows:
        return np.empty(0, np.uint64)
    columns = [rows.column(name).chunk(0) for name in _KEY]
    content = functools.reduce(combined, map(hash_array, columns))
    ids = rows.column("event_id").chunk(0)
    return np.where(as_numpy(ids.is_valid()), hash_array(ids), content)


def _parquet(path: Path) -> Entries:
    with pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if name in FIELDS]
        _some_columns(names, path.name)
        for batch in file.iter_batches(_BATCH, columns=names):
            yield batch.to_pylist()


def _csv(path: Path) -> Entries:
    """Ids, names and times are text; a value is what it looks like."""
    texts = dict.fromkeys(("prediction_id", "name", "time", "event_id"), pa.string())
    options = pa_csv.ConvertOptions(column_types=texts, strings_can_be_null=True, null_values=[""])
    table = pa_csv.read_csv(path, convert_options=options)
    names = [name for name in table.schema.names if name in FIELDS]
    _some_columns(names, path.name)
    for batch in table.select(names).to_batches(_BATCH):
        yield batch.to_pylist()


def _ndjson(path: Path) -> Entries:
    with path.open("rb") as file:
        while lines := list(itertools.islice(file, _BATCH)):
            yield [_json(line) for line in lines if line.strip()]


def _json(line: bytes) -> Any:
    """The known fields of a line; text where it is no JSON, which is refused like everything that is no object."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line.decode("utf-8", "replace")
    return {name: found[name] for name in FIELDS if name in found} if isinstance(found, dict) else found


def _some_columns(names: Iterable[str], what: str) -> None:
    lacking = [name for name in ("prediction_id", "name", "value") if name not in names]
    if lacking:
        found = ", ".join(names) or "none of them"
        raise UserError(f"{what} has no column {lacking[0]!r}: expected {', '.join(FIELDS)}, found {found}.")


def _sentence(error: BaseException) -> str:
    return mask(" ".join(str(error).splitlines()[0].split())[:300].rstrip("."))
