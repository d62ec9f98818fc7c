"""`holdfast data check` and `holdfast holdout freeze | check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import Output, command, config_option

if TYPE_CHECKING:
    from holdfast.data.holdout import Holdout
    from holdfast.verdict import Report


@click.group("data")
def data() -> None:
    """Validate the training table."""


@data.command("check")
@config_option
@click.option("--html", type=click.Path(path_type=Path), help="Also write the report as a page.")
@command
def check(out: Output, config_path: Path, html: Path | None) -> Report:
    """Types, ranges, nulls, categories, keys, balance, freshness, and the champion's data as the yardstick."""
    from holdfast.pipeline.data_stages import check_training_data
    from holdfast.pipeline.workspace import Workspace
    from holdfast.reports import write_report

    workspace = Workspace.open(config_path)
    with out.working(f"checking {workspace.config.data.train}"):
        report, _ = check_training_data(workspace)
    write_report(report, html=html)
    return report


@click.group("holdout")
def holdout() -> None:
    """The sealed part of the data that judges models."""


@holdout.command("freeze")
@config_option
@command
def freeze(out: Output, config_path: Path) -> int:
    """Split the declared share off the training table, by unit, and seal it in the ledger."""
    from holdfast.pipeline.data_stages import freeze_holdout
    from holdfast.pipeline.workspace import Workspace

    workspace = Workspace.open(config_path)
    with out.working(f"freezing holdout {workspace.config.holdout.name}"):
        frozen = freeze_holdout(workspace)
    return _show(out, frozen, "frozen")


@holdout.command("check")
@config_option
@command
def check_holdout(out: Output, config_path: Path) -> int:
    """Verify every byte of the holdout against its hash and the ledger."""
    from holdfast.pipeline.data_stages import open_holdout
    from holdfast.pipeline.workspace import Workspace

    return _show(out, open_holdout(Workspace.open(config_path)), "intact")


def _show(out: Output, found: Holdout, word: str) -> int:
    rows, units = found.manifest["rows"], found.manifest["units"]
    out.say(f"✓ holdout {found.name} is {word}: {rows:,} rows of {units:,} units, {found.digest[:19]}…", style="green")
    out.emit(
        {
            "schema": 1,
            "verdict": "pass",
            "name": found.name,
            "digest": found.digest,
            "path": str(found.path),
            "manifest": dict(found.manifest),
        }
    )
    return 0
