"""From a table of judged products to features, and from features to a ranker."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from search_ranking.corpus import Corpus
from search_ranking.features import (
    compute_recency_score,
    encode_product_category,
    normalize_user_age,
    text,
    tokenize_product_title,
)
from search_ranking.fuzzy import TIE_BREAK, FuzzyRanker
from search_ranking.matching import EVERYTHING, LEXICAL, features_of

FOLDS = 4


class FeaturePipeline:
    """The features that need nothing learned: never a null, whatever the input's nulls."""

    def transform(self, df: pd.DataFrame) -> pd.DataFrame:
        """`user_age_norm` float32, `category_encoded` int32, `recency_score` float32, `title_tokens` lists (object).

        One row for each of `df`, with its index; a missing column counts as null. ValueError for a negative age.
        """
        ages, categories, days, titles = (
            df[name] if name in df.columns else pd.Series([None] * len(df), index=df.index, dtype="object")
            for name in ("user_age", "category", "days_ago", "product_title")
        )
        codes = [encode_product_category(category) for category in categories.tolist()]
        tokens = [tokenize_product_title(title) for title in titles.tolist()]
        return pd.DataFrame(
            {
                "user_age_norm": normalize_user_age(ages),
                "category_encoded": pd.Series(codes, index=df.index, dtype="int32"),
                "recency_score": compute_recency_score(days),
                "title_tokens": pd.Series(tokens, index=df.index, dtype="object"),
            },
            index=df.index,
        )


class Ranker:
    """A trained ranker: a table with `query` and `product_title` in, one score a row out."""

    def __init__(self, booster: lightgbm.Booster, corpus: Corpus, features: list[str]) -> None:
        self.booster, self.corpus, self.features = booster, corpus, features

    def predict(self, df: pd.DataFrame) -> np.ndarray:
        """Scores (n,) float64, the higher the better; a row's score does not depend on the other rows."""
        if df.empty:
            return np.empty(0)
        columns = features_of(df, self.corpus, self.features)
        matrix = np.column_stack([columns[name] for name in self.features])
        return np.asarray(self.booster.predict(matrix, num_threads=1))

    def save(self, folder: Path) -> None:
        """Two text files: LightGBM's own model and the corpus as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        self.booster.save_model(folder / "booster.txt")
        document = {"features": self.features, "corpus": asdict(self.corpus)}
        (folder / "ranker.json").write_text(json.dumps(document, sort_keys=True), "utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Ranker:
        document = json.loads((Path(folder) / "ranker.json").read_text("utf-8"))
        booster = lightgbm.Booster(model_file=Path(folder) / "booster.txt")
        return cls(booster, Corpus(**document["corpus"]), document["features"])


@dataclass
class TrainingPipeline:
    """LightGBM's lambdarank (Burges 2010) over the lexical features or all of them; `fuzzy` is the shop's oldest ranker."""

    rounds: int = 120
    learning_rate: float = 0.05
    features: str = "all"
    leaves: int = 7
    shuffle_labels: bool = False
    tie_break: float = TIE_BREAK  # of the fuzzy ranker
    seed: int = 0

    def __post_init__(self) -> None:
        if self.features not in {"all", "lexical", "fuzzy"}:
            raise ValueError(f"features must be all, lexical or fuzzy, not {self.features!r}.")

    def fit(self, df: pd.DataFrame) -> Ranker | FuzzyRanker:
        """Train on judged rows (`query_id`, `query`, `product_title`, `relevance`, …); same rows, same ranker."""
        ordered = df.sort_values(["query_id", "product_id"], kind="stable").reset_index(drop=True)
        if self.features == "fuzzy":
            return FuzzyRanker(Corpus.learn(ordered), self.tie_break)
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

    def _affinity_out_of_fold(self, df: pd.DataFrame, affinity: np.ndarray) -> np.ndarray:
        """The affinity as learned from other queries, so that training sees what serving will see."""
        fold = np.random.default_rng(self.seed).integers(0, FOLDS, df["query_id"].nunique())
        which = fold[pd.factorize(df["query_id"])[0]]
        affinity = affinity.copy()
        for current in range(FOLDS):
            inside = which == current
            if inside.any() and not inside.all():
                others = Corpus.learn(df[~inside])
                tokens = [tokenize_product_title(query) for query in text(df.loc[inside, "query"])]
                pairs = zip(tokens, text(df.loc[inside, "category"]), strict=True)
                affinity[inside] = [others.category_affinity(q, c) for q, c in pairs]
        return affinity

    def _parameters(self) -> dict[str, Any]:
        """Strongly regularised: a real catalogue has some hundred judged queries."""
        return {
            "objective": "lambdarank",
            "lambdarank_truncation_level": 15,
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": 40,
            "lambda_l2": 5.0,
            "feature_fraction": 0.6,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbose": -1,
        }
