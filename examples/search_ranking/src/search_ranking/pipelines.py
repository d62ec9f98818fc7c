"""From a table of judged products to features, and from features to a ranker."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from rapidfuzz import fuzz

from search_ranking.features import (
    compute_recency_score,
    encode_product_category,
    normalize_user_age,
    number,
    text,
    tokenize_product_title,
)

LEXICAL = ["bm25", "overlap", "coverage", "title_length", "token_set", "weighted", "partial"]
EVERYTHING = [*LEXICAL, "affinity", "category_encoded", "recency_score", "popularity", "price", "user_age_norm"]
K1, B = 1.2, 0.75


class FeaturePipeline:
    """The features that need nothing learned: never a null, whatever the input's nulls."""

    def transform(self, df: pd.DataFrame) -> pd.DataFrame:
        """`user_age_norm` float32, `category_encoded` int32, `recency_score` float32, `title_tokens` lists; a missing
        column counts as null throughout."""
        ages, categories, days, titles = (
            df[name] if name in df.columns else pd.Series([None] * len(df), index=df.index, dtype="object")
            for name in ("user_age", "category", "days_ago", "product_title")
        )
        tokens = pd.Series([tokenize_product_title(title) for title in titles.tolist()], index=df.index, dtype="object")
        return pd.DataFrame(
            {
                "user_age_norm": normalize_user_age(ages),
                "category_encoded": pd.Series(
                    [encode_product_category(c) for c in categories.tolist()], index=df.index, dtype="int32"
                ),
                "recency_score": compute_recency_score(days),
                "title_tokens": tokens,
            },
            index=df.index,
        )


@dataclass
class Corpus:
    """What was learned of words: in how many titles each stands, and which categories are relevant for it."""

    titles: int = 0
    mean_length: float = 1.0
    frequency: dict[str, int] = field(default_factory=dict)
    affinity: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def learn(cls, df: pd.DataFrame) -> Corpus:
        """From the titles and the judgements of a training table."""
        unique = df.drop_duplicates("product_id")
        tokens = [tokenize_product_title(title) for title in text(unique["product_title"])]
        frequency = Counter(token for title in tokens for token in set(title))
        mean = float(np.mean([len(title) for title in tokens])) if tokens else 1.0
        affinity: dict[str, dict[str, list[float]]] = {}
        for query, category, grade in zip(text(df["query"]), text(df["category"]), df["relevance"], strict=True):
            for word in set(tokenize_product_title(query)):
                affinity.setdefault(str(word), {}).setdefault(category, []).append(float(grade))
        means = {
            word: {category: sum(grades) / (len(grades) + 2) for category, grades in found.items()}
            for word, found in affinity.items()
        }
        return cls(len(tokens), mean, {str(token): count for token, count in frequency.items()}, means)

    def idf(self, token: int) -> float:
        """Lucene's inverse document frequency."""
        count = self.frequency.get(str(token), 0)
        return math.log(1 + (self.titles - count + 0.5) / (count + 0.5))

    def bm25(self, query: list[int], title: list[int]) -> float:
        """BM25 of one title (Robertson and Zaragoza 2009)."""
        counts = Counter(title)
        norm = K1 * (1 - B + B * len(title) / self.mean_length)
        return sum(self.idf(t) * counts[t] * (K1 + 1) / (counts[t] + norm) for t in set(query) if counts[t])

    def category_affinity(self, query: list[int], category: str) -> float:
        """How relevant products of this category were for the query's words, in grades."""
        known = [self.affinity[str(word)].get(category, 0.0) for word in query if str(word) in self.affinity]
        return float(np.mean(known)) if known else 0.0


