"""The real catalogue: an electronics shop's products with human ratings, as the same table.

python -m search_ranking.chorus FOLDER data/train.parquet
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

JUDGED_AT = pd.Timestamp("2023-01-01", tz="UTC")


def table(folder: str | Path) -> pd.DataFrame:
    """One row a rating; what the catalogue does not know is null. ValueError where a rated product is not in it."""
    products = pd.read_parquet(Path(folder) / "products.parquet")
    ratings = pd.read_csv(Path(folder) / "judgments.csv", dtype={"docid": str, "query": str})
    products = products.assign(id=products["id"].astype(str)).drop_duplicates("id")
    rows = ratings.merge(products, left_on="docid", right_on="id", how="left", validate="many_to_one")
    if rows["id"].isna().any():
        raise ValueError(f"{int(rows['id'].isna().sum())} rated products are not in the catalogue")
    released = pd.to_datetime(rows["date_released"], errors="coerce", utc=True)
    return pd.DataFrame(
        {
            "query_id": rows["query"],
            "query": rows["query"],
            "product_id": rows["docid"],
            "product_title": rows["title"],
            "category": rows["product_type"],
            "price": rows["price_cents"] / 100,
            "popularity": float("nan"),
            "days_ago": (JUDGED_AT - released).dt.days.astype("float64"),
            "user_age": float("nan"),
            "relevance": rows["rating"].astype("int64"),
            "judged_at": JUDGED_AT,
        }
    )


def main(folder: str, out: str) -> None:
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    rows = table(folder)
    rows.to_parquet(out, index=False)
    print(f"{out}: {len(rows):,} rated products of {rows['query_id'].nunique()} queries")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "data/train.parquet")
