"""The shop's oldest ranker: how alike query and title are letter by letter. Nothing to train but word statistics.

It trusts rapidfuzz to prepare texts by itself, as many projects did. rapidfuzz 2 lower-cased and stripped punctuation
unless told otherwise; rapidfuzz 3 does not, and says nothing. `holdfast.incident.yaml` is about that.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from rapidfuzz import fuzz

from search_ranking.corpus import Corpus
from search_ranking.features import text, tokenize_product_title

TIE_BREAK = 1e-2  # weight of BM25: it orders titles that are about equally alike


def similarity(query: str | None, title: str | None) -> float:
    """How alike two texts are, 0 to 100, whatever the order and number of their words."""
    return float(fuzz.token_set_ratio(query or "", title or ""))


class FuzzyRanker:
    """A table with `query` and `product_title` in, one score a row out."""

    def __init__(self, corpus: Corpus, tie_break: float = TIE_BREAK) -> None:
        self.corpus, self.tie_break = corpus, tie_break

    def predict(self, df: pd.DataFrame) -> np.ndarray:
        """Scores (n,) float64: similarity, and BM25 where that is equal."""
        pairs = list(zip(text(df["query"]), text(df["product_title"]), strict=True))
        alike = np.asarray([similarity(query, title) for query, title in pairs], dtype=np.float64)
        if not self.tie_break:
            return alike
        words = [self.corpus.bm25(tokenize_product_title(q), tokenize_product_title(t)) for q, t in pairs]
        return alike + self.tie_break * np.asarray(words, dtype=np.float64)

    def save(self, folder: Path) -> None:
        """One text file."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {"tie_break": self.tie_break, "corpus": asdict(self.corpus)}
        (folder / "fuzzy.json").write_text(json.dumps(document, sort_keys=True), "utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> FuzzyRanker:
        document = json.loads((Path(folder) / "fuzzy.json").read_text("utf-8"))
        return cls(Corpus(**document["corpus"]), document["tie_break"])
