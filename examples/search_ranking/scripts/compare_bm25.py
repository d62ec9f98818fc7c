"""NDCG@10 of the trained ranker beside BM25, on queries that it was not trained on.

    python scripts/compare_bm25.py [--data data/train.parquet] [--folds 5]

Every query is judged once, by a ranker that was trained on the other folds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

import bm25s
import numpy as np
import pandas as pd
from search_ranking.features import text, title_words
from search_ranking.pipelines import TrainingPipeline

import holdfast


def bm25_scores(rows: pd.DataFrame) -> np.ndarray:
    """BM25 (bm25s, Lucene's variant) of each row, with the statistics of all distinct titles in the table."""
    unique = rows.drop_duplicates("product_id").reset_index(drop=True)
    place = {product: number for number, product in enumerate(unique["product_id"])}
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index([list(title_words(title)) for title in text(unique["product_title"])], show_progress=False)
    scores = np.zeros(len(rows))
    for query, inside in rows.groupby("query", sort=False).indices.items():
        words = [word for word in title_words(query) if word in index.vocab_dict]
        if words:
            found = index.get_scores(words)
            scores[inside] = found[[place[product] for product in rows["product_id"].iloc[inside]]]
    return scores


def ranker_scores(rows: pd.DataFrame, folds: int, seed: int = 0) -> np.ndarray:
    """Scores of each row by a ranker that never saw its query."""
    codes, queries = pd.factorize(rows["query"])
    fold = np.random.default_rng(seed).permutation(len(queries)) % folds
    scores = np.zeros(len(rows))
    for number in range(folds):
        inside = fold[codes] == number
        scores[inside] = TrainingPipeline().fit(rows[~inside]).predict(rows[inside])
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description="The ranker beside BM25.")
    parser.add_argument("--data", default=str(ROOT / "data" / "train.parquet"))
    parser.add_argument("--folds", type=int, default=5)
    given = parser.parse_args()
    rows = pd.read_parquet(given.data)
    common = {"metric": "ndcg@10", "groups": rows["query_id"]}
    baseline, ranker = bm25_scores(rows), ranker_scores(rows, given.folds)
    for name, scores in (("BM25", baseline), ("ranker", ranker)):
        check = holdfast.compare(rows["relevance"], None, scores, min=0.0, **common).checks[0]
        print(f"{name:8} NDCG@10 {check.estimate:.3f} [{check.low:.3f}, {check.high:.3f}]  {check.n} queries")
    check = holdfast.compare(rows["relevance"], baseline, ranker, max_regression=0.0, **common).checks[0]
    print(f"{'ranker − BM25':8} {check.estimate:+.3f} [{check.low:+.3f}, {check.high:+.3f}]  {check.method}")


if __name__ == "__main__":
    main()
