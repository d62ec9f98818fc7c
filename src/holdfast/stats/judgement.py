"""`estimate` and `compare`: one model's metric, or two models' paired difference, with the interval that fits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.stats import _auc, _counts
from holdfast.stats._clusters import FEW_EVENTS, FEW_UNITS, changed_units_estimate, mean_estimate
from holdfast.stats._proportions import tango, wilson
from holdfast.stats.interval import Bounds, Estimate, measured
from holdfast.stats.metrics import (
    Array,
    Floats,
    Metric,
    call_function,
    check_shapes,
    class_numbers,
    is_positive,
    ranking_values,
    row_losses,
    scores_of,
)

Interval = Callable[[float], Bounds]

_FUNCTION_RESAMPLES = 1_000  # the user's own metric is called once for each


def estimate(
    metric: Metric,
    labels: Array,
    predictions: Array,
    groups: Array | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> Estimate:
    """The metric of one model on rows (n,), with a two-sided interval at `confidence`.

    `groups` (n,) names the unit of each row; rows of one unit are never treated as independent. Raises ValueError for
    rows that cannot be measured.
    """
    return _Judge(metric, labels, None, predictions, groups, confidence, seed, resamples).run()


def compare(
    metric: Metric,
    labels: Array,
    champion: Array,
    candidate: Array,
    groups: Array | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> Estimate:
    """candidate − champion on the same rows (n,), paired; `groups` and errors as in `estimate`."""
    return _Judge(metric, labels, champion, candidate, groups, confidence, seed, resamples).run()


class _Judge:
    """One question: a metric, the rows, one model or two."""

    def __init__(
        self,
        metric: Metric,
        labels: Array,
        champion: Array | None,
        candidate: Array,
        groups: Array | None,
        confidence: float,
        seed: int,
        resamples: int,
    ) -> None:
        for predictions in (champion, candidate):
            if predictions is not None:
                check_shapes(metric, labels, predictions, groups)
        self.metric, self.labels, self.champion, self.candidate, self.groups = (
            metric,
            labels,
            champion,
            candidate,
            groups,
        )
        self.confidence, self.seed, self.resamples = confidence, seed, resamples
        self.unit = metric.unit if groups is None or metric.per_group else "group"

    @property
    def models(self) -> list[Array]:
        """The candidate, and the champion whose part is subtracted."""
        return [self.candidate] if self.champion is None else [self.candidate, self.champion]

    def run(self) -> Estimate:
        family = self.metric.family
        if family == "ranking":
            return self._ranking()
        if family == "function":
            return self._function()
        if family == "auc":
            return self._auc()
        if family == "counts":
            return self._grouped_counts() if self.groups is not None else self._counts()
        return self._rows()

    # --- per query ---------------------------------------------------------------------------------------------------

    def _ranking(self) -> Estimate:
        assert self.groups is not None  # noqa: S101 - checked with the shapes
        found, left_out = ranking_values(self.metric, self.labels, self.models, self.groups)
        values, details = found[0], {"left_out": left_out}
        if self.champion is not None:
            values = values - found[1]
            moved = int((np.abs(values) > 1e-12).sum())
            if moved < FEW_EVENTS and len(values) >= FEW_UNITS:
                mean = float(values.mean())
                return changed_units_estimate(mean, values, unit=self.unit, confidence=self.confidence, details=details)
        return self._mean(float(values.mean()), values - values.mean(), None, details, clustered=True)

    # --- per row -----------------------------------------------------------------------------------------------------

    def _rows(self) -> Estimate:
        total, influence = 0.0, np.zeros(len(self.labels))
        for sign, model in zip((1, -1), self.models, strict=False):
            value, moves = self._row_influence(model)
            total, influence = total + sign * value, influence + sign * moves
        return self._mean(total, influence, self.groups, {})

    def _row_influence(self, model: Array) -> tuple[float, Floats]:
        """The metric and each row's share in it, by the delta method (van der Vaart 1998, §3.1)."""
        losses = row_losses(self.metric, self.labels, model)
        mean = float(losses.mean())
        if self.metric.name == "rmse":
            root = float(np.sqrt(mean))
            return root, (losses - mean) / (2 * root) if root > 0 else np.zeros(len(losses))
        if self.metric.name == "r2":
            truth = self.labels.astype(np.float64)
            around = (truth - truth.mean()) ** 2
            spread = float(around.mean())
            if spread == 0:
                raise ValueError("all labels are equal, so R² is not defined")
            return 1 - mean / spread, -(losses - mean / spread * around) / spread
        return mean, losses - mean

    def _mean(
        self,
        value: float,
        influence: Floats,
        groups: npt.NDArray[Any] | None,
        details: dict[str, Any],
        *,
        clustered: bool = False,
    ) -> Estimate:
        return mean_estimate(
            value,
            influence,
            groups,
            unit=self.unit,
            confidence=self.confidence,
            seed=self.seed,
            resamples=self.resamples,
            details=details,
            clustered=clustered or groups is not None,
        )

    # --- ROC AUC -----------------------------------------------------------------------------------------------------

    def _auc(self) -> Estimate:
        positive = is_positive(self.metric, self.labels)
        parts = [_auc.components(positive, scores_of(model)) for model in self.models]
        found = parts[0] if len(parts) == 1 else parts[0].minus(parts[1])
        events = int(min(positive.sum(), (~positive).sum()))
        if self.groups is not None:
            return self._mean(found.auc, _auc.auc_influence(positive, found), self.groups, {"events": events})
        shortage: str | None = None
        interval: Interval = _nothing
        if events < FEW_EVENTS:
            shortage = f"the rarer class has {events} rows, too few for an interval: it takes {FEW_EVENTS}."
        elif found.variance <= 1e-18:
            shortage = (
                "the two classes are ordered without any variation, so nothing shows how far chance could move it."
            )
        else:
            interval = _auc.logit_interval(found) if self.champion is None else _auc.normal_interval(found)
        method = "DeLong, logit" if self.champion is None else "DeLong, paired"
        return measured(
            found.auc,
            interval,
            self.confidence,
            method=method,
            unit=self.unit,
            n=len(self.labels),
            shortage=shortage,
            details={"events": events},
        )

    # --- the confusion matrix ----------------------------------------------------------------------------------------

    def _counts(self) -> Estimate:
        if self.metric.name == "accuracy":
            return self._accuracy()
        numbers, classes = class_numbers(self.metric, self.labels, *self.models)
        label, candidate = numbers[0], numbers[1]
        champion = numbers[2] if self.champion is not None else candidate
        cells = _counts.cells_of(label, champion, candidate, classes)
        keep = np.unique(label)

        def value_of(label: Any, said: Any, counts: Floats) -> Floats:
            return _counts.score_counts(self.metric.name, label, said, counts, classes, keep)  # type: ignore[arg-type]

        def difference(counts: Floats) -> Floats:
            own = value_of(cells.label, cells.candidate, counts)
            return own if self.champion is None else own - value_of(cells.label, cells.champion, counts)

        other = cells.label if self.champion is None else cells.champion
        events = int(cells.counts[cells.candidate != other].sum())
        value, n = float(difference(cells.counts[None, :].astype(np.float64))[0]), len(self.labels)
        rarest = int(np.bincount(label, minlength=classes)[keep if len(keep) > 2 else [1]].min()) if classes == 2 else n
        if events < FEW_EVENTS:
            reach = _counts.largest_change(value_of, cells, cells.candidate)
            bounds = (0.0, 1.0) if self.champion is None else (-1.0, 1.0)
            interval = _counts.event_interval(value, events, n, reach, bounds)
            return self._measured(value, interval, "exact bounds on changed rows", {"events": events})
        if rarest < FEW_EVENTS:
            shortage = f"{rarest} rows are positive, too few for an interval: it takes {FEW_EVENTS}."
            return self._measured(value, _nothing, "resampled counts", {"events": rarest}, shortage)
        rng = np.random.default_rng(self.seed)
        drawn = difference(_counts.draw(cells, rng, self.resamples, stratified=self.metric.name == "f1_macro"))
        left_out = difference(cells.counts - np.eye(len(cells.counts)))
        interval = _counts.bca_interval(value, drawn, left_out, cells.counts)
        return self._measured(value, interval, "resampled counts, BCa", {"events": events, "resamples": self.resamples})

    def _accuracy(self) -> Estimate:
        right = [np.asarray(self.labels == model, dtype=bool) for model in self.models]
        n = len(self.labels)
        if self.champion is None:
            hits = int(right[0].sum())
            return self._measured(hits / n, wilson(hits, n), "Wilson score", {"events": min(hits, n - hits)})
        gains, losses = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
        details = {"events": gains + losses, "gains": gains, "losses": losses}
        return self._measured((gains - losses) / n, tango(gains, losses, n), "Tango score, paired", details)

    def _grouped_counts(self) -> Estimate:
        """Metrics of the confusion matrix whose rows come in units: linearised, then a mean over units."""
        total, influence = 0.0, np.zeros(len(self.labels))
        for sign, model in zip((1, -1), self.models, strict=False):
            value, moves = counts_influence(self.metric, self.labels, model)
            total, influence = total + sign * value, influence + sign * moves
        return self._mean(total, influence, self.groups, {})

    def _measured(
        self, value: float, interval: Any, method: str, details: dict[str, Any], shortage: str | None = None
    ) -> Estimate:
        return measured(
            value,
            interval,
            self.confidence,
            method=method,
            unit=self.unit,
            n=len(self.labels),
            shortage=shortage,
            details=details,
        )

    # --- the user's own ----------------------------------------------------------------------------------------------

    def _function(self) -> Estimate:
        """Percentile bootstrap over units, widened by √(n/(n−1)) as few units need (Hesterberg 2015)."""
        units = self.groups if self.groups is not None else np.arange(len(self.labels))
        _, codes = np.unique(units, return_inverse=True)
        order = np.argsort(codes, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
        value, n = self._function_value(np.arange(len(self.labels))), len(members)
        shortage: str | None = None
        if n < FEW_UNITS:
            shortage = f"{n} units ({self.unit}) are too few for an interval: it takes {FEW_UNITS}."
            return measured(
                value, _nothing, self.confidence, method="bootstrap", unit=self.unit, n=n, shortage=shortage
            )
        rng = np.random.default_rng(self.seed)
        resamples = min(self.resamples, _FUNCTION_RESAMPLES)
        drawn = np.sort(
            [
                self._function_value(np.concatenate([members[i] for i in rng.integers(0, n, n)]))
                for _ in range(resamples)
            ]
        )
        wider = float(np.sqrt(n / (n - 1)))
        if np.ptp(drawn) == 0:
            shortage = f"{self.metric.name} was the same in every resample."

        def interval(confidence: float) -> Bounds:
            side = (1 - confidence) / 2
            low, high = np.quantile(drawn, [side, 1 - side])
            return float(value + (low - value) * wider), float(value + (high - value) * wider)

        return measured(
            value,
            interval,
            self.confidence,
            method="cluster bootstrap" if self.groups is not None else "bootstrap",
            unit=self.unit,
            n=n,
            shortage=shortage,
            details={"resamples": resamples},
        )

    def _function_value(self, rows: npt.NDArray[np.intp]) -> float:
        groups = None if self.groups is None else self.groups[rows]
        own = [call_function(self.metric, self.labels[rows], model[rows], groups) for model in self.models]
        return own[0] if len(own) == 1 else own[0] - own[1]


def counts_influence(metric: Metric, labels: Array, predictions: Array) -> tuple[float, Floats]:
    """A metric of the confusion matrix and each row's share in it, by the delta method."""
    (label, said), classes = class_numbers(metric, labels, predictions)
    cells = _counts.cells_of(label, said, said, classes)
    counts, keep = cells.counts.astype(np.float64), np.unique(label)
    step = 1e-4 * counts.sum() / len(counts)

    def value_of(counts: Floats) -> Floats:
        return _counts.score_counts(metric.name, cells.label, cells.candidate, counts, classes, keep)  # type: ignore[arg-type]

    value = float(value_of(counts[None, :])[0])
    slopes = (value_of(counts + step * np.eye(len(counts))) - value) / step * counts.sum()
    codes = label * classes + said
    table = np.zeros(classes * classes)
    table[cells.label * classes + cells.candidate] = slopes
    influence = table[codes]
    return value, influence - influence.mean()


def _nothing(confidence: float) -> Bounds:
    del confidence
    return None, None
