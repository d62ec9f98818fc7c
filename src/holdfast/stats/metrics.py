"""Metrics by name: what each needs, which way is better, and its value."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from holdfast.stats import _counts, _ranking
from holdfast.stats._auc import components

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Gain = Literal["exponential", "linear"]
Needs = Literal["label", "score", "value"]
Family = Literal["counts", "auc", "rows", "ranking", "function"]

_LABELS = ("accuracy", "f1", "f1_weighted", "f1_macro", "precision", "recall")
_SCORES = ("roc_auc", "log_loss", "brier")
_VALUES = ("mae", "rmse", "r2")
_RANKING = ("ndcg", "ndcg@K", "mrr", "recall@K")
NAMES = (*_LABELS, *_SCORES, *_VALUES, *_RANKING)
_LOWER_IS_BETTER = {"log_loss", "brier", "mae", "rmse"}


@dataclass(frozen=True)
class Metric:
    """One metric. `needs` says what predictions are: hard classes, scores or probabilities, or numbers.

    `unit` is the unit of randomness where no groups are given; a metric that is `per_group` cannot do without them.
    """

    name: str
    family: Family
    higher_is_better: bool
    needs: Needs
    per_group: bool = False
    unit: str = "row"
    positive: Any = 1
    gain: Gain = "exponential"
    k: int | None = None
    function: Callable[..., float] | None = None

    def value(self, labels: Array, predictions: Array, groups: Array | None = None) -> float:
        """The metric of rows (n,); predictions are (n,) or (n, K) probabilities. ValueError for what it cannot judge."""
        check_shapes(self, labels, predictions, groups)
        if self.family == "function":
            return call_function(self, labels, predictions, groups)
        if self.family == "ranking":
            assert groups is not None  # noqa: S101 - checked above
            return float(ranking_values(self, labels, [predictions], groups)[0][0].mean())
        if self.family == "auc":
            return components(is_positive(self, labels), scores_of(predictions)).auc
        if self.family == "counts":
            return counts_value(self, labels, predictions)
        return row_value(self, labels, predictions)


def get_metric(
    name: str,
    *,
    positive: Any = 1,
    gain: Gain = "exponential",
    function: Callable[..., float] | None = None,
    higher_is_better: bool | None = None,
) -> Metric:
    """The metric called `name`: accuracy, f1, f1_weighted, f1_macro, precision, recall, roc_auc, log_loss, brier, mae,
    rmse, r2, ndcg, ndcg@K, mrr, recall@K; or `function(labels, predictions[, groups]) -> float` under any name.

    `positive` is the label that counts in binary metrics, `gain` that of NDCG. ValueError for an unknown name.
    """
    if function is not None:
        better = True if higher_is_better is None else higher_is_better
        return Metric(name, "function", better, "value", function=function)
    better = name not in _LOWER_IS_BETTER
    if name in _LABELS:
        return Metric(name, "counts", better, "label", positive=positive)
    if name == "roc_auc":
        return Metric(name, "auc", better, "score", positive=positive)
    if name in ("log_loss", "brier"):
        return Metric(name, "rows", better, "score", positive=positive)
    if name in _VALUES:
        return Metric(name, "rows", better, "value")
    return _ranking_metric(name, gain)


def _ranking_metric(name: str, gain: Gain) -> Metric:
    match = re.fullmatch(r"(ndcg|recall)@([1-9]\d*)|ndcg|mrr", name)
    if match is None:
        near = difflib.get_close_matches(name, NAMES, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}" if near else f"there are {', '.join(NAMES)}"
        raise ValueError(f"there is no metric {name!r}; {hint}")
    k = int(match[2]) if match[2] else None
    return Metric(name, "ranking", True, "value", per_group=True, unit="query", gain=gain, k=k)


def check_shapes(metric: Metric, labels: Array, predictions: Array, groups: Array | None) -> None:
    """ValueError in one sentence for rows that do not fit together or cannot be measured."""
    if len(labels) == 0:
        raise ValueError("there are no rows")
    for name, values in (("predictions", predictions), ("groups", groups)):
        if values is not None and len(values) != len(labels):
            raise ValueError(f"there are {len(labels):,} labels and {len(values):,} {name}")
    if metric.per_group and groups is None:
        raise ValueError(f"{metric.name} needs to know which rows belong to one query")
    if predictions.dtype.kind == "f" and not np.isfinite(predictions).all():
        raise ValueError(f"{int((~np.isfinite(predictions)).sum()):,} predictions are not finite")
    if metric.needs != "label" and metric.family != "function" and predictions.dtype.kind not in "fiub":
        raise ValueError(f"{metric.name} needs numbers as predictions, found {predictions.dtype}")
    if metric.needs == "label":
        _check_classes(metric, labels, predictions)


def _check_classes(metric: Metric, labels: Array, predictions: Array) -> None:
    if predictions.ndim != 1:
        raise ValueError(f"{metric.name} needs one class for each row, found predictions of shape {predictions.shape}")
    if predictions.dtype.kind == "f" and not (predictions == np.floor(predictions)).all():
        shown = float(predictions[predictions != np.floor(predictions)][0])
        raise ValueError(f"{metric.name} needs classes as predictions, found the score {shown:g}")
    if (predictions.dtype.kind in "fiub") != (labels.dtype.kind in "fiub"):
        raise ValueError(f"the labels are {labels.dtype} and the predictions {predictions.dtype}, which never agree")


def is_positive(metric: Metric, values: Array) -> npt.NDArray[np.bool_]:
    """Where `values` (n,) are the positive class."""
    return np.asarray(values == metric.positive, dtype=bool)


def scores_of(predictions: Array) -> Floats:
    """Scores of the positive class (n,); of two columns of probabilities the second."""
    if predictions.ndim == 2:
        if predictions.shape[1] != 2:
            raise ValueError(f"expected the score of one class, found {predictions.shape[1]} columns")
        predictions = predictions[:, 1]
    return predictions.astype(np.float64)


def class_numbers(metric: Metric, labels: Array, *predictions: Array) -> tuple[list[npt.NDArray[np.int64]], int]:
    """Labels and predictions as class numbers (n,): 1 is the positive class of binary metrics; and how many there are."""
    if metric.name in ("f1", "precision", "recall"):
        found = [is_positive(metric, values).astype(np.int64) for values in (labels, *predictions)]
        if not found[0].any():
            raise ValueError(f"no label is {metric.positive!r}, the positive class")
        return found, 2
    if metric.name == "accuracy":
        right = [np.asarray(labels == values, dtype=bool).astype(np.int64) for values in predictions]
        return [np.ones(len(labels), dtype=np.int64), *right], 2
    together = np.concatenate([np.asarray(values) for values in (labels, *predictions)])
    together = together.astype(str) if together.dtype == object else together
    classes, codes = np.unique(together, return_inverse=True)
    return list(np.split(codes.astype(np.int64), len(predictions) + 1)), len(classes)


def counts_value(metric: Metric, labels: Array, predictions: Array) -> float:
    """A metric of the confusion matrix."""
    (label, said), classes = class_numbers(metric, labels, predictions)
    cells = _counts.cells_of(label, said, said, classes)
    counts = cells.counts[None, :].astype(np.float64)
    keep = np.unique(label)
    return float(_counts.score_counts(metric.name, cells.label, cells.candidate, counts, classes, keep)[0])  # type: ignore[arg-type]


def row_losses(metric: Metric, labels: Array, predictions: Array) -> Floats:
    """The loss of each row (n,): log loss (natural, clipped as scikit-learn does), Brier, |error| or error²."""
    if metric.name == "log_loss":
        return np.asarray(-np.log(_probability_of_truth(metric, labels, predictions)))
    if metric.name == "brier":
        return _brier(metric, labels, predictions)
    error = predictions.astype(np.float64) - labels.astype(np.float64)
    return np.abs(error) if metric.name == "mae" else error**2


def row_value(metric: Metric, labels: Array, predictions: Array) -> float:
    """The metric of per-row losses: their mean, its root, or R²."""
    losses = row_losses(metric, labels, predictions)
    if metric.name == "rmse":
        return float(np.sqrt(losses.mean()))
    if metric.name == "r2":
        spread = float(np.var(labels.astype(np.float64)))
        if spread == 0:
            raise ValueError("all labels are equal, so R² is not defined")
        return float(1 - losses.mean() / spread)
    return float(losses.mean())


def ranking_values(
    metric: Metric, labels: Array, models: Sequence[Array], groups: Array
) -> tuple[list[Floats], dict[str, int]]:
    """The metric of each query that can be judged, (q,) for each model, and how many were left out for what reason."""
    queries = _ranking.queries_of(groups)
    grades = labels.astype(np.float64)
    gains = _ranking.gains_of(grades, metric.gain)
    keep, left_out = _ranking.usable(grades, queries)
    if not keep.any():
        raise ValueError("no query has a relevant document and another one")
    scores = [scores_of(model) for model in models]
    if metric.name == "mrr":
        return [_ranking.reciprocal_rank(grades, score, queries)[keep] for score in scores], left_out
    longest = int(queries.sizes.max())
    if metric.name.startswith("recall"):
        gains = (grades > 0).astype(np.float64)
        weights, whole = _ranking.position_weights(longest, metric.k, flat=True), np.ones(longest)
    else:
        weights = whole = _ranking.position_weights(longest, metric.k)
    ideal = _ranking.ideal_gain(gains, queries, whole)[keep]
    return [_ranking.discounted_gain(gains, score, queries, weights)[keep] / ideal for score in scores], left_out


def call_function(metric: Metric, labels: Array, predictions: Array, groups: Array | None) -> float:
    """The user's own metric; ValueError where it raises or gives no finite number."""
    assert metric.function is not None  # noqa: S101 - a metric of this family has one
    takes_groups = groups is not None and len(inspect.signature(metric.function).parameters) > 2
    try:
        found = float(
            metric.function(labels, predictions, groups) if takes_groups else metric.function(labels, predictions)
        )
    except Exception as error:
        raise ValueError(f"{metric.name} raised {type(error).__name__}: {error}") from error
    if not np.isfinite(found):
        raise ValueError(f"{metric.name} gave {found}")
    return found


