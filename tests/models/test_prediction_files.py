"""Predictions made elsewhere are matched by key, or by order, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from holdfast.data.tables import Table, open_table
from holdfast.errors import HoldfastError, OutsideError, UserError
from holdfast.models.prediction_files import read_predictions

ROWS = {"id": [3, 1, 2], "part": ["x", "x", "y"], "label": [0, 1, 0]}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    pq.write_table(pa.table(ROWS), tmp_path / "rows.parquet")
    return open_table(tmp_path / "rows.parquet")


def written(folder: Path, columns: dict[str, Any], kind: str = "parquet") -> Path:
    path = folder / f"predictions.{kind}"
    write = pq.write_table if kind == "parquet" else csv.write_csv
    write(pa.table(columns), path)
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize(
    ("columns", "key", "expected"),
    [
        ({"prediction": [0.1, 0.2, 0.3], "note": ["", "", ""]}, None, [0.1, 0.2, 0.3]),
        ({"score": [0.1, 0.2, 0.3]}, None, [0.1, 0.2, 0.3]),
        ({"other": [1, 2, 3], "score": [0.1, 0.2, 0.3]}, None, [0.1, 0.2, 0.3]),
        ({"score": [0.1, 0.2, 0.3], "id": [1, 2, 3]}, ["id"], [0.3, 0.1, 0.2]),
        ({"id": ["1", "2", "3"], "score": [0.1, 0.2, 0.3]}, ["id"], [0.3, 0.1, 0.2]),
        ({"id": [9, 1, 2, 3], "score": [0.0, 0.1, 0.2, 0.3]}, ["id"], [0.3, 0.1, 0.2]),
        ({"id": [1, 2, 3], "part": ["x", "y", "x"], "score": [0.1, 0.2, 0.3]}, ["id", "part"], [0.3, 0.1, 0.2]),
        ({"score": [0.1, 0.2, 0.3]}, ["id"], [0.1, 0.2, 0.3]),
        ({"prediction": ["a", "b", "c"]}, None, ["a", "b", "c"]),
        (
            {"prediction_10": [9.0, 9.0, 9.0], "prediction_2": [1.0, 2.0, 3.0]},
            None,
            [[1.0, 9.0], [2.0, 9.0], [3.0, 9.0]],
        ),
    ],
)
def test_matched(
    columns: dict[str, Any], key: list[str] | None, expected: list[Any], kind: str, table: Table, tmp_path: Path
) -> None:
    assert read_predictions(written(tmp_path, columns, kind), table, key).tolist() == expected


@pytest.mark.parametrize(
    ("columns", "key", "kind", "sentence"),
    [
        ({"score": [0.1, 0.2]}, None, OutsideError, "gave 2 predictions for 3 rows"),
        ({"score": [0.1, None, 0.3]}, None, OutsideError, r"NaN or infinite predictions for 1 of 3 rows \(rows 1\)"),
        ({"score": ["a", None, "b"]}, None, OutsideError, r"missing predictions for 1 of 3 rows"),
        ({"id": [1, 1, 2, 3], "score": [0.0] * 4}, ["id"], UserError, "has the key id 1 more than once"),
        ({"id": [1, 2], "score": [0.0] * 2}, ["id"], UserError, "no prediction for 1 of 3 rows, first for id 3"),
        ({"id": [1, 2, 3], "score": [0.0] * 3}, ["id", "part"], UserError, "has the key id but not part"),
        ({"id": [1, 2, 3]}, ["id"], UserError, "no column of predictions, only id"),
        ({"part": ["x", "y"], "score": [0.0] * 2}, ["part"], UserError, "part is no key of .*some of its rows share"),
        ({"user": [1], "score": [0.0]}, ["user"], UserError, "has no column 'user', by which"),
    ],
)
def test_not_matched(
    columns: dict[str, Any],
    key: list[str] | None,
    kind: type[HoldfastError],
    sentence: str,
    table: Table,
    tmp_path: Path,
) -> None:
    with pytest.raises(kind, match=sentence):
        read_predictions(written(tmp_path, columns), table, key)


def test_many_rows_are_matched(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(20_000)
    pq.write_table(pa.table({"id": np.arange(20_000)}), tmp_path / "rows.parquet")
    path = written(tmp_path, {"id": order, "prediction": order * 2.0})
    assert (read_predictions(path, open_table(tmp_path / "rows.parquet"), ["id"]) == np.arange(20_000) * 2.0).all()
