"""`holdfast init`, `plan` and `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import Output, command, config_option

if TYPE_CHECKING:
    from holdfast.verdict import Report


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@command
def init(out: Output, folder: Path) -> int:
    """Look at the repository in FOLDER and write holdfast.yaml, a CI workflow and a test; overwrites nothing."""
    from holdfast.pipeline.init import initialise

    written = initialise(folder)
    for path in written:
        out.say(f"✓ wrote {path}", style="green")
    if not written:
        out.say("everything is there already; nothing was written.")
    out.say("Next: read holdfast.yaml, correct what is marked, then type: holdfast run --dry-run")
    out.emit({"schema": 1, "written": [str(path) for path in written]})
    return 0


@click.command("plan")
@config_option
@command
def plan(out: Output, config_path: Path) -> int:
    """What the holdout can and cannot detect, for every gate; nothing runs."""
    from holdfast.pipeline.power import power_of_gates
    from holdfast.pipeline.workspace import Workspace

    rows = power_of_gates(Workspace.open(config_path))
    for row in rows:
        out.say(row.sentence, style="yellow" if row.weak else None)
    out.emit({"schema": 1, "gates": [row.to_json() for row in rows]})
    return 0


@click.command("report")
@click.argument("digest", required=False)
@config_option
@click.option("--html", type=click.Path(path_type=Path), help="Write it as a page.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write it as Markdown.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write it as JUnit XML.")
@command
def report(
    out: Output, digest: str | None, config_path: Path, html: Path | None, markdown: Path | None, junit: Path | None
) -> Report:
    """Show the newest gate report, or the one stored under DIGEST, and write it as a page."""
    from holdfast.pipeline.releasing import stored_report
    from holdfast.pipeline.workspace import Workspace
    from holdfast.reports import write_report

    found, story = stored_report(Workspace.open(config_path), digest)
    for path in write_report(found, html=html, markdown=markdown, junit=junit, story=story):
        out.say(f"wrote {path}")
    return found
