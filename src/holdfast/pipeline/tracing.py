"""What a failed report says of the loss: the inputs that carry it, with the metric before and after, and the slices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from holdfast.data.arrays import column_arrays
from holdfast.data.holdout import Holdout
from holdfast.gates.carriers import Carriers, carriers
from holdfast.gates.evidence import Array, Contender, Rows
from holdfast.pipeline.workspace import Workspace
from holdfast.snapshots.telling import plain, shown_input
from holdfast.stats import Metric
from holdfast.verdict import CheckResult, Verdict


def with_carriers(
    checks: Iterable[CheckResult],
    workspace: Workspace,
    holdout: Holdout,
    rows: Rows,
    metrics: Mapping[str, Metric],
    before: Contender | None,
    after: Contender,
) -> list[CheckResult]:
    """The checks, those that failed against the champion with the units and slices that carry the loss."""
    found = []
    for check in checks:
        guilty = check.kind == "regression" and check.verdict is Verdict.FAIL and check.metric in metrics
        if not guilty or before is None or before.predictions is None or after.predictions is None:
            found.append(check)
            continue
        metric = metrics[str(check.metric)]
        traced = carriers(metric, rows, before.predictions, after.predictions)
        values = _values(metric, traced, before.predictions, after.predictions)
        found.append(_told(check, _shown_units(workspace, holdout, rows, traced.rows), values, traced))
    return found


def _values(metric: Metric, traced: Carriers, before: Array, after: Array) -> list[tuple[str, str]]:
    """Before and after of each unit: the metric of a query, of a row its prediction."""
    if metric.family == "ranking":
        return [(f"{metric.name} {x:.3g}", f"{y:.3g}") for x, y in zip(traced.before, traced.after, strict=True)]
    return [(shown_prediction(before, row), shown_prediction(after, row)) for row in traced.rows]


def shown_prediction(values: Array, row: int) -> str:
    """One prediction for reading: a number, a label, or the probabilities of a row."""
    return plain(values[row : row + 1].tolist()[0])


def _told(check: CheckResult, shown: list[str], values: list[tuple[str, str]], traced: Carriers) -> CheckResult:
    examples = [{"input": text, "before": old, "after": new} for text, (old, new) in zip(shown, values, strict=True)]
    said = [
        f"{name} carries {loss:.0%} of the loss with {units:.0%} of the units" for name, loss, units in traced.slices
    ]
    message = f"{check.message} Of the loss: {'; '.join(said)}." if said else check.message
    return replace(
        check, message=message, details={**check.details, "carriers": traced.to_json(), "examples": examples}
    )


def shown_rows(workspace: Workspace, holdout: Holdout, rows: Array) -> list[str]:
    """Rows of the holdout for reading: the columns that snapshots read, else all texts, else all but the label."""
    names = _readable(workspace, holdout)
    columns = column_arrays(holdout.table(), names)
    return [shown_input([columns[name][row] for name in names]) for row in np.asarray(rows, dtype=np.int64)]


def _shown_units(workspace: Workspace, holdout: Holdout, about: Rows, rows: Array) -> list[str]:
    """Units by one row of each: what is the same in all rows of the unit. Without units, the rows and their labels."""
    group = workspace.config.data.group
    if group is None:
        texts = shown_rows(workspace, holdout, rows)
        return [f"{text} (label {about.labels[row]})" for text, row in zip(texts, rows.tolist(), strict=True)]
    names = list(dict.fromkeys([group, *_texts(workspace, holdout)]))
    columns = column_arrays(holdout.table(), names)
    shown = []
    for row in np.asarray(rows, dtype=np.int64):
        unit = columns[group] == columns[group][row]
        same = [name for name in names if len({str(value) for value in columns[name][unit].tolist()}) == 1]
        shown.append(shown_input([columns[name][row] for name in same]) + f" ({int(unit.sum())} rows)")
    return shown


def _readable(workspace: Workspace, holdout: Holdout) -> list[str]:
    functions = workspace.config.snapshots.functions.values()
    read = list(dict.fromkeys(column for f in functions if f.call == "value" for column in f.input))
    label = workspace.config.data.label
    return read or _texts(workspace, holdout)[:4] or [n for n in holdout.table().columns if n != label][:4]


def _texts(workspace: Workspace, holdout: Holdout) -> list[str]:
    label = workspace.config.data.label
    return [f.name for f in holdout.table().schema if str(f.type) in ("string", "large_string") and f.name != label]
