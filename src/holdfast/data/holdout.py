"""The frozen holdout: split off by unit, named by its content, sealed in the ledger, verified at every use."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from holdfast._version import __version__
from holdfast.config.schema import DataConfig, HoldoutConfig
from holdfast.data.hashing import Hashes, hash_rows
from holdfast.data.tables import Table, open_table
from holdfast.errors import Damaged, Refused, UserError
from holdfast.ledger import Ledger
from holdfast.store import Store, canonical_json
from holdfast.verdict import utc_text

_FEW_CLASSES = 100


@dataclass(frozen=True)
class Holdout:
    """A verified holdout: its name, the digest of its Parquet content, its manifest, and the file on this machine."""

    name: str
    digest: str
    manifest: Mapping[str, Any]
    path: Path

    def table(self) -> Table:
        """The rows, labels included."""
        return open_table(self.path)


def freeze(
    table: Table,
    data: DataConfig,
    config: HoldoutConfig,
    store: Store,
    ledger: Ledger,
    *,
    now: datetime,
    cache: Path,
) -> Holdout:
    """Split `config.share` of the units off `table` and seal them under `config.name`.

    Units are ordered by a hash of (seed, unit), or by time with `by: time`, and the first are taken: a unit's rows never
    part. Freezing again gives the same holdout where nothing changed; UserError where the name holds another one.
    """
    known = find_holdout(store, config.name)
    source = table.content_hash()
    if known is not None:
        return _frozen_before(store, ledger, config, known, source, cache)
    chosen = chosen_rows(table, data, config)
    content = _parquet(table, chosen)
    digest = store.put_object(content)
    manifest = _manifest(pq.read_table(pa.BufferReader(content)), data, config, source, digest, now)
    stored = store.put_object(canonical_json(manifest))
    if not store.put_if_absent(_pointer(config.name), canonical_json({"holdout": digest, "manifest": stored})):
        return freeze(table, data, config, store, ledger, now=now, cache=cache)
    _seal(ledger, config.name, digest, stored, manifest)
    return load_holdout(store, ledger, config.name, cache)


def _frozen_before(
    store: Store, ledger: Ledger, config: HoldoutConfig, known: Mapping[str, str], source: str, cache: Path
) -> Holdout:
    manifest = json.loads(store.get_object(known["manifest"]))
    if manifest["source"] != source or manifest["config"] != config.model_dump(mode="json"):
        raise UserError(
            f"the holdout {config.name} is frozen already, from other data or with other settings.",
            hint="Keep it, or choose a new name in `holdout: {name: …}`.",
            reason_code="already_frozen",
        )
    _seal(ledger, config.name, known["holdout"], known["manifest"], manifest)
    return load_holdout(store, ledger, config.name, cache)


def _seal(ledger: Ledger, name: str, digest: str, stored: str, manifest: Mapping[str, Any]) -> None:
    """Write the hash into the ledger, unless it stands there already."""
    stream = holdout_stream(digest)
    if any(event.type == "frozen" and event.payload["name"] == name for event in ledger.read(stream)):
        return
    payload = {"name": name, "rows": manifest["rows"], "units": manifest["units"], "source": manifest["source"]}
    ledger.append_latest(stream, "frozen", payload, evidence={"holdout": digest, "manifest": stored})


def find_holdout(store: Store, name: str) -> dict[str, str] | None:
    """The digests behind a holdout's name; None where none is frozen under it."""
    data = store.get(_pointer(name))
    if data is None:
        return None
    try:
        document: dict[str, str] = json.loads(data)
        return {"holdout": document["holdout"], "manifest": document["manifest"]}
    except (ValueError, KeyError, TypeError):
        raise Damaged(f"the pointer of holdout {name} was changed: it is no document.") from None


def load_holdout(store: Store, ledger: Ledger, name: str, cache: Path) -> Holdout:
    """The holdout called `name`, every byte verified against its hash, and the hash against the ledger.

    Raises UserError where none is frozen, Damaged where a byte, the manifest or the pointer was changed.
    """
    known = find_holdout(store, name)
    if known is None:
        raise UserError(f"no holdout {name} is frozen in {store.url}.", hint="Type `holdfast holdout freeze`.")
    try:
        sealed = [e for e in ledger.read(holdout_stream(known["holdout"])) if e.type == "frozen"]
        if not any(e.evidence == known and e.payload["name"] == name for e in sealed):
            _not_sealed(known["holdout"])
        manifest = json.loads(store.get_object(known["manifest"]))
        path = _named(store.fetch_object(known["holdout"], cache / "objects"), cache / "holdouts")
    except (Damaged, ValueError) as error:
        reason = error.message if isinstance(error, Damaged) else str(error)
        raise Damaged(
            f"the holdout {name} is not what was frozen: {reason}",
            hint="Restore the store from its backup, or freeze a new one under another name.",
            reason_code="holdout_damaged",
        ) from None
    return Holdout(name, known["holdout"], manifest, path)


