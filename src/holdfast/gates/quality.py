"""Quality on the holdout: absolute limits, non-inferiority to the champion and to the anchor. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from holdfast.config.schema import GatesConfig, MetricGate
from holdfast.gates.decide import Direction, Question, answer, no_answer
from holdfast.gates.evidence import Contender, Rows
from holdfast.stats import Estimate, Metric, compare, estimate, get_metric
from holdfast.verdict import CheckResult, OnInconclusive, Verdict

Measure = Callable[[], Estimate]


def metric_of(
    name: str, gate: MetricGate, *, positive: object, load: Callable[[str], Callable[..., float]] | None = None
) -> Metric:
    """The metric that a gate names; `load` resolves the user's own `module:function`."""
    function = load(gate.function) if gate.function and load else None
    return get_metric(
        name, positive=positive, gain=gate.gain, function=function, higher_is_better=gate.higher_is_better
    )


def quality_checks(
    rows: Rows,
    candidate: Contender,
    champion: Contender | None,
    anchor: Contender | None,
    gates: GatesConfig,
    metrics: Mapping[str, Metric],
    *,
    seed: int,
) -> list[CheckResult]:
    """Every whole-set check of the policy, in its order; `metrics` holds one `Metric` per declared name."""
    checks: list[CheckResult] = []
    for name, gate in gates.metrics.items():
        judge = _MetricJudge(name, gate, gates, metrics[name], rows, candidate, seed)
        checks.extend(judge.absolute())
        if gate.max_regression is not None:
            checks.extend(judge.regressions(champion, anchor))
    return checks


class _MetricJudge:
    """The questions that one metric's gate asks of one candidate."""

    def __init__(
        self,
        name: str,
        gate: MetricGate,
        gates: GatesConfig,
        metric: Metric,
        rows: Rows,
        candidate: Contender,
        seed: int,
    ) -> None:
        self.name, self.gate, self.metric = name, gate, metric
        self.rows, self.candidate, self.seed = rows, candidate, seed
        self.confidence = gates.confidence
        self.on_inconclusive: OnInconclusive = gate.on_inconclusive or gates.on_inconclusive

    def absolute(self) -> Iterator[CheckResult]:
        limits: tuple[tuple[str, float | None, Direction], ...] = (
            ("min", self.gate.min, "higher"),
            ("max", self.gate.max, "lower"),
        )
        for word, limit, direction in limits:
            if limit is not None:
                question = Question(
                    name=f"{self.name}.{word}",
                    kind="absolute",
                    metric=self.name,
                    threshold=limit,
                    direction=direction,
                    on_inconclusive=self.on_inconclusive,
                    limit=f"the {word}imum",
                )
                yield measured(question, self._own)

    def regressions(self, champion: Contender | None, anchor: Contender | None) -> Iterator[CheckResult]:
        margin = self.gate.max_regression or 0.0
        if champion is not None:
            yield self._regression("regression", champion, margin, "the champion")
        if anchor is not None:
            total = self.gate.max_total_regression
            yield self._regression("total_regression", anchor, 2 * margin if total is None else total, "the anchor")

    def _regression(self, word: str, other: Contender, margin: float, whom: str) -> CheckResult:
        higher = self.metric.higher_is_better
        question = Question(
            name=f"{self.name}.{word}",
            kind="regression",
            metric=self.name,
            threshold=-margin if higher else margin,
            direction="higher" if higher else "lower",
            on_inconclusive=self.on_inconclusive,
            subject=f"The candidate against {whom}",
            limit="the margin",
            sign=True,
        )
        return compared(question, self.metric, self.rows, other, self.candidate, self.confidence, self.seed)

    def _own(self) -> Estimate:
        assert self.candidate.predictions is not None  # noqa: S101 - the gate stops before without them
        return estimate(
            self.metric,
            self.rows.labels,
            self.candidate.predictions,
            self.rows.groups,
            confidence=self.confidence,
            seed=self.seed,
        )


def compared(
    question: Question,
    metric: Metric,
    rows: Rows,
    champion: Contender,
    candidate: Contender,
    confidence: float,
    seed: int,
) -> CheckResult:
    """The paired comparison behind `question`; identical models differ by exactly nothing, missing ones by who knows."""
    if candidate.same_model(champion):
        return same_model(question, len(rows))
    if champion.predictions is None or candidate.predictions is None:
        missing = champion.missing or candidate.missing or "there are no recorded predictions to compare with."
        return no_answer(question, missing, "no_recorded_predictions")
    details = {}
    if not metric.per_group:
        details = {"rows": len(rows)}
    champion_predictions, candidate_predictions = champion.predictions, candidate.predictions
    return measured(
        question,
        lambda: compare(
            metric,
            rows.labels,
            champion_predictions,
            candidate_predictions,
            rows.groups,
            confidence=confidence,
            seed=seed,
        ),
        details=details,
    )


def measured(question: Question, measure: Measure, **extra: Any) -> CheckResult:
    """`answer` to what `measure` gives; a measurement that cannot be made is an ERROR with its reason."""
    try:
        return answer(question, measure(), **extra)
    except ValueError as error:
        message = f"{question.metric} could not be measured: {error}"
        return no_answer(question, message, "not_measurable", verdict=Verdict.ERROR)


def same_model(question: Question, n: int) -> CheckResult:
    """The one case in which a difference is exactly zero: both hashes are the same."""
    exact = Estimate(
        value=0.0, low=0.0, high=0.0, confidence=1.0, method="identical content", unit="row", n=n, details={}
    )
    check = answer(question, exact)
    return replace(
        check, message="candidate and champion are the same model (identical content).", reason_code="same_model"
    )
