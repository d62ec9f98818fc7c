"""NDCG@10 of the trained ranker beside BM25, on queries that it was not trained on.

python scripts/compare_bm25.py [--data data/train.parquet] [--test data/test.parquet] [--folds 5] [--repeats 3]

With --test: trained on the queries of --data that are not in the test table, judged on the test table.
Always: cross-validation over all queries of --data, each judged by a ranker trained on the other folds, several times
over with other folds. Gain 2^grade − 1; queries with no relevant or only one product are left out.
Intervals are Holdfast's; scikit-learn's ndcg_score, query by query, has to give the same figures.
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
from sklearn.metrics import ndcg_score

import holdfast
from search_ranking.features import text, title_words
from search_ranking.pipelines import TrainingPipeline

RESAMPLES = 10_000


def bm25_scores(rows: pd.DataFrame, corpus: pd.DataFrame) -> np.ndarray:
    """BM25 (bm25s, Lucene's variant) of each row, with the statistics of all distinct titles in `corpus`."""
    unique = corpus.drop_duplicates("product_id").reset_index(drop=True)
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


def out_of_fold_scores(rows: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """Scores of each row by a ranker that never saw its query."""
    codes, queries = pd.factorize(rows["query"])
    fold = np.random.default_rng(seed).permutation(len(queries)) % folds
    scores = np.zeros(len(rows))
    for number in range(folds):
        inside = fold[codes] == number
        scores[inside] = TrainingPipeline().fit(rows[~inside]).predict(rows[inside])
    return scores


def by_query(rows: pd.DataFrame, scores: np.ndarray) -> np.ndarray:
    """NDCG@10 of each query that has two products and a relevant one, by scikit-learn."""
    grades, found = rows["relevance"].to_numpy(dtype=float), []
    for inside in rows.groupby("query_id").indices.values():
        if len(inside) > 1 and grades[inside].max() > 0:
            found.append(ndcg_score([2 ** grades[inside] - 1], [scores[inside]], k=10))
    return np.asarray(found)


def judged(rows: pd.DataFrame, name: str, scores: np.ndarray, baseline: np.ndarray | None = None) -> None:
    """Print one line: NDCG@10 of `scores`, or with a `baseline` the paired difference."""
    limit = {"min": 0.0} if baseline is None else {"max_regression": 0.0}
    report = holdfast.compare(
        rows["relevance"], baseline, scores, metric="ndcg@10", groups=rows["query_id"], unit="query", **limit
    )
    check = report.checks[0]
    other = by_query(rows, scores).mean() - (0.0 if baseline is None else by_query(rows, baseline).mean())
    if abs(other - check.estimate) > 1e-9:
        sys.exit(f"scikit-learn gives {other:.6f} where Holdfast gives {check.estimate:.6f}.")
    sign = "" if baseline is None else "+"
    interval = f"[{check.low:{sign}.3f}, {check.high:{sign}.3f}]"
    print(f"  {name:14} {check.estimate:{sign}.3f}  {interval}  {check.n} queries")


def on_test_table(rows: pd.DataFrame, test: pd.DataFrame) -> None:
    """One ranker, trained without the test queries."""
    rest = rows[~rows["query_id"].isin(set(test["query_id"]))]
    baseline, ranker = bm25_scores(test, rows), TrainingPipeline().fit(rest).predict(test)
    print(f"holdout: trained on {rest['query_id'].nunique()} queries, judged on {test['query_id'].nunique()}")
    judged(test, "BM25", baseline)
    judged(test, "ranker", ranker)
    judged(test, "ranker − BM25", ranker, baseline)


def cross_validated(rows: pd.DataFrame, folds: int, repeats: int) -> None:
    """Every query judged `repeats` times, each time by a ranker of other folds."""
    baseline, differences = bm25_scores(rows, rows), []
    print(f"{folds}-fold cross-validation, {repeats} times")
    judged(rows, "BM25", baseline)
    for seed in range(repeats):
        ranker = out_of_fold_scores(rows, folds, seed)
        judged(rows, "ranker", ranker)
        judged(rows, "ranker − BM25", ranker, baseline)
        differences.append(by_query(rows, ranker) - by_query(rows, baseline))
    mean = np.mean(differences, axis=0)
    drawn = np.random.default_rng(0).integers(0, len(mean), (RESAMPLES, len(mean)))
    low, high = np.quantile(mean[drawn].mean(axis=1), [0.025, 0.975])
    print(f"  mean of the differences {mean.mean():+.3f}  [{low:+.3f}, {high:+.3f}]  bootstrap over queries")


def main() -> None:
    parser = argparse.ArgumentParser(description="The ranker beside BM25.")
    parser.add_argument("--data", default=str(ROOT / "data" / "train.parquet"))
    parser.add_argument("--test", help="Also judge one ranker on this table (scripts/split_data.py makes it).")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    rows = pd.read_parquet(given.data)
    if given.test:
        on_test_table(rows, pd.read_parquet(given.test))
    cross_validated(rows, given.folds, given.repeats)


if __name__ == "__main__":
    main()