def _not_sealed(digest: str) -> NoReturn:
    raise Damaged(f"the ledger has not sealed {digest[:19]}… under this name.")


def _named(path: Path, folder: Path) -> Path:
    """The same file with a name that ends in .parquet, by which readers know it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    named = folder / f"{path.name}.parquet"
    if named.exists() and named.stat().st_ino == path.stat().st_ino:
        return named
    temporary = folder / f".{path.name}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    os.link(path, temporary)
    temporary.replace(named)
    return named


def chosen_rows(table: Table, data: DataConfig, config: HoldoutConfig) -> npt.NDArray[np.bool_]:
    """Which rows (n,) of `table` belong to the holdout. Raises UserError where a side would be empty."""
    units = row_units(table, data, seed=config.seed)
    _, first, codes = np.unique(units, return_index=True, return_inverse=True)
    total = len(first)
    wanted = round(config.share * total)
    if not 0 < wanted < total:
        raise UserError(
            f"a holdout of {config.share:.0%} of {total:,} units leaves one side empty.",
            hint="Give more data, or another `holdout: {share: …}`.",
        )
    chosen = np.zeros(total, dtype=bool)
    if config.by == "time":
        latest = _latest(table, data, codes, total)
        border = np.sort(latest)[total - wanted]
        chosen = latest >= border
        if chosen.all():
            raise UserError("all units end at the same time, so they cannot be split by time.")
    else:
        chosen[:wanted] = True  # np.unique sorts by the hash, which is a random order
    return np.asarray(chosen[codes])


def row_units(table: Table, data: DataConfig, *, seed: int = 0) -> Hashes:
    """The hash of each row's unit, (n,): its group, else its key, else all its columns."""
    salt = np.uint64(int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=8).digest(), "little"))
    return table_hashes(table, unit_columns(table, data)) ^ salt


def table_hashes(table: Table | pa.Table, columns: list[str], schema: pa.Schema | None = None) -> Hashes:
    """A hash of each row's values in `columns`, (n,); with `schema` the values are read as its types first."""
    batches = table.batches(columns) if isinstance(table, Table) else table.select(columns).to_batches()
    found = [hash_rows(batch if schema is None else _cast(batch, schema), columns) for batch in batches]
    return np.concatenate([np.empty(0, dtype=np.uint64), *found])


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """`batch` with the types of `schema`, so that 7 and 7.0 are the same value; UserError where they do not fit."""
    wanted = pa.schema([schema.field(name) for name in batch.schema.names])
    try:
        return batch.cast(wanted, safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"the training data does not have the types of the holdout: {error}.") from None


def unit_columns(table: Table, data: DataConfig) -> list[str]:
    """The columns that name the unit of a row."""
    if data.group is not None:
        return [data.group]
    return list(data.key) if data.key else table.columns


def _latest(table: Table, data: DataConfig, codes: npt.NDArray[np.intp], total: int) -> npt.NDArray[np.int64]:
    """The latest time of each unit, (units,): a unit that goes on belongs to the end."""
    if data.time is None:
        raise UserError("`holdout: {by: time}` needs `data: {time: COLUMN}`.")
    column = table.read([data.time]).column(data.time)
    if column.null_count:
        raise UserError(f"the time {data.time!r} is null in {column.null_count:,} rows, which cannot be split by time.")
    if pa.types.is_string(column.type):
        column = _as_times(column, data.time)
    values = column.cast(pa.int64()).to_numpy()
    latest = np.full(total, np.iinfo(np.int64).min)
    np.maximum.at(latest, codes, values)
    return latest


