"""A snapshot: inputs and what each declared function gave for them, named by the hash of its content.

The inputs are Parquet objects of the store; the snapshot itself is one JSON object. `snapshots/MODEL.json` names the one
that somebody accepted by command, and instead of which one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from holdfast.errors import Damaged, UserError
from holdfast.store import Store, canonical_json

SCHEMA = 1
PARTS = ("data", "hostile")  # the parts of the inputs whose outputs are kept in full


@dataclass(frozen=True, kw_only=True)
class Golden:
    """One function's record: how it was called, the kind of each output, outputs by part, hashes for the population."""

    function: str
    call: str
    input: list[str]
    kinds: Mapping[str, str]
    outputs: Mapping[str, list[Any]]
    population: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Golden outputs of a project's functions; `inputs` names the stored table of each part and of the population."""

    model: str
    environment: str
    inputs: Mapping[str, str]
    functions: Mapping[str, Golden]

    def to_json(self) -> dict[str, Any]:
        """A document that `from_json` reads back."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """UserError where another version of Holdfast wrote it, Damaged where it is no snapshot."""
        if document.get("schema") != SCHEMA:
            raise UserError(
                f"the snapshot has schema {document.get('schema')!r}, this Holdfast reads schema {SCHEMA}.",
                hint="Record it again with `holdfast snapshot record --accept`, or use the Holdfast that wrote it.",
                reason_code="other_schema",
            )
        try:
            values = {name: document[name] for name in ("model", "environment", "inputs")}
            functions = {name: Golden(**golden) for name, golden in document["functions"].items()}
        except (KeyError, TypeError, AttributeError):
            raise Damaged("what the store holds under the snapshot's name is no snapshot.") from None
        return cls(**values, functions=functions)


def save_snapshot(store: Store, snapshot: Snapshot) -> str:
    """Keep a snapshot; its digest, which is the same for the same functions, inputs, outputs and environment."""
    return store.put_object(canonical_json(snapshot.to_json()))


def load_snapshot(store: Store, digest: str) -> Snapshot:
    """The snapshot called `digest`, verified; UserError for another schema, Damaged where it was changed."""
    try:
        document = json.loads(store.get_object(digest))
    except ValueError:
        raise UserError(
            f"{digest!r} is no snapshot's digest.", hint="`holdfast snapshot check --json` shows the one in force."
        ) from None
    return Snapshot.from_json(document)


def save_table(store: Store, table: pa.Table) -> str:
    """Keep the inputs of one part; the digest of the Parquet object."""
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(None), sink, compression="zstd", store_schema=False)
    return store.put_object(bytes(sink.getvalue()))


def load_table(store: Store, digest: str) -> pa.Table:
    """The inputs called `digest`, verified."""
    return pq.read_table(pa.BufferReader(store.get_object(digest)))


def accepted(store: Store, model: str) -> dict[str, Any]:
    """{"snapshot", "instead_of", …} of what was accepted last by command; empty where nothing was."""
    data = store.get(_place(model))
    if data is None:
        return {}
    try:
        document = json.loads(data)
    except ValueError:
        raise Damaged(f"{_place(model)} in the store {store.url} is not readable.") from None
    if not isinstance(document, dict) or "snapshot" not in document:
        raise Damaged(f"{_place(model)} in the store {store.url} does not say which snapshot was accepted.")
    return document


def accept(store: Store, model: str, digest: str, *, instead_of: str | None, at: str) -> None:
    """Make `digest` what checks compare with, as long as `instead_of` would be it otherwise."""
    store.put(_place(model), canonical_json({"schema": SCHEMA, "snapshot": digest, "instead_of": instead_of, "at": at}))


def baseline(store: Store, model: str, of_champion: str | None) -> str | None:
    """The digest to compare with: the champion's own, unless another was accepted in its place; None without any."""
    found = accepted(store, model)
    if found and (of_champion is None or found["instead_of"] == of_champion):
        return str(found["snapshot"])
    return of_champion


def _place(model: str) -> str:
    return f"snapshots/{model}.json"
