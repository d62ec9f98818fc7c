"""Ranking metrics of many queries at once; tied scores are averaged over all orders they allow."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Queries:
    """Rows (n,) sorted by query: `order` puts them so, `starts` (q + 1,) are the borders, `equal` the common size or 0."""

    order: Ints | None
    starts: Ints
    equal: int

    @property
    def sizes(self) -> Ints:
        return np.diff(self.starts)


def queries_of(groups: npt.NDArray[Any]) -> Queries:
    """The queries of rows with these group values; rows of a query need not stand together."""
    changes = np.flatnonzero(groups[1:] != groups[:-1]) + 1
    values = groups[np.r_[0, changes]]
    order: Ints | None = None
    if len(np.unique(values)) < len(values):
        _, codes = np.unique(groups, return_inverse=True)
        order = np.argsort(codes, kind="stable")
        changes = np.flatnonzero(np.diff(codes[order])) + 1
    starts = np.r_[0, changes, len(groups)].astype(np.int64)
    sizes = np.diff(starts)
    return Queries(order, starts, int(sizes[0]) if (sizes == sizes[0]).all() else 0)


def gains_of(labels: Floats, gain: Literal["exponential", "linear"]) -> Floats:
    """2^r − 1 or r of relevance grades (n,); ValueError for grades that are negative or not finite."""
    if not np.isfinite(labels).all() or (labels < 0).any():
        raise ValueError("expected relevance grades that are finite and not negative")
    return np.exp2(labels) - 1 if gain == "exponential" else labels


def usable(labels: Floats, queries: Queries) -> tuple[npt.NDArray[np.bool_], dict[str, int]]:
    """Which queries can be judged (q,), and how many were left out for what reason."""
    ordered = labels if queries.order is None else labels[queries.order]
    relevant = np.add.reduceat((ordered > 0).astype(np.int64), queries.starts[:-1]) > 0
    several = queries.sizes > 1
    left_out = {"no relevant document": int((~relevant).sum()), "only one document": int((relevant & ~several).sum())}
    return relevant & several, {reason: count for reason, count in left_out.items() if count}


def discounted_gain(gains: Floats, scores: Floats, queries: Queries, weights: Floats) -> Floats:
    """Σ gain · weight of its position for each query, (q,); `weights` (largest query,) falls with the position.

    Documents with equal scores share the mean weight of the positions they fill, which is the mean over their orders
    (McSherry and Najork 2008; scikit-learn's `ndcg_score`).
    """
    gains, scores = _by_query(gains, queries), _by_query(scores, queries)
    if queries.equal:
        shape = (-1, queries.equal)
        inside = np.argsort(-scores.reshape(shape), axis=1)  # ties are found below, so the order inside them is free
        ordered_gains = np.take_along_axis(gains.reshape(shape), inside, axis=1)
        ordered_scores = np.take_along_axis(scores.reshape(shape), inside, axis=1)
        if not (ordered_scores[:, 1:] == ordered_scores[:, :-1]).any():
            totals: Floats = ordered_gains @ weights[: queries.equal]
            return totals
        gains, scores = ordered_gains.ravel(), ordered_scores.ravel()
    else:
        order = np.lexsort((-scores, np.repeat(np.arange(len(queries.sizes)), queries.sizes)))
        gains, scores = gains[order], scores[order]
    return _averaged(gains, scores, queries, weights)


def _averaged(gains: Floats, scores: Floats, queries: Queries, weights: Floats) -> Floats:
    """`discounted_gain` of rows in rank order, with ties."""
    position = np.arange(len(gains)) - np.repeat(queries.starts[:-1], queries.sizes)
    begins = np.r_[True, scores[1:] != scores[:-1]]
    begins[queries.starts[:-1]] = True
    blocks = np.flatnonzero(begins)
    lengths = np.diff(np.r_[blocks, len(gains)])
    mean_weight = np.add.reduceat(weights[position], blocks) / lengths
    return np.add.reduceat(gains * np.repeat(mean_weight, lengths), queries.starts[:-1])


def ideal_gain(gains: Floats, queries: Queries, weights: Floats) -> Floats:
    """The largest `discounted_gain` there is, over all judged documents of each query, (q,)."""
    if queries.equal:
        ordered = np.sort(_by_query(gains, queries).reshape(-1, queries.equal), axis=1)
        return np.asarray(ordered[:, ::-1] @ weights[: queries.equal])
    return discounted_gain(gains, gains, queries, weights)


def position_weights(longest: int, k: int | None, *, flat: bool = False) -> Floats:
    """1/log2(position + 1) for positions 1 … k and 0 beyond (Järvelin and Kekäläinen 2002); `flat` gives 1 instead."""
    weights = np.ones(longest) if flat else 1 / np.log2(np.arange(2, longest + 2))
    if k is not None:
        weights[k:] = 0
    return weights


def reciprocal_rank(labels: Floats, scores: Floats, queries: Queries) -> Floats:
    """1/rank of the first relevant document, (q,), in the mean over the orders that ties allow; 0 without one."""
    relevant, scores = _by_query(labels, queries) > 0, _by_query(scores, queries)
    order = np.lexsort((-scores, np.repeat(np.arange(len(queries.sizes)), queries.sizes)))
    relevant, scores = relevant[order], scores[order]
    position = np.arange(len(relevant)) - np.repeat(queries.starts[:-1], queries.sizes)
    ranks = np.where(relevant, position, len(relevant))
    first = np.minimum.reduceat(ranks, queries.starts[:-1])
    found: Floats = np.where(first < len(relevant), 1 / (first + 1.0), 0.0)
    begin, end = queries.starts[:-1], queries.starts[1:]
    for query in np.flatnonzero(found):
        here = slice(begin[query], end[query])
        tied = np.flatnonzero(scores[here] == scores[here][first[query]])
        if len(tied) > 1:
            found[query] = _expected(int(tied[0]), len(tied), int(relevant[here][tied].sum()))
    return found


def _expected(before: int, tied: int, relevant: int) -> float:
    """E[1/rank of the first of `relevant` among `tied` documents in random order, behind `before` others]."""
    ways = comb(tied, relevant)
    return sum(comb(tied - i - 1, relevant - 1) / ways / (before + i + 1) for i in range(tied - relevant + 1))


def _by_query(values: Floats, queries: Queries) -> Floats:
    return values if queries.order is None else values[queries.order]
