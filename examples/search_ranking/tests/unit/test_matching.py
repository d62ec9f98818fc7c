"""Features of a pair of query and title."""

from __future__ import annotations

import json
from dataclasses import asdict

import bm25s
import numpy as np
import pandas as pd
import pytest

from conftest import HOSTILE
from search_ranking.corpus import Corpus
from search_ranking.features import title_words, tokenize_product_title
from search_ranking.matching import EVERYTHING, LEXICAL, features_of, trigrams


@pytest.fixture(scope="module")
def corpus(small: pd.DataFrame) -> Corpus:
    return Corpus.learn(small)


def test_bm25_is_the_librarys(small: pd.DataFrame, corpus: Corpus) -> None:
    titles = small.drop_duplicates("product_id")["product_title"].tolist()
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index([list(title_words(title)) for title in titles], show_progress=False)
    for query in small["query"].unique()[:20]:
        words = sorted({word for word in title_words(query) if word in index.vocab_dict})
        theirs = index.get_scores(words) if words else np.zeros(len(titles))
        ours = [corpus.bm25(tokenize_product_title(query), tokenize_product_title(title)) for title in titles]
        # bm25s leaves out Lucene's constant factor k1 + 1, which changes no order
        np.testing.assert_allclose(np.asarray(ours) / 2.2, theirs, rtol=1e-4, atol=1e-5)


def test_a_corpus_survives_json(small: pd.DataFrame, corpus: Corpus) -> None:
    again = Corpus(**json.loads(json.dumps(asdict(corpus))))
    for name, values in features_of(small, corpus, EVERYTHING).items():
        np.testing.assert_array_equal(features_of(small, again, EVERYTHING)[name], values)


def test_every_feature_is_finite_for_hostile_pairs(corpus: Corpus) -> None:
    texts = [*HOSTILE, None]
    pairs = [(query, title) for query in texts for title in texts]
    df = pd.DataFrame(pairs, columns=["query", "product_title"], dtype="object")
    features = features_of(df, corpus, EVERYTHING)
    assert list(features) == EVERYTHING
    for name, values in features.items():
        assert values.shape == (len(df),), name
        assert np.isfinite(values).all(), name


def test_shares_are_shares(small: pd.DataFrame, corpus: Corpus) -> None:
    features = features_of(small, corpus, LEXICAL)
    for name in ("covered", "coverage", "first_match", "last_match", "trigrams", "phrase"):
        assert features[name].min() >= 0, name
        assert features[name].max() <= 1, name
        assert len(np.unique(features[name])) > 1, name


def test_a_title_that_is_the_query_agrees_in_everything(corpus: Corpus) -> None:
    features = features_of(pd.DataFrame({"query": ["Red kettle"], "product_title": ["red KETTLE"]}), corpus, LEXICAL)
    found = {name: float(values[0]) for name, values in features.items()}
    assert (
        found | {"covered": 1, "coverage": 1, "first_match": 0, "phrase": 1, "trigrams": 1, "token_set": 100} == found
    )


def test_letters_find_what_words_miss(corpus: Corpus) -> None:
    df = pd.DataFrame({"query": ["wasserkcher", "kettle"], "product_title": ["Wasserkocher rot", "Wasserkocher rot"]})
    features = features_of(df, corpus, LEXICAL)
    assert features["overlap"].tolist() == [0, 0]
    for name in ("trigrams", "partial", "weighted"):
        assert features[name][0] > features[name][1], name


def test_what_was_never_judged_has_no_affinity(corpus: Corpus) -> None:
    assert corpus.category_affinity(tokenize_product_title("zzzz qqqq"), "audio") == 0
    assert corpus.category_affinity([], "audio") == 0


def test_an_empty_corpus_scores_zero() -> None:
    empty = Corpus.learn(
        pd.DataFrame({name: [] for name in ("product_id", "product_title", "query", "category", "relevance")})
    )
    assert empty.bm25([1], [2]) == 0
    assert empty.covered([], [1]) == 0


@pytest.mark.parametrize("value", ["", "a", "ab", "kettle"])
def test_trigrams_are_never_none(value: str) -> None:
    assert len(trigrams(value)) == max(1, len(value))
