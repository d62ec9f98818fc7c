"""Golden outputs of the feature functions over Holdfast's hostile corpus: one line each."""

from __future__ import annotations

from collections.abc import Callable

from search_ranking.features import encode_product_category, title_words, tokenize_product_title
from search_ranking.matching import trigrams


def test_words(holdfast_snapshot: Callable[..., None]) -> None:
    holdfast_snapshot(title_words)


def test_ids(holdfast_snapshot: Callable[..., None]) -> None:
    holdfast_snapshot(tokenize_product_title)


def test_trigrams(holdfast_snapshot: Callable[..., None]) -> None:
    holdfast_snapshot(trigrams)


def test_categories(holdfast_snapshot: Callable[..., None]) -> None:
    holdfast_snapshot(encode_product_category, ["audio", "pets", "never seen", "", None])
