"""`holdfast snapshot record | check`: golden features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import Output, command, config_option, python_option

if TYPE_CHECKING:
    from holdfast.verdict import Report


@click.group("snapshot")
def snapshot() -> None:
    """Golden features: what the project's functions gave for real rows and a hostile corpus."""


@snapshot.command("record")
@config_option
@python_option
@click.option("--accept", is_flag=True, help="Put what the functions give now in force, although it differs.")
@command
def record(out: Output, config_path: Path, python: str | None, *, accept: bool) -> int:
    """Run the declared functions and put their outputs in force; a difference is shown and needs --accept."""
    from holdfast.pipeline.golden import NotAccepted, record_snapshot
    from holdfast.pipeline.workspace import Workspace
    from holdfast.reports import render_terminal

    workspace = Workspace.open(config_path, python=python)
    try:
        with out.working(f"running {len(workspace.config.snapshots.functions)} functions, twice each"):
            done = record_snapshot(workspace, accepting=accept, say=lambda line: out.say(f"  {line}", style="dim"))
    except NotAccepted as refused:
        render_terminal(refused.report, out.console)
        if out.as_json:
            out.emit({**refused.report.to_json(), "error": {"message": refused.message, "hint": refused.hint}})
        raise
    if done.report is not None:
        render_terminal(done.report, out.console)
        out.say("accepted, by command.", style="yellow")
    rows = {part: len(next(iter(f.outputs.values()))) for f in done.snapshot.functions.values() for part in f.outputs}
    n = sum(sum(map(len, f.outputs.values())) for f in done.snapshot.functions.values())
    word = "is the same" if done.digest == done.before else "is in force"
    out.say(
        f"✓ snapshot {done.digest[:19]}… {word}: {len(done.snapshot.functions)} functions, {n:,} outputs", style="green"
    )
    out.emit(
        {
            "schema": 1,
            "verdict": "pass",
            "snapshot": done.digest,
            "before": done.before,
            "functions": list(done.snapshot.functions),
            "inputs": rows,
            "accepted": done.report.to_json() if done.report else None,
        }
    )
    return 0


@snapshot.command("check")
@config_option
@python_option
@click.option("--against", metavar="DIGEST", help="Another snapshot than the one in force.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write the report as a page.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Also write it as Markdown.")
@click.option("--junit", type=click.Path(path_type=Path), help="Also write it as JUnit XML.")
@command
def check(
    out: Output,
    config_path: Path,
    python: str | None,
    against: str | None,
    html: Path | None,
    markdown: Path | None,
    junit: Path | None,
) -> Report:
    """Compare what the functions give now with the champion's snapshot; shows which inputs changed, before and after."""
    from holdfast.pipeline.golden import check_snapshot
    from holdfast.pipeline.golden_factors import explain_snapshot
    from holdfast.pipeline.workspace import Workspace
    from holdfast.reports import write_report

    workspace = Workspace.open(config_path, python=python)

    def say(line: str) -> None:
        out.say(f"  {line}", style="dim")

    with out.working("running the declared functions, twice each"):
        report = check_snapshot(workspace, against=against, say=say)
        report = explain_snapshot(report, workspace, say=say)
    write_report(report, html=html, markdown=markdown, junit=junit)
    return report
