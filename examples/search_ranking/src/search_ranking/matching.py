"""How a query and a title agree: the features of a pair. A row's features depend on that row only."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from rapidfuzz import fuzz, utils

from search_ranking.corpus import Corpus
from search_ranking.features import (
    age_scores,
    encode_product_category,
    number,
    recency_scores,
    text,
    tokenize_product_title,
)

WORDS = ["bm25", "covered", "overlap", "coverage", "first_match", "last_match", "title_length"]
LETTERS = ["token_set", "weighted", "partial", "trigrams", "phrase"]
LETTERS_READ = 300  # of a text: comparing letters takes time quadratic in their number, and anybody may type a query
CONTEXT = ["affinity", "category_encoded", "recency_score", "popularity", "price", "user_age_norm"]
LEXICAL = [*WORDS, *LETTERS]
EVERYTHING = [*LEXICAL, *CONTEXT]


def features_of(df: pd.DataFrame, corpus: Corpus, names: list[str]) -> dict[str, np.ndarray]:
    """The named features of rows with `query` and `product_title`, each (n,) float64; a missing column is null."""

    def column(name: str) -> pd.Series:
        return df[name] if name in df.columns else pd.Series([None] * len(df), dtype="object")

    queries, titles = text(column("query")), text(column("product_title"))
    found: dict[str, object] = {**words_in_common(queries, titles, corpus), **letters_in_common(queries, titles)}
    if not set(names) <= set(found):
        categories = text(column("category"))
        tokens = [tokenize_product_title(query) for query in queries]
        found |= {
            "affinity": [corpus.category_affinity(q, c) for q, c in zip(tokens, categories, strict=True)],
            "category_encoded": [encode_product_category(category) for category in categories],
            "recency_score": recency_scores(number(column("days_ago"), np.nan)),
            "popularity": number(column("popularity"), 0.0),
            "price": np.log1p(number(column("price"), 0.0).clip(min=0)),
            "user_age_norm": age_scores(number(column("user_age"), np.nan)),
        }
    return {name: np.asarray(found[name], dtype=np.float64) for name in names}


def words_in_common(queries: list[str], titles: list[str], corpus: Corpus) -> dict[str, list[float]]:
    """Agreement by words: BM25, shares of the query found, where in the title the first and last match stand."""
    pairs = [(tokenize_product_title(q), tokenize_product_title(t)) for q, t in zip(queries, titles, strict=True)]
    places = [[n for n, word in enumerate(title) if word in set(query)] for query, title in pairs]
    lengths = [max(1, len(title)) for _, title in pairs]
    overlap = [len(set(query) & set(title)) for query, title in pairs]
    return {
        "bm25": [corpus.bm25(query, title) for query, title in pairs],
        "covered": [corpus.covered(query, title) for query, title in pairs],
        "overlap": [float(n) for n in overlap],
        "coverage": [n / max(1, len(set(query))) for n, (query, _) in zip(overlap, pairs, strict=True)],
        "first_match": [min(found, default=n) / n for found, n in zip(places, lengths, strict=True)],
        "last_match": [max(found, default=n) / n for found, n in zip(places, lengths, strict=True)],
        "title_length": [float(len(title)) for _, title in pairs],
    }


def letters_in_common(queries: list[str], titles: list[str]) -> dict[str, list[float]]:
    """Agreement by letters: what typing errors, inflections and compound words leave over."""
    pairs = [(_plain(q), _plain(t)) for q, t in zip(queries, titles, strict=True)]
    return {
        "token_set": [fuzz.token_set_ratio(q, t) for q, t in pairs],
        "weighted": [fuzz.WRatio(q, t) for q, t in pairs],
        "partial": [fuzz.partial_ratio(q, t) for q, t in pairs],
        "trigrams": [len(trigrams(q) & trigrams(t)) / len(trigrams(q)) for q, t in pairs],
        "phrase": [float(bool(q) and q in t) for q, t in pairs],
    }


def letters(query: str | None, title: str | None) -> dict[str, float]:
    """Agreement by letters of one pair, by the features' names."""
    found = letters_in_common([query or ""], [title or ""])
    return {name: float(values[0]) for name, values in found.items()}


@lru_cache(maxsize=100_000)
def _plain(value: str) -> str:
    """Lower case without punctuation. Said explicitly: rapidfuzz 3 changed what its functions do by themselves."""
    return utils.default_process(value[:LETTERS_READ])


@lru_cache(maxsize=100_000)
def trigrams(value: str) -> frozenset[str]:
    """Runs of three characters, with a blank before and after; never empty."""
    padded = f" {value} "
    return frozenset(padded[start : start + 3] for start in range(max(1, len(padded) - 2)))
