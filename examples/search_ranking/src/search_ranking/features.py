"""What the ranker sees of a product and of who searches. Every function is total: nulls have a meaning."""

from __future__ import annotations

import hashlib
import json
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from nltk.tokenize.toktok import ToktokTokenizer

MAX_AGE = 120.0
UNKNOWN_AGE = 0.5
HALF_LIFE_DAYS = 30.0
_ENCODER = Path(__file__).with_name("category_encoder.json")
_TOKENIZER = ToktokTokenizer()


def normalize_user_age(ages: pd.Series) -> pd.Series:
    """Ages 0–120 as [0, 1] float32; null is 0.5, above 120 counts as 120. ValueError for a negative age."""
    return pd.Series(age_scores(number(ages, np.nan)), index=ages.index, name=ages.name, dtype="float32")


def age_scores(years: np.ndarray) -> np.ndarray:
    """`normalize_user_age` on numbers (n,), null as NaN."""
    if (years < 0).any():
        raise ValueError(f"Age cannot be negative, found {years[years < 0][0]:g}.")
    return np.where(np.isnan(years), UNKNOWN_AGE, np.minimum(years, MAX_AGE) / MAX_AGE).astype(np.float32)


@cache
def category_codes() -> dict[str, int]:
    """The saved encoder: category → code from 1."""
    return dict(json.loads(_ENCODER.read_text("utf-8")))


def encode_product_category(category: str | None) -> int:
    """The code of a category; 0 for null and for what the encoder has never seen."""
    return category_codes().get(category, 0) if isinstance(category, str) else 0


def compute_recency_score(days_ago: pd.Series) -> pd.Series:
    """1 / (1 + days/30) as float32: 1 today, strictly falling with age, 0 for null; the future counts as today."""
    return pd.Series(
        recency_scores(number(days_ago, np.nan)), index=days_ago.index, name=days_ago.name, dtype="float32"
    )


def recency_scores(days: np.ndarray) -> np.ndarray:
    """`compute_recency_score` on numbers (n,), null as NaN."""
    return np.where(np.isnan(days), 0.0, 1 / (1 + np.maximum(days, 0) / HALF_LIFE_DAYS)).astype(np.float32)


@lru_cache(maxsize=100_000)
def title_words(title: str) -> tuple[str, ...]:
    """The words of a text, lower case, as Toktok splits them."""
    return tuple(_TOKENIZER.tokenize(title.lower()))


@lru_cache(maxsize=100_000)
def title_ids(title: str) -> tuple[int, ...]:
    """The ids of a text's words."""
    return tuple(word_id(word) for word in title_words(title))


@lru_cache(maxsize=200_000)
def word_id(word: str) -> int:
    """A word's id: the same on every machine, in every process."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big")


def tokenize_product_title(title: str | None) -> list[int]:
    """A title as ids of its words; null and empty give no ids."""
    if not isinstance(title, str):
        return []
    return list(title_ids(title))


def text(values: pd.Series) -> list[str]:
    """Texts with null as the empty text."""
    return [value if isinstance(value, str) else "" for value in values.tolist()]


def number(values: pd.Series, default: float) -> np.ndarray:
    """Numbers (n,) float64 with null, and what is no number, as `default`."""
    found = values.to_numpy()
    if found.dtype.kind not in "fiu":
        found = pd.to_numeric(values, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    found = found.astype(np.float64)
    return np.where(np.isnan(found), default, found)
