"""The generated catalogue is what the README says, and the same everywhere."""

from __future__ import annotations

import hashlib
import random

import pandas as pd
import pytest

from search_ranking.catalogue import COLUMNS, SEED, products, table

# Of the table as CSV. Another digest on another Python or platform means that the generator is not deterministic;
# after a wanted change of the catalogue, write the new one here.
DIGEST = "d95f1c6b4b0587eee44bb1123787f4695d2877f7367126cdc1f2ba229c8e5b71"


def test_the_table_is_the_same_everywhere(judged: pd.DataFrame) -> None:
    assert hashlib.sha256(judged.to_csv(index=False, lineterminator="\n").encode()).hexdigest() == DIGEST


def test_another_seed_gives_another_table(judged: pd.DataFrame) -> None:
    assert not table(SEED + 1).equals(judged)


def test_sizes_and_columns(judged: pd.DataFrame) -> None:
    assert tuple(judged.columns) == COLUMNS
    assert len(products(random.Random(SEED))) >= 5_000
    assert judged["query_id"].nunique() == judged["query"].nunique() == 600
    assert judged.groupby("query_id").size().between(20, 30).all()
    assert not judged.duplicated(["query_id", "product_id"]).any()
    assert judged["category"].nunique() == 12


def test_grades_and_times(judged: pd.DataFrame) -> None:
    assert sorted(judged["relevance"].unique()) == [0, 1, 2, 3]
    assert (judged.groupby("query_id")["relevance"].max() > 0).mean() > 0.99
    assert str(judged["judged_at"].dtype.tz) == "UTC"
    assert 0.05 < judged["user_age"].isna().mean() < 0.2
    assert judged.drop(columns="user_age").notna().all(axis=None)


@pytest.mark.parametrize("mark", [*"—–ÜüéñØ™®½“‘’★⚡🎁🇯×µ№ー白", '"', "新品", "für", "pour la maison"])
def test_titles_have_every_mark(judged: pd.DataFrame, mark: str) -> None:
    assert judged["product_title"].str.contains(mark, regex=False).sum() >= 20


def test_words_alone_do_not_decide(judged: pd.DataFrame) -> None:
    """Relevant products that share no word with the query, and strangers that do."""
    shared = [
        bool(set(query.lower().split()) & set(title.lower().split()))
        for query, title in zip(judged["query"], judged["product_title"], strict=True)
    ]
    by_grade = pd.Series(shared).groupby(judged["relevance"] > 0).mean()
    assert by_grade[True] < 0.9
    assert by_grade[False] > 0.05
