"""`holdfast drift CURRENT` and `holdfast retrain [--if-needed]`: the loop closes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import Output, command, config_option

if TYPE_CHECKING:
    from holdfast.verdict import Report


@click.command("drift")
@click.argument("current", type=click.Path(path_type=Path))
@config_option
@click.option("--html", type=click.Path(path_type=Path), help="Also write the report as a page.")
@command
def drift(out: Output, current: Path, config_path: Path, html: Path | None) -> Report:
    """Compare the table CURRENT with the profile of the champion's training data, column by column."""
    from holdfast.pipeline.watching import drift_report
    from holdfast.pipeline.workspace import Workspace
    from holdfast.reports import write_report

    workspace = Workspace.open(config_path)
    with out.working(f"profiling {current}"):
        report = drift_report(workspace, current)
    write_report(report, html=html)
    return report


@click.command("retrain")
@config_option
@click.option("--if-needed", is_flag=True, help="Ask the policies; start only if one of them says so.")
@click.option("--reason", help="Without --if-needed: why; the ledger keeps it.")
@command
def retrain(out: Output, config_path: Path, *, if_needed: bool, reason: str | None) -> int:
    """Ask for a new model: run the road here, or dispatch the declared GitHub workflow."""
    from holdfast.pipeline.workspace import Workspace
    from holdfast.retraining.project import retrain as ask

    decision, started = ask(Workspace.open(config_path), if_needed=if_needed, reason=reason)
    for answer in decision.answers:
        mark = {True: "▸", False: "·", None: "!"}[answer.retrain]
        out.say(f"{mark} {answer.policy:<12} {answer.reason}")
    out.say(started or f"No training was started. {decision.reason if decision.wanted else ''}".rstrip())
    out.emit(
        {
            "schema": 1,
            "model": decision.model,
            "wanted": decision.wanted,
            "started": started,
            "reason": decision.reason,
            "answers": [{"policy": a.policy, "retrain": a.retrain, "reason": a.reason} for a in decision.answers],
        }
    )
    return 0
