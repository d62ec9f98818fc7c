"""Each feature alone: ranges, nulls, and titles that nobody expected."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import HOSTILE, ROOT
from search_ranking.catalogue import THINGS
from search_ranking.features import (
    category_codes,
    compute_recency_score,
    encode_product_category,
    normalize_user_age,
    title_words,
    tokenize_product_title,
)

GOLDEN = json.loads(Path(__file__).with_name("golden_tokens.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("age", "score"),
    [(0, 0.0), (30, 0.25), (120, 1.0), (150, 1.0), (np.inf, 1.0), (None, 0.5), (np.nan, 0.5), ("60", 0.5), ("x", 0.5)],
)
def test_an_age_becomes_a_share_of_120(age: object, score: float) -> None:
    assert normalize_user_age(pd.Series([age])).tolist() == pytest.approx([score])


@pytest.mark.parametrize("dtype", ["float64", "float32", "Int64", "Float64", "object"])
def test_ages_of_every_type_with_nulls(dtype: str) -> None:
    ages = pd.Series([24, None, 60], index=[7, 7, 1], name="user_age", dtype=dtype)
    scores = normalize_user_age(ages)
    assert scores.dtype == np.float32
    assert scores.index.tolist() == [7, 7, 1]
    assert scores.tolist() == pytest.approx([0.2, 0.5, 0.5])


@pytest.mark.parametrize("age", [-1, -0.001, -np.inf])
def test_a_negative_age_is_an_error(age: float) -> None:
    with pytest.raises(ValueError, match="Age cannot be negative"):
        normalize_user_age(pd.Series([30.0, None, age]))


def test_no_ages_at_all() -> None:
    assert normalize_user_age(pd.Series([], dtype="object")).dtype == np.float32
    assert normalize_user_age(pd.Series([None, None])).tolist() == [0.5, 0.5]


def test_the_saved_encoder_knows_every_category_of_the_catalogue() -> None:
    codes = [encode_product_category(category) for category in THINGS]
    assert sorted(codes) == list(range(1, len(THINGS) + 1))
    assert 0 not in category_codes().values()


@pytest.mark.parametrize("category", [None, np.nan, pd.NA, "", "Audio", "no such category", 3, ["audio"]])
def test_an_unknown_category_is_zero(category: object) -> None:
    assert encode_product_category(category) == 0


def test_recency_falls_strictly_for_every_day_of_a_century() -> None:
    scores = compute_recency_score(pd.Series(range(36_525)))
    assert scores.dtype == np.float32
    assert (np.diff(scores.to_numpy()) < 0).all()
    assert scores.iloc[0] == 1.0
    assert scores.iloc[-1] > 0


def test_recency_falls_strictly_within_a_day_and_in_deep_time() -> None:
    seconds = compute_recency_score(pd.Series(np.arange(0, 1, 1 / 86_400)))
    assert (np.diff(seconds.to_numpy()) < 0).all()
    ages = compute_recency_score(pd.Series(np.geomspace(1, 1e15, 3_000)))
    assert (np.diff(ages.to_numpy()) < 0).all()


def test_recency_halves_in_a_month() -> None:
    assert compute_recency_score(pd.Series([0, 30, 90])).tolist() == [1.0, 0.5, 0.25]


def test_recency_of_the_future_and_of_nothing() -> None:
    scores = compute_recency_score(pd.Series([-5.0, 0.0, None, np.inf]))
    assert scores.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert compute_recency_score(pd.Series([None, None])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("title", sorted(GOLDEN))
def test_golden_tokens(title: str) -> None:
    """A tokenizer that splits otherwise than the day the model was trained shows itself here, title by title."""
    assert list(title_words(title)) == GOLDEN[title]["words"]
    assert tokenize_product_title(title) == GOLDEN[title]["ids"]


@pytest.mark.parametrize("title", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_titles_become_ids(title: str) -> None:
    ids = tokenize_product_title(title)
    assert ids == tokenize_product_title(str(title))
    assert all(type(token) is int and 0 <= token < 2**32 for token in ids)
    assert ids or not any(character.isalnum() for character in title)


@pytest.mark.parametrize("title", [None, np.nan, pd.NA, pd.NaT, 5, ""])
def test_no_title_has_no_tokens(title: object) -> None:
    assert tokenize_product_title(title) == []


@pytest.mark.parametrize("dash", ["—", "–"])
def test_a_dash_is_a_word_of_its_own_with_or_without_blanks(dash: str) -> None:
    assert title_words(f"Kessel{dash}Rot") == title_words(f"kessel {dash} rot") == ("kessel", dash, "rot")


def test_a_change_to_a_returned_list_stays_outside() -> None:
    tokenize_product_title("red kettle").clear()
    assert len(tokenize_product_title("red kettle")) == 2


def test_ids_are_the_same_in_another_process() -> None:
    code = "import json, sys; from search_ranking.features import tokenize_product_title as t; "
    code += "print(json.dumps([t(x) for x in json.load(sys.stdin)]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": "12345", "LC_ALL": "C"}
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, input=json.dumps(HOSTILE), env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == [tokenize_product_title(title) for title in HOSTILE]
