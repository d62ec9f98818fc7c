"""`holdfast bisect`: which package change makes a check fail."""

from __future__ import annotations

from pathlib import Path

import click

from holdfast.cli.output import Output, command, config_option, python_option


@click.command("bisect")
@config_option
@python_option
@click.option("--good", default="champion", show_default=True, help="The environment in which the check passes.")
@click.option("--bad", default="running", show_default=True, help="The environment in which it fails.")
@click.option(
    "--check",
    "asked",
    default="gate",
    show_default=True,
    help="What to ask: gate (the champion re-scored), snapshot, or a command (0: well, 125: cannot tell, else: not).",
)
@click.option(
    "--repeat", type=click.IntRange(1, 10), default=1, show_default=True, help="Answers of lead that are safe."
)
@click.option("--html", type=click.Path(path_type=Path), help="Also write the story as a page.")
@click.option(
    "--markdown", type=click.Path(path_type=Path), help="Also write it as Markdown (a pull request's comment)."
)
@command
def bisect(
    out: Output,
    config_path: Path,
    python: str | None,
    good: str,
    bad: str,
    asked: str,
    repeat: int,
    html: Path | None,
    markdown: Path | None,
) -> int:
    """Find the smallest set of package changes that makes a check fail, in environments made for it with uv.

    GOOD and BAD are named as for `holdfast env diff`. Answers are kept: the same command goes on where it was stopped.
    """
    from holdfast.pipeline.bisecting import bisect_project
    from holdfast.pipeline.workspace import Workspace
    from holdfast.reports import render_terminal, write_report

    workspace = Workspace.open(config_path, python=python)
    done = bisect_project(
        workspace, good=good, bad=bad, asked=asked, lead=repeat, say=lambda line: out.say(line, style="dim")
    )
    found = done.bisection
    render_terminal(done.report, out.console)
    write_report(done.report, html=html, markdown=markdown)
    out.emit(
        {
            "schema": 1,
            "verdict": "pass",
            "culprits": [change.to_json() for change in found.guilty],
            "pins": found.pins if found.passing is not None else [],
            "cleared": [{**change.to_json(), "functions": list(names)} for change, names in done.cleared],
            "changes": len(found.changes),
            "environments": found.environments,
            "linear": len(found.changes),
            "seconds": round(found.seconds, 2),
            "flaky": found.flaky,
            "untestable": [{"changes": list(names), "reason": why} for names, why in found.untestable],
            "report": done.report.to_json(),
        }
    )
    return 0