class Ranker:
    """A trained ranker: a table with `query` and `product_title` in, one score a row out."""

    def __init__(self, booster: lightgbm.Booster, corpus: Corpus, features: list[str]) -> None:
        self.booster, self.corpus, self.features = booster, corpus, features

    def predict(self, df: pd.DataFrame) -> np.ndarray:
        """Scores (n,); the higher, the better."""
        columns = features_of(df, self.corpus, self.features)
        matrix = np.column_stack([columns[name] for name in self.features])
        return np.asarray(self.booster.predict(matrix, num_threads=1))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.booster.save_model(folder / "booster.txt")
        document = {"features": self.features, "corpus": asdict(self.corpus)}
        (folder / "ranker.json").write_text(json.dumps(document, sort_keys=True), "utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Ranker:
        document = json.loads((Path(folder) / "ranker.json").read_text("utf-8"))
        booster = lightgbm.Booster(model_file=Path(folder) / "booster.txt")
        return cls(booster, Corpus(**document["corpus"]), document["features"])


def features_of(df: pd.DataFrame, corpus: Corpus, names: list[str]) -> dict[str, np.ndarray]:
    """The named features of rows with `query` and `product_title`, each (n,) float64."""

    def column(name: str) -> pd.Series:
        return df[name] if name in df.columns else pd.Series([None] * len(df), dtype="object")

    queries, titles = text(column("query")), text(column("product_title"))
    columns = lexical_features(queries, titles, corpus)
    if set(names) <= set(columns):
        return columns
    categories = text(column("category"))
    tokens = [tokenize_product_title(query) for query in queries]
    more = {
        "affinity": [corpus.category_affinity(q, c) for q, c in zip(tokens, categories, strict=True)],
        "category_encoded": [encode_product_category(c) for c in categories],
        "recency_score": compute_recency_score(column("days_ago")),
        "popularity": number(column("popularity"), 0.0),
        "price": np.log1p(number(column("price"), 0.0).clip(min=0)),
        "user_age_norm": normalize_user_age(column("user_age")),
    }
    return columns | {name: np.asarray(values, dtype=np.float64) for name, values in more.items()}


def lexical_features(queries: list[str], titles: list[str], corpus: Corpus) -> dict[str, np.ndarray]:
    """How the words and letters of query and title agree, each (n,) float64."""
    pairs = [(tokenize_product_title(q), tokenize_product_title(t)) for q, t in zip(queries, titles, strict=True)]
    overlap = [len(set(query) & set(title)) for query, title in pairs]
    texts = list(zip(queries, titles, strict=True))
    found = {
        "bm25": [corpus.bm25(query, title) for query, title in pairs],
        "overlap": overlap,
        "coverage": [n / max(1, len(set(query))) for n, (query, _) in zip(overlap, pairs, strict=True)],
        "title_length": [len(title) for _, title in pairs],
        "token_set": [fuzz.token_set_ratio(q, t) for q, t in texts],
        "weighted": [fuzz.WRatio(q, t) for q, t in texts],
        "partial": [fuzz.partial_ratio(q, t) for q, t in texts],
    }
    return {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}


@dataclass
class TrainingPipeline:
    """LightGBM's lambdarank over lexical features, or over all of them."""

    rounds: int = 120
    learning_rate: float = 0.08
    features: str = "all"
    leaves: int = 15
    shuffle_labels: bool = False
    seed: int = 0

    def fit(self, df: pd.DataFrame) -> Ranker:
        """Train on judged rows (`query_id`, `query`, `product_title`, `relevance`, …); the same rows, the same ranker."""
        ordered = df.sort_values(["query_id", "product_id"], kind="stable").reset_index(drop=True)
        names = LEXICAL if self.features == "lexical" else EVERYTHING
        corpus = Corpus.learn(ordered)
        columns = features_of(ordered, corpus, names)
        if "affinity" in names:
            columns["affinity"] = self._affinity_out_of_fold(ordered, columns["affinity"])
        labels = ordered["relevance"].to_numpy()
        if self.shuffle_labels:
            labels = np.random.default_rng(self.seed).permutation(labels)
        sizes = ordered.groupby("query_id", sort=False).size().to_numpy()
        matrix = np.column_stack([columns[name] for name in names])
        data = lightgbm.Dataset(matrix, labels, group=sizes, feature_name=names, params={"verbose": -1})
        return Ranker(lightgbm.train(self._parameters(), data, self.rounds), corpus, names)

    def _affinity_out_of_fold(self, df: pd.DataFrame, affinity: np.ndarray, folds: int = 4) -> np.ndarray:
        """The affinity as learned from other queries, so that training sees what serving will see."""
        fold = np.random.default_rng(self.seed).integers(0, folds, df["query_id"].nunique())
        which = fold[pd.factorize(df["query_id"])[0]]
        affinity = affinity.copy()
        for current in range(folds):
            inside = which == current
            if inside.any() and not inside.all():
                others = Corpus.learn(df[~inside])
                tokens = [tokenize_product_title(query) for query in text(df.loc[inside, "query"])]
                pairs = zip(tokens, text(df.loc[inside, "category"]), strict=True)
                affinity[inside] = [others.category_affinity(q, c) for q, c in pairs]
        return affinity

    def _parameters(self) -> dict[str, Any]:
        return {
            "objective": "lambdarank",
            "metric": "ndcg",
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": 20,
            "lambdarank_truncation_level": 15,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbose": -1,
        }