def _probability_of_truth(metric: Metric, labels: Array, predictions: Array) -> Floats:
    tiny = float(np.finfo(np.float64).eps)
    if predictions.ndim == 2 and predictions.shape[1] > 2:
        chosen = _columns(labels, predictions)
        shares: Floats = predictions / predictions.sum(axis=1, keepdims=True)
        return np.clip(shares[np.arange(len(labels)), chosen], tiny, 1 - tiny)
    score = _probabilities(scores_of(predictions))
    return np.clip(np.where(is_positive(metric, labels), score, 1 - score), tiny, 1 - tiny)


def _brier(metric: Metric, labels: Array, predictions: Array) -> Floats:
    if predictions.ndim == 2 and predictions.shape[1] > 2:
        truth = np.zeros(predictions.shape)
        truth[np.arange(len(labels)), _columns(labels, predictions)] = 1
        return np.asarray(((predictions - truth) ** 2).sum(axis=1))
    return np.asarray((_probabilities(scores_of(predictions)) - is_positive(metric, labels)) ** 2)


def _probabilities(scores: Floats) -> Floats:
    if (scores < 0).any() or (scores > 1).any():
        raise ValueError(f"expected probabilities between 0 and 1, found {scores.min():g} to {scores.max():g}")
    return scores


def _columns(labels: Array, predictions: Array) -> npt.NDArray[np.int64]:
    """The column of each row's true class: the columns are the sorted classes."""
    classes, codes = np.unique(labels.astype(str) if labels.dtype == object else labels, return_inverse=True)
    if len(classes) != predictions.shape[1]:
        raise ValueError(f"there are {len(classes)} classes among the labels and {predictions.shape[1]} columns")
    return codes.astype(np.int64)
