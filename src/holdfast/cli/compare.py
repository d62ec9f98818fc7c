"""`holdfast compare`: judge two sets of predictions in the user's first five minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.output import Output, command
from holdfast.errors import UserError
from holdfast.verdict import Report

if TYPE_CHECKING:
    import numpy as np

    from holdfast.data.tables import Table


@click.command("compare", short_help="judge two columns of predictions")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Table with the labels (Parquet or CSV).")
@click.option("--label", required=True, help="The label's column.")
@click.option("--champion", help="Column, or a Parquet/CSV file, of the champion's predictions.")
@click.option("--candidate", required=True, help="Column, or a Parquet/CSV file, of the candidate's predictions.")
@click.option("--metric", required=True, help="accuracy, f1, roc_auc, rmse, ndcg@10, … or module:function.")
@click.option("--group", help="The unit of randomness: the column of the query or user a row belongs to.")
@click.option("--key", multiple=True, help="Columns that name a row in prediction files (default: by order).")
@click.option("--max-regression", type=float, help="Tolerated loss, in the metric's units (default: 0).")
@click.option("--min", "minimum", type=float, help="The candidate's metric must be at least this.")
@click.option("--max", "maximum", type=float, help="The candidate's metric must be at most this.")
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Of the two-sided intervals.")
@click.option("--gain", type=click.Choice(["exponential", "linear"]), default="exponential", show_default=True)
@click.option("--positive", default=None, help="The label that counts as positive (default: 1).")
@click.option("--higher-is-better/--lower-is-better", default=None, help="For the user's own metric.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write the report as a page.")
@command
def compare(out: Output, **options: Any) -> Report:
    """Judge CANDIDATE against CHAMPION on the same rows, with a paired interval.

    Passes when the whole interval of candidate − champion stays above −max-regression.
    """
    from holdfast.gates.compare import compare as judge

    table = _table(options)
    labels = _labels(table, options["label"])
    if options["champion"] is not None and options["champion"] == options["candidate"]:
        raise UserError(
            f"champion and candidate are the same: {options['champion']}.", hint="Name two different columns or files."
        )
    group = options["group"]
    metric, function = _metric(options["metric"])
    candidate = _predictions(table, options, "candidate")
    if candidate is None:
        raise UserError("--candidate names no predictions.")
    with out.working(f"comparing on {len(labels):,} rows"):
        report = judge(
            labels,
            _predictions(table, options, "champion"),
            candidate,
            metric=metric,
            groups=None if group is None else _column(table, group, "--group"),
            max_regression=options["max_regression"],
            min=options["minimum"],
            max=options["maximum"],
            confidence=options["confidence"],
            gain=options["gain"],
            positive=_like(labels, options["positive"]),
            function=function,
            higher_is_better=options["higher_is_better"],
            names=(options["champion"] or "champion", options["candidate"]),
        )
    if options["html"] is not None:
        from holdfast.reports import write_html

        write_html(report, options["html"])
    return report


def _table(options: dict[str, Any]) -> Table:
    from holdfast.data.tables import open_table

    return open_table(options["data"])


def _column(table: Table, name: str, option: str) -> np.ndarray[Any, Any]:
    from holdfast.data.arrays import column_array

    if name not in table.columns:
        import difflib

        near = difflib.get_close_matches(name, table.columns, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"It has {', '.join(table.columns[:12])}."
        raise UserError(f"{option}: {table.path} has no column {name!r}.", hint=hint)
    return column_array(table, name)


def _labels(table: Table, name: str) -> np.ndarray[Any, Any]:
    from holdfast.data.arrays import labels_array

    _column(table, name, "--label")
    return labels_array(table, name)


def _predictions(table: Table, options: dict[str, Any], which: str) -> np.ndarray[Any, Any] | None:
    named = options[which]
    if named is None:
        return None
    if named in table.columns:
        return _column(table, named, f"--{which}")
    if Path(named).suffix.lower() in {".parquet", ".csv"} or Path(named).exists():
        from holdfast.models.prediction_files import read_predictions

        return read_predictions(Path(named), table, key=list(options["key"]) or None)
    return _column(table, named, f"--{which}")


def _metric(name: str) -> tuple[str, Any]:
    if ":" not in name:
        return name, None
    from holdfast.gates.functions import load_function

    return name, load_function(name, Path.cwd())


def _like(labels: np.ndarray[Any, Any], positive: str | None) -> Any:
    """The positive label in the labels' own type: what is typed on a command line is text."""
    if positive is None:
        return 1
    if labels.dtype.kind in "iufb":
        try:
            number = float(positive)
        except ValueError:
            raise UserError(f"--positive {positive} is no number, and the labels are numbers.") from None
        return labels.dtype.type(number).item()
    return positive
