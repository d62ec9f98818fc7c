"""`holdfast.compare`: judge two sets of predictions on the same rows, without a project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from holdfast._version import __version__
from holdfast.config.schema import GatesConfig, MetricGate
from holdfast.errors import UserError
from holdfast.gates.evidence import Contender, Rows
from holdfast.gates.judge import GateEvidence, judge
from holdfast.stats import get_metric
from holdfast.store.content import canonical_json, digest
from holdfast.verdict import OnInconclusive, Report


def compare(
    labels: npt.ArrayLike,
    champion: npt.ArrayLike | None,
    candidate: npt.ArrayLike,
    *,
    metric: str,
    groups: npt.ArrayLike | None = None,
    max_regression: float | None = None,
    min: float | None = None,  # noqa: A002 - the policy's own word
    max: float | None = None,  # noqa: A002
    confidence: float = 0.95,
    gain: Literal["exponential", "linear"] = "exponential",
    positive: Any = 1,
    function: Callable[..., float] | None = None,
    higher_is_better: bool | None = None,
    unit: str = "group",
    on_inconclusive: OnInconclusive = "hold",
    names: tuple[str, str] = ("champion", "candidate"),
) -> Report:
    """Judge `candidate` against `champion` on the same rows, paired, at `confidence` (two-sided).

    `labels`, `champion` and `candidate` are (n,) (or (n, K) probabilities); `groups` (n,) names the unit of each row
    where rows of a unit are dependent (queries, users). `max_regression` is the tolerated loss in the metric's own
    units, `min`/`max` an absolute limit for the candidate; with none of them the margin is 0. Without a `champion`
    only the absolute limits are asked. An open answer leaves the report INCONCLUSIVE unless `on_inconclusive` says
    otherwise. Raises UserError for unusable input: unknown metric, wrong lengths, NaN or infinite predictions.
    """
    truth, new = np.asarray(labels), np.asarray(candidate)
    old = None if champion is None else np.asarray(champion)
    units = None if groups is None else np.asarray(groups)
    _same_length(truth, **{names[0]: old, names[1]: new, "groups": units})
    for name, values in ((names[0], old), (names[1], new)):
        _finite(name, values)
    if max_regression is None and min is None and max is None:
        max_regression = 0.0
    gates = _policy(metric, max_regression, min, max, confidence, gain, on_inconclusive)
    try:
        rule = get_metric(metric, positive=positive, gain=gain, function=function, higher_is_better=higher_is_better)
    except ValueError as error:
        raise UserError(str(error)) from None
    if rule.per_group and units is None:
        raise UserError(f"{metric} is measured per group, and no groups were given.", hint="Name them with --group.")
    evidence = GateEvidence(
        rows=Rows(labels=truth, groups=units, unit=unit),
        candidate=Contender(name=names[1], predictions=new),
        champion=None if old is None else Contender(name=names[0], predictions=old),
        holdout=_digest(truth, units),
        policy=_digest(new, old),
    )
    checks = judge(evidence, gates, {metric: rule})
    return Report(
        title="Comparison",
        checks=tuple(checks),
        candidate=names[1],
        champion=None if old is None else names[0],
        inputs={
            "holdout": None,
            "data": evidence.holdout,
            "commit": None,
            "policy": digest(canonical_json(gates.model_dump(mode="json"))),
            "champion_predictions": None if old is None else _digest(old),
        },
        notices=() if old is not None else ("No champion was given, so only the absolute limits were asked.",),
        holdfast=__version__,
    )


def _policy(
    metric: str,
    max_regression: float | None,
    minimum: float | None,
    maximum: float | None,
    confidence: float,
    gain: Literal["exponential", "linear"],
    on_inconclusive: OnInconclusive,
) -> GatesConfig:
    if not 0.5 < confidence < 1:
        raise UserError(f"confidence must lie between 0.5 and 1, not {confidence}.", hint="Try --confidence 0.95.")
    if max_regression is not None and not (np.isfinite(max_regression) and max_regression >= 0):
        raise UserError(
            f"the tolerated regression is a size and cannot be {max_regression}.", hint="Try --max-regression 0.02."
        )
    gate = MetricGate(min=minimum, max=maximum, max_regression=max_regression, gain=gain)
    return GatesConfig(metrics={metric: gate}, confidence=confidence, on_inconclusive=on_inconclusive)


def _same_length(labels: npt.NDArray[Any], **others: npt.NDArray[Any] | None) -> None:
    if len(labels) == 0:
        raise UserError("there are no rows to judge.", hint="Give a table with at least one row.")
    for name, values in others.items():
        if values is not None and len(values) != len(labels):
            raise UserError(f"{name} has {len(values):,} rows and the labels have {len(labels):,}.")


def _finite(name: str, values: npt.NDArray[Any] | None) -> None:
    if values is None:
        return
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values)
    elif values.dtype == object:
        bad = np.asarray([v is None or v != v for v in values.ravel().tolist()])  # noqa: PLR0124 - NaN
    else:
        return
    if bad.any():
        rows = np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))
        shown = ", ".join(str(row) for row in rows[:5])
        raise UserError(f"{name} has {len(rows):,} predictions that are missing or not finite (rows {shown}).")


def _digest(*arrays: npt.NDArray[Any] | None) -> str:
    parts = []
    for values in arrays:
        if values is None:
            parts.append(b"none")
        elif values.dtype == object:
            parts.append(canonical_json([str(value) for value in values.ravel().tolist()]))
        else:
            parts.append(np.ascontiguousarray(values).tobytes() + str((values.dtype, values.shape)).encode())
    return digest(b"\0".join(parts))
