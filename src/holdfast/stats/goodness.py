"""How well a model does on each unit, so that a loss can be traced to the inputs that carry it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from holdfast.stats import _ranking
from holdfast.stats.metrics import Array, Metric, is_positive, ranking_values, row_losses, scores_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def unit_goodness(metric: Metric, labels: Array, predictions: Array, groups: Array | None) -> tuple[Ints, Floats]:
    """(u,) the first row of each unit, and (u,) how well the model does on it, higher is better.

    Ranking: the metric of each query that can be judged. Losses: minus the row's loss. Scores (AUC): the score of a
    positive row, minus that of a negative one. Everything else: 1 where the row's prediction is its label, else 0.
    """
    rows = np.arange(len(labels), dtype=np.int64)
    if metric.family == "ranking" and groups is not None:
        queries = _ranking.queries_of(groups)
        keep, _ = _ranking.usable(labels.astype(np.float64), queries)
        first = queries.starts[:-1] if queries.order is None else queries.order[queries.starts[:-1]]
        return first[keep], ranking_values(metric, labels, [predictions], groups)[0][0]
    if metric.family == "rows":
        return rows, -row_losses(metric, labels, predictions)
    if metric.family == "auc":
        return rows, np.where(is_positive(metric, labels), 1.0, -1.0) * scores_of(predictions)
    if predictions.ndim > 1:
        predictions = predictions.argmax(axis=1)
    return rows, np.asarray(predictions.astype(str) == labels.astype(str), dtype=np.float64)
