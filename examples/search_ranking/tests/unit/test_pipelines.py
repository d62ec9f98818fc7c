"""The feature pipeline's promises, for tables of every kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from conftest import HOSTILE
from search_ranking.pipelines import FeaturePipeline, TrainingPipeline

TYPES = {"user_age_norm": "float32", "category_encoded": "int32", "recency_score": "float32", "title_tokens": "object"}
NULLS = [None, np.nan, pd.NA]


def check_promises(df: pd.DataFrame) -> pd.DataFrame:
    features = FeaturePipeline().transform(df)
    assert {name: str(dtype) for name, dtype in features.dtypes.items()} == TYPES
    assert len(features) == len(df)
    assert features.index.equals(df.index)
    assert not features.isna().to_numpy().any()
    assert all(isinstance(tokens, list) for tokens in features["title_tokens"])
    return features


def random_table(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 30))

    def mixed(values: list[object]) -> list[object]:
        return [
            NULLS[rng.integers(3)] if rng.random() < 0.4 else values[rng.integers(len(values))] for _ in range(rows)
        ]

    return pd.DataFrame(
        {
            "user_age": pd.Series(mixed([0, 17.5, 120, 300, np.inf]), dtype="object"),
            "category": pd.Series(mixed(["audio", "books", "nowhere", ""]), dtype="object"),
            "days_ago": pd.Series(mixed([-3, 0, 12.5, 1e9]), dtype="object"),
            "product_title": pd.Series(mixed(list(HOSTILE)), dtype="object"),
        },
        index=rng.integers(0, 5, rows),  # not unique
    )


@pytest.mark.parametrize("seed", range(40))
def test_never_a_null_whatever_the_nulls(seed: int) -> None:
    df = random_table(seed)
    before = df.copy(deep=True)
    check_promises(df)
    pd.testing.assert_frame_equal(df, before)


@pytest.mark.parametrize("null", NULLS, ids=str)
def test_rows_of_nothing_but_nulls(null: object) -> None:
    features = check_promises(pd.DataFrame({name: [null] * 3 for name in random_table(0).columns}))
    assert features.iloc[0].tolist() == [0.5, 0, 0.0, []]


@pytest.mark.parametrize("columns", [[], ["user_age", "category", "days_ago"], ["product_title"], ["something else"]])
def test_an_empty_frame_has_no_features(columns: list[str]) -> None:
    assert len(check_promises(pd.DataFrame(columns=columns))) == 0


@pytest.mark.parametrize("missing", ["user_age", "category", "days_ago", "product_title"])
def test_a_missing_column_counts_as_null(small: pd.DataFrame, missing: str) -> None:
    with_nulls = check_promises(small.assign(**{missing: None}))
    pd.testing.assert_frame_equal(check_promises(small.drop(columns=missing)), with_nulls)


def test_a_row_does_not_depend_on_its_neighbours(small: pd.DataFrame) -> None:
    whole = check_promises(small)
    pd.testing.assert_frame_equal(check_promises(small.iloc[::-1]), whole.iloc[::-1])
    pd.testing.assert_frame_equal(check_promises(small.iloc[[5]]), whole.iloc[[5]])


def test_a_negative_age_stops_the_pipeline(small: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="Age cannot be negative"):
        FeaturePipeline().transform(small.assign(user_age=-1.0))


def test_unknown_feature_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="features must be all, lexical or fuzzy, not 'best'"):
        TrainingPipeline(features="best")
