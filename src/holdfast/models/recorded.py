"""Predictions kept in the store, known by model, holdout and environment: what a later candidate is compared with.

`predictions/MODEL/HOLDOUT/ENVIRONMENT.json` (hex digests) names the stored Parquet object and the predictions' digest.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from holdfast.errors import Damaged
from holdfast.models.predict import Predictions
from holdfast.store import Store, canonical_json

SCHEMA = 1


def predictions_to_parquet(predictions: Predictions, keys: pa.Table | None = None) -> bytes:
    """Parquet bytes: the columns of `keys`, then `prediction`, or `prediction_0 …` for (n, K) values."""
    values = predictions.values
    parts = (
        {"prediction": values}
        if values.ndim == 1
        else {f"prediction_{k}": values[:, k] for k in range(values.shape[1])}
    )
    about = {
        "schema": SCHEMA,
        "seconds": predictions.seconds,
        "fingerprint": predictions.fingerprint,
        "digest": predictions.digest,
    }
    columns = {name: keys.column(name) for name in keys.column_names} if keys is not None else {}
    columns |= {
        name: pa.array(part, type=pa.string() if part.dtype == object else None) for name, part in parts.items()
    }
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"holdfast": json.dumps(about)}), sink, compression="zstd")
    return bytes(sink.getvalue())


def predictions_from_parquet(data: bytes) -> Predictions:
    """The predictions in `data`; Damaged where they are not those that were written."""
    table = pq.read_table(pa.BufferReader(data))
    about = json.loads((table.schema.metadata or {}).get(b"holdfast", b"{}"))
    numbered = [n for n in table.column_names if n.startswith("prediction_")] if "digest" in about else []
    names = ["prediction"] if "prediction" in table.column_names else numbered
    if not names or "digest" not in about:
        raise Damaged("a file of recorded predictions does not say whose they are.")
    columns = [table.column(name).combine_chunks().to_numpy(zero_copy_only=False) for name in names]
    values = columns[0] if names == ["prediction"] else np.column_stack(columns)
    made = Predictions(values, seconds=about["seconds"], fingerprint=about["fingerprint"])
    if made.digest != about["digest"]:
        raise Damaged(f"recorded predictions are {made.digest}, but {about['digest']} were written.")
    return made


def save_predictions(
    store: Store,
    model_digest: str,
    holdout_digest: str,
    fingerprint_digest: str,
    predictions: Predictions,
    *,
    keys: pa.Table | None = None,
    replace: bool = False,
) -> str:
    """Keep `predictions`; the digest of the stored object. What is on record first stays, unless `replace`."""
    place = _place(model_digest, holdout_digest) + _hex(fingerprint_digest) + ".json"
    stored = store.put_object(predictions_to_parquet(predictions, keys))
    document = canonical_json({"schema": SCHEMA, "object": stored, "digest": predictions.digest})
    if replace:
        store.put(place, document)
    elif not store.put_if_absent(place, document):
        return str(_document(store, place)["object"])
    return stored


def load_predictions(
    store: Store, model_digest: str, holdout_digest: str, fingerprint_digest: str
) -> Predictions | None:
    """What is on record for this model, holdout and environment; None without, Damaged if it was changed."""
    place = _place(model_digest, holdout_digest) + _hex(fingerprint_digest) + ".json"
    if not store.exists(place):
        return None
    document = _document(store, place)
    predictions = predictions_from_parquet(store.get_object(document["object"]))
    if predictions.digest != document["digest"]:
        raise Damaged(f"{place} names predictions {document['digest']}, but holds {predictions.digest}.")
    return predictions


def find_predictions(store: Store, model_digest: str, holdout_digest: str) -> list[str]:
    """The fingerprints of the environments for which predictions are on record, sorted."""
    found = store.list(_place(model_digest, holdout_digest))
    return sorted("sha256:" + key.rpartition("/")[2].removesuffix(".json") for key in found if key.endswith(".json"))


def _place(model_digest: str, holdout_digest: str) -> str:
    return f"predictions/{_hex(model_digest)}/{_hex(holdout_digest)}/"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _document(store: Store, place: str) -> dict[str, Any]:
    data = store.get(place)
    try:
        document: dict[str, Any] = json.loads(data or b"")
    except ValueError:
        raise Damaged(f"{place} in the store is not readable.") from None
    return document
