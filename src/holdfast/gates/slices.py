"""The same comparison inside each value of the declared columns; Holm guards the FAILs, a PASS stands unadjusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from holdfast.config.schema import GatesConfig, SliceGates
from holdfast.gates.decide import Question, against, answer, no_answer
from holdfast.gates.evidence import Array, Contender, Rows
from holdfast.stats import Estimate, Metric, compare, holm
from holdfast.verdict import CheckResult, Verdict


@dataclass(frozen=True)
class _Slice:
    question: Question
    where: npt.NDArray[np.bool_]
    units: int


def slice_checks(
    rows: Rows, candidate: Contender, champion: Contender, gates: GatesConfig, metrics: dict[str, Metric], *, seed: int
) -> list[CheckResult]:
    """One check per metric and value of each slice column.

    A slice FAILs only if its one-sided p-value survives Holm's step-down over all slices at (1 − confidence)/2,
    so a long list of slices does not raise false alarms; with fewer than `min_units` units it stays INCONCLUSIVE.
    """
    policy = gates.slices
    if policy is None or candidate.same_model(champion):
        return []
    checks: list[CheckResult] = []
    for name, metric in metrics.items():
        if gates.metrics[name].max_regression is None:
            continue
        slices = list(_slices(rows, policy, name, metric))
        checks.extend(_judged(slices, rows, candidate, champion, metric, policy, gates.confidence, seed))
    return checks


def _slices(rows: Rows, policy: SliceGates, name: str, metric: Metric) -> Iterator[_Slice]:
    for column in policy.by:
        values = rows.slices[column]
        for value in sorted({str(v) for v in values.tolist()}):
            where = np.asarray([str(v) == value for v in values.tolist()])
            units = len(np.unique(rows.groups[where])) if rows.groups is not None else int(where.sum())
            yield _Slice(_question(name, metric, column, value, policy), where, units)


def _question(name: str, metric: Metric, column: str, value: str, policy: SliceGates) -> Question:
    higher = metric.higher_is_better
    return Question(
        name=f"{name}.slice[{column}={value}]",
        kind="slice",
        metric=name,
        threshold=-policy.max_regression if higher else policy.max_regression,
        direction="higher" if higher else "lower",
        on_inconclusive=policy.on_inconclusive,
        subject=f"{column} = {value}",
        limit="the slice margin",
        sign=True,
    )


def _judged(
    slices: list[_Slice],
    rows: Rows,
    candidate: Contender,
    champion: Contender,
    metric: Metric,
    policy: SliceGates,
    confidence: float,
    seed: int,
) -> list[CheckResult]:
    outcomes = [_compare_inside(item, rows, candidate, champion, metric, policy, confidence, seed) for item in slices]
    estimates = [(item, found) for item, found in zip(slices, outcomes, strict=True) if isinstance(found, Estimate)]
    guilty = holm([_p_worse(item.question, found) for item, found in estimates], (1 - confidence) / 2)
    judged = {
        item.question.name: _answer(item.question, found, significant)
        for (item, found), significant in zip(estimates, guilty, strict=True)
    }
    return [
        judged[item.question.name] if isinstance(found, Estimate) else found
        for item, found in zip(slices, outcomes, strict=True)
    ]


def _compare_inside(
    item: _Slice,
    rows: Rows,
    candidate: Contender,
    champion: Contender,
    metric: Metric,
    policy: SliceGates,
    confidence: float,
    seed: int,
) -> Estimate | CheckResult:
    if candidate.predictions is None or champion.predictions is None:
        missing = champion.missing or candidate.missing or "there are no recorded predictions to compare with."
        return no_answer(item.question, missing, "no_recorded_predictions")
    if item.units < policy.min_units:
        message = f"{item.question.subject}: {item.units} units are fewer than the {policy.min_units} a verdict needs."
        return replace(no_answer(item.question, message, "scarce_evidence"), n=item.units, needed_n=policy.min_units)
    groups = None if rows.groups is None else rows.groups[item.where]
    try:
        return compare(
            metric,
            rows.labels[item.where],
            champion.predictions[item.where],
            candidate.predictions[item.where],
            groups,
            confidence=confidence,
            seed=seed,
        )
    except ValueError as error:
        return no_answer(item.question, f"{item.question.subject}: {error}", "not_measurable")


def _p_worse(question: Question, found: Estimate) -> float:
    """The one-sided p-value of "not worse than the margin"."""
    if found.shortage is not None:
        return 1.0
    below = found.p_below(question.threshold)
    return below if question.direction == "higher" else 1.0 - below


def _answer(question: Question, found: Estimate, significant: bool) -> CheckResult:
    verdict = against(found, question.threshold, question.direction)
    if verdict is Verdict.FAIL and not significant:
        note = {"holm": "worse than the margin alone, but not beyond chance among all slices"}
        return answer(
            question, found, verdict=Verdict.INCONCLUSIVE, reason_code="not_significant_among_slices", details=note
        )
    return answer(question, found)


def as_slices(columns: dict[str, Array]) -> dict[str, Array]:
    """Slice columns with nulls as their own value, so that no row falls out of every slice."""
    return {
        name: np.asarray(["(none)" if value is None else value for value in values.tolist()], dtype=object)
        for name, values in columns.items()
    }
