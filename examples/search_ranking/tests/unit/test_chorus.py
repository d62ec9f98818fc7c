"""The real catalogue in the example's own columns."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from search_ranking.catalogue import COLUMNS
from search_ranking.chorus import table
from search_ranking.pipelines import FeaturePipeline


def write(folder: Path, ratings: str) -> Path:
    product = {
        "id": "1",
        "title": "Kettle – red",
        "product_type": None,
        "price_cents": 1999.0,
        "date_released": "2020-01-01",
    }
    pd.DataFrame([product, {**product, "id": "2", "date_released": "unknown"}]).to_parquet(folder / "products.parquet")
    (folder / "judgments.csv").write_text(ratings, "utf-8")
    return folder


def test_one_row_a_rating_with_nulls_for_the_unknown(tmp_path: Path) -> None:
    rows = table(write(tmp_path, "query,docid,rating\nkettle,1,3\nkettle,2,0\n"))
    assert tuple(rows.columns) == COLUMNS
    assert rows["relevance"].tolist() == [3, 0]
    assert rows["price"].tolist() == [19.99, 19.99]
    assert rows["days_ago"].isna().tolist() == [False, True]
    assert not FeaturePipeline().transform(rows).isna().to_numpy().any()


def test_a_rating_of_an_unknown_product_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 rated products are not in the catalogue"):
        table(write(tmp_path, "query,docid,rating\nkettle,9,3\n"))


@pytest.mark.data
def test_the_real_one(chorus_folder: Path) -> None:
    rows = table(chorus_folder)
    assert tuple(rows.columns) == COLUMNS
    assert (len(rows), rows["query_id"].nunique(), rows["product_id"].nunique()) == (3_668, 135, 2_517)
    assert rows["product_title"].notna().all()
