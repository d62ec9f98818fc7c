"""What is asked of predictions: the declared metrics, and the holdout's labels, units and slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.config.schema import GatesConfig
from holdfast.data.arrays import column_arrays, labels_array
from holdfast.data.holdout import Holdout
from holdfast.errors import UserError
from holdfast.gates.evidence import Rows
from holdfast.gates.functions import load_function
from holdfast.gates.quality import metric_of
from holdfast.gates.slices import as_slices
from holdfast.pipeline.workspace import Workspace
from holdfast.stats import Metric


def declared_metrics(gates: GatesConfig, positive: Any, root: Path) -> dict[str, Metric]:
    """One `Metric` per name under `gates.metrics`; UserError for a name that does not exist."""
    try:
        return {
            name: metric_of(name, gate, positive=positive, load=lambda text: load_function(text, root))
            for name, gate in gates.metrics.items()
        }
    except ValueError as error:
        raise UserError(f"gates.metrics: {error}") from None


def holdout_rows(workspace: Workspace, holdout: Holdout) -> Rows:
    """The holdout's labels, units and slice columns."""
    data, gates = workspace.config.data, workspace.config.gates
    table = holdout.table()
    by = gates.slices.by if gates.slices is not None else []
    columns = column_arrays(table, [*by, *([data.group] if data.group else [])])
    return Rows(
        labels=labels_array(table, data.label),
        groups=columns[data.group] if data.group else None,
        unit=data.group or "row",
        slices=as_slices({name: columns[name] for name in by}),
    )