def _as_times(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Text as times, with a zone in every row or in none."""
    for kind in (pa.timestamp("us"), pa.timestamp("us", tz="UTC")):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    raise UserError(f"the time {name!r} is text that is no ISO 8601 time.", hint="Write it as 2024-02-29T12:00:00Z.")


def _parquet(table: Table, chosen: npt.NDArray[np.bool_]) -> bytes:
    """The chosen rows as Parquet; the same rows give the same bytes."""
    sink = io.BytesIO()
    done = 0
    with pq.ParquetWriter(sink, table.schema.remove_metadata(), compression="zstd") as writer:
        for batch in table.batches():
            inside = batch.filter(pa.array(chosen[done : done + batch.num_rows]))
            done += batch.num_rows
            if inside.num_rows:
                writer.write_table(pa.Table.from_batches([inside], schema=table.schema).replace_schema_metadata(None))
    return sink.getvalue()


def _manifest(
    rows: pa.Table, data: DataConfig, config: HoldoutConfig, source: str, digest: str, now: datetime
) -> dict[str, Any]:
    columns = [data.group] if data.group else list(data.key or rows.column_names)
    labels = rows.column(data.label).value_counts()
    classes = None
    if len(labels) <= _FEW_CLASSES:
        classes = {str(item["values"]): item["counts"] for item in labels.to_pylist()}
    return {
        "schema": 1,
        "name": config.name,
        "content": digest,
        "columns": {field.name: str(field.type) for field in rows.schema},
        "rows": rows.num_rows,
        "units": len(np.unique(table_hashes(rows, columns))),
        "unit": data.group or ("row" if data.key is None else "+".join(data.key)),
        "unit_columns": columns,
        "classes": classes,
        "source": source,
        "config": config.model_dump(mode="json"),
        "created": utc_text(now),
        "holdfast": __version__,
    }


def training_part(table: Table, store: Store, data: DataConfig, out: Path) -> Path:
    """Write `table` without the units of every frozen holdout of this store to `out`, and return it.

    Recomputed at each run, so new rows of a unit that is in a holdout stay out of training too. Raises UserError where
    nothing is left.
    """
    columns = unit_columns(table, data)
    sealed = holdout_units(store, columns)
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=out.parent, suffix=".parquet")
    os.close(handle)
    kept = 0
    try:
        with pq.ParquetWriter(name, table.schema, compression="zstd") as writer:
            for batch in table.batches():
                inside = batch.filter(pa.array(~np.isin(hash_rows(batch, columns), sealed)))
                kept += inside.num_rows
                if inside.num_rows:
                    writer.write_table(pa.Table.from_batches([inside], schema=table.schema))
        if not kept:
            raise UserError(f"every row of {table.path} belongs to a holdout, so nothing is left to train on.")
        Path(name).replace(out)
    finally:
        Path(name).unlink(missing_ok=True)
    return out


def holdout_units(store: Store, columns: list[str]) -> Hashes:
    """The unit hashes of every frozen holdout of this store that has these columns, sorted."""
    found = [np.empty(0, dtype=np.uint64)]
    for key in store.list("holdouts/"):
        known = find_holdout(store, key.removeprefix("holdouts/").removesuffix(".json"))
        if known is None:
            continue
        rows = pq.read_table(pa.BufferReader(store.get_object(known["holdout"])))
        if set(columns) <= set(rows.column_names):
            found.append(table_hashes(rows, columns))
    return np.unique(np.concatenate(found))


def record_evaluation(ledger: Ledger, holdout: Holdout, candidate: str, budget: int) -> int:
    """Write that `candidate` (a digest) is judged on `holdout`; the number of evaluations used, this one included.

    The same candidate again is free. Refused where the budget is used up: every answer of a holdout teaches something
    about it, and after many of them it no longer judges independently.
    """
    stream = holdout_stream(holdout.digest)
    seen = _candidates(ledger, holdout)
    if candidate in seen:
        return len(seen)
    if len(seen) >= budget:
        raise Refused(
            f"the holdout {holdout.name} has judged {len(seen)} candidates, which is all its budget of {budget} allows.",
            hint="Freeze a new one under another name, or raise `holdout: {max_evaluations: …}` knowingly.",
            reason_code="holdout_used_up",
        )
    ledger.append_latest(stream, "evaluated", {"candidate": candidate})
    return len(seen) + 1


def evaluations_used(ledger: Ledger, holdout: Holdout) -> int:
    """How many different candidates this holdout has judged."""
    return len(_candidates(ledger, holdout))


def _candidates(ledger: Ledger, holdout: Holdout) -> set[str]:
    events = ledger.read(holdout_stream(holdout.digest))
    return {event.payload["candidate"] for event in events if event.type == "evaluated"}


def holdout_stream(digest: str) -> str:
    """The ledger stream of a holdout."""
    return f"holdout/{digest.removeprefix('sha256:')}"


def _pointer(name: str) -> str:
    return f"holdouts/{name}.json"
