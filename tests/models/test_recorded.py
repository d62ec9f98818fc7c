"""Recorded predictions come back exactly, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.errors import Damaged
from holdfast.models.predict import Predictions
from holdfast.models.recorded import (
    find_predictions,
    load_predictions,
    predictions_from_parquet,
    predictions_to_parquet,
    save_predictions,
)
from holdfast.models.values import Values, as_values
from holdfast.store import open_store

MODEL, HOLDOUT, ENVIRONMENT, OTHER = (f"sha256:{letter * 64}" for letter in "abcd")
finite = st.floats(allow_nan=False, allow_infinity=False)
shapes = st.integers(1, 6) | st.tuples(st.integers(1, 6), st.integers(2, 12))
values = (
    hnp.arrays(np.float64, shapes, elements=finite)
    | hnp.arrays(np.int64, st.integers(1, 6))
    | hnp.arrays(bool, st.integers(1, 6))
    | st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), min_size=1, max_size=6)
)


@given(values)
def test_there_and_back(given: Values | list[str]) -> None:
    made = Predictions(as_values(given), seconds=1.5, fingerprint=ENVIRONMENT)
    read = predictions_from_parquet(predictions_to_parquet(made))
    assert read.values.dtype == made.values.dtype
    assert read.values.tolist() == made.values.tolist()
    assert (read.digest, read.seconds, read.fingerprint) == (made.digest, 1.5, ENVIRONMENT)


def test_keys_are_kept_beside_them() -> None:
    data = predictions_to_parquet(Predictions(np.array([0.5, 1.5])), pa.table({"id": ["a", "b"]}))
    assert pq.read_table(pa.BufferReader(data)).to_pydict() == {"id": ["a", "b"], "prediction": [0.5, 1.5]}
    assert predictions_from_parquet(data).values.tolist() == [0.5, 1.5]


def test_found_by_model_holdout_and_environment(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    first, second = Predictions(np.array([1.0, 2.0])), Predictions(np.array([1.0, 2.5]))
    assert load_predictions(store, MODEL, HOLDOUT, ENVIRONMENT) is None
    assert find_predictions(store, MODEL, HOLDOUT) == []
    stored = save_predictions(store, MODEL, HOLDOUT, ENVIRONMENT, first)
    assert save_predictions(store, MODEL, HOLDOUT, ENVIRONMENT, second) == stored, "what was recorded first stays"
    save_predictions(store, MODEL, HOLDOUT, OTHER, second)
    assert find_predictions(store, MODEL, HOLDOUT) == [ENVIRONMENT, OTHER]
    assert find_predictions(store, MODEL, OTHER) == []
    for environment, expected in ((ENVIRONMENT, first), (OTHER, second)):
        loaded = load_predictions(store, MODEL, HOLDOUT, environment)
        assert loaded is not None
        assert loaded.digest == expected.digest
    save_predictions(store, MODEL, HOLDOUT, ENVIRONMENT, second, replace=True)
    loaded = load_predictions(store, MODEL, HOLDOUT, ENVIRONMENT)
    assert loaded is not None
    assert loaded.digest == second.digest


def test_changed_predictions_are_damaged(tmp_path: Path) -> None:
    made = Predictions(np.array([1.0, 2.0]))
    table = pq.read_table(pa.BufferReader(predictions_to_parquet(made)))
    forged = table.set_column(0, "prediction", pa.array([1.0, 3.0]))
    pq.write_table(forged, tmp_path / "forged.parquet")
    with pytest.raises(Damaged, match="were written"):
        predictions_from_parquet((tmp_path / "forged.parquet").read_bytes())
    pq.write_table(pa.table({"prediction": [1.0]}), tmp_path / "foreign.parquet")
    with pytest.raises(Damaged, match="does not say whose"):
        predictions_from_parquet((tmp_path / "foreign.parquet").read_bytes())
    store = open_store(tmp_path / "store")
    save_predictions(store, MODEL, HOLDOUT, ENVIRONMENT, made)
    (place,) = store.list("predictions/")
    store.put(place, (store.get(place) or b"").replace(made.digest.encode(), OTHER.encode()))
    with pytest.raises(Damaged, match="names predictions"):
        load_predictions(store, MODEL, HOLDOUT, ENVIRONMENT)
    store.put(place, b"{")
    with pytest.raises(Damaged, match="not readable"):
        load_predictions(store, MODEL, HOLDOUT, ENVIRONMENT)
