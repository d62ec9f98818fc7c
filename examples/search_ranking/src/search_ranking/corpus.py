"""What the ranker learned of words: how rare each is in titles, and which categories its searchers meant."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from search_ranking.features import text, tokenize_product_title

K1, B = 1.2, 0.75
PRIOR_ROWS = 2  # judgements of grade 0 that every (word, category) is taken to have had


@dataclass
class Corpus:
    """Statistics of titles and judged queries. Plain numbers and texts, so that JSON holds all of it."""

    titles: int = 0
    mean_length: float = 1.0
    frequency: dict[str, int] = field(default_factory=dict)  # word id → titles that hold it
    affinity: dict[str, dict[str, float]] = field(default_factory=dict)  # word id of a query → category → mean grade

    @classmethod
    def learn(cls, df: pd.DataFrame) -> Corpus:
        """From the titles and the judgements of a training table."""
        titles = text(df.drop_duplicates("product_id")["product_title"])
        tokens = [tokenize_product_title(title) for title in titles]
        frequency = Counter(str(token) for title in tokens for token in set(title))
        mean = float(np.mean([len(title) for title in tokens])) if tokens else 1.0
        return cls(len(tokens), max(mean, 1.0), dict(frequency), _affinity(df))

    def idf(self, token: int) -> float:
        """Lucene's inverse document frequency."""
        count = self.frequency.get(str(token), 0)
        return math.log(1 + (self.titles - count + 0.5) / (count + 0.5))

    def bm25(self, query: list[int], title: list[int]) -> float:
        """BM25 of one title (Robertson and Zaragoza 2009, equation 3.15)."""
        counts = Counter(title)
        norm = K1 * (1 - B + B * len(title) / self.mean_length)
        return sum(self.idf(t) * counts[t] * (K1 + 1) / (counts[t] + norm) for t in sorted(set(query)) if counts[t])

    def covered(self, query: list[int], title: list[int]) -> float:
        """The share of the query's words that the title holds, rare words counting more; in [0, 1]."""
        weights = {token: self.idf(token) for token in sorted(set(query))}
        total = sum(weights.values())
        return sum(weights[token] for token in weights if token in set(title)) / total if total else 0.0

    def category_affinity(self, query: list[int], category: str) -> float:
        """How relevant products of this category were for the query's words, in grades; 0 for unknown words."""
        known = [self.affinity[str(word)].get(category, 0.0) for word in query if str(word) in self.affinity]
        return sum(known) / len(known) if known else 0.0


def _affinity(df: pd.DataFrame) -> dict[str, dict[str, float]]:
    grades: dict[str, dict[str, list[float]]] = {}
    for query, category, grade in zip(text(df["query"]), text(df["category"]), df["relevance"], strict=True):
        for word in set(tokenize_product_title(query)):
            grades.setdefault(str(word), {}).setdefault(category, []).append(float(grade))
    return {
        word: {category: sum(seen) / (len(seen) + PRIOR_ROWS) for category, seen in found.items()}
        for word, found in grades.items()
    }
