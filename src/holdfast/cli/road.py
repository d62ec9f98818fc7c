"""`holdfast run` and the single stages train, gate, register, stage."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import Output, command, config_option, python_option
from holdfast.errors import UserError
from holdfast.verdict import Verdict, worst

if TYPE_CHECKING:
    from holdfast.pipeline.road import Step
    from holdfast.verdict import Report

_MARKS = {
    Verdict.PASS: ("✓", "green"),
    Verdict.FAIL: ("✗", "red"),
    Verdict.INCONCLUSIVE: ("?", "yellow"),
    Verdict.ERROR: ("!", "red"),
}


@click.command("run")
@config_option
@click.option("--dry-run", is_flag=True, help="Print what would run and why; run nothing.")
@click.option("--force", is_flag=True, help="Run every stage, changed or not.")
@command
def run(out: Output, config_path: Path, *, dry_run: bool, force: bool) -> int:
    """The road up to "staged": data, holdout, train, gate, register, stage. What has not changed is skipped."""
    from holdfast.pipeline.road import Road, walk
    from holdfast.pipeline.stages import stages_of
    from holdfast.pipeline.workspace import Workspace

    workspace = Workspace.open(config_path)
    road = Road(workspace, force=force, echo=lambda line: out.say(f"    {line}", style="dim"))
    steps = show_steps(out, walk(road, stages_of(workspace), execute=not dry_run), dry_run=dry_run)
    verdicts = [step.outcome.verdict for step in steps if step.outcome is not None]
    verdict = worst(verdicts) if verdicts else Verdict.PASS
    out.emit(
        {
            "schema": 1,
            "model": workspace.model,
            "verdict": None if dry_run else verdict.value,
            "dry_run": dry_run,
            "stages": [step.to_json() for step in steps],
        }
    )
    return 0 if dry_run else verdict.exit_status


def show_steps(out: Output, steps: Iterable[Step], *, dry_run: bool) -> list[Step]:
    """Say each step as it happens; returns the last word on each stage."""
    last: dict[str, Step] = {}
    for step in steps:
        last[step.stage] = step
        if step.outcome is not None:
            mark, colour = _MARKS[step.outcome.verdict]
            out.say(f"{mark} {step.stage:<9} {step.outcome.summary}", style=colour)
            if step.outcome.report is not None and step.outcome.verdict is not Verdict.PASS:
                from holdfast.reports import render_terminal

                render_terminal(step.outcome.report, out.console)
        elif step.decision.action == "skip":
            out.say(f"· {step.stage:<9} skipped: {step.decision.reason}", style="dim")
        elif dry_run:
            out.say(f"▸ {step.stage:<9} would run: {step.decision.reason}")
        else:
            out.say(f"▸ {step.stage:<9} {step.decision.reason}")
    return list(last.values())


@click.command("train")
@config_option
@command
def train(out: Output, config_path: Path) -> int:
    """Run the training command on the training part and look for leaks."""
    from holdfast.pipeline.road import Road
    from holdfast.pipeline.train_stage import train_candidate
    from holdfast.pipeline.workspace import Workspace

    workspace = Workspace.open(config_path)
    outcome = train_candidate(Road(workspace, echo=lambda line: out.say(f"    {line}", style="dim")))
    mark, colour = _MARKS[outcome.verdict]
    out.say(f"{mark} {outcome.summary}", style=colour)
    if outcome.verdict is Verdict.PASS:
        out.say(f"Next: holdfast gate --candidate {outcome.outputs['candidate']}")
    out.emit(
        {
            "schema": 1,
            "verdict": outcome.verdict.value,
            "outputs": dict(outcome.outputs),
            "report": outcome.report.to_json() if outcome.report else None,
        }
    )
    return outcome.verdict.exit_status


@click.command("gate")
@config_option
@click.option("--candidate", help="runs:/ID/model, models:/NAME/3, module:function, or a file of predictions.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write the report as a page.")
@click.option(
    "--markdown", type=click.Path(path_type=Path), help="Also write it as Markdown (a pull request's comment)."
)
@click.option("--junit", type=click.Path(path_type=Path), help="Also write it as JUnit XML.")
@click.option(
    "--environment", is_flag=True, help="Judge no candidate but the environment at hand: score the champion in it."
)
@python_option
@command
def gate(
    out: Output,
    config_path: Path,
    candidate: str | None,
    html: Path | None,
    markdown: Path | None,
    junit: Path | None,
    python: str | None,
    *,
    environment: bool,
) -> Report:
    """Judge a candidate on the frozen holdout: absolute limits, against the champion, latency.

    With --environment the champion itself is scored in the environment at hand and compared with what it predicted in its
    own: for pull requests that touch a lock file or feature code. That writes nothing into the ledger.
    """
    from holdfast.pipeline.candidates import last_candidate
    from holdfast.pipeline.environment_gate import gate_environment
    from holdfast.pipeline.gate import gate as judge
    from holdfast.pipeline.workspace import Workspace
    from holdfast.reports import write_report

    workspace = Workspace.open(config_path, python=python)

    def say(line: str) -> None:
        out.say(f"  {line}", style="dim")

    if environment:
        if candidate:
            raise UserError("--environment judges the champion, so --candidate has no place beside it.")
        report = gate_environment(workspace, say=say)
    else:
        report = judge(workspace, candidate or last_candidate(workspace), say=say).report
    write_report(report, html=html, markdown=markdown, junit=junit)
    return report


@click.command("register")
@config_option
@click.option("--candidate", help="The model to register (default: what was trained last).")
@click.option("--run-id", help="The run whose model to register.")
@command
def register(out: Output, config_path: Path, candidate: str | None, run_id: str | None) -> int:
    """Make a candidate a version of the registered model; registering it again gives the same version."""
    from holdfast.pipeline.stages import candidate_of, register_candidate
    from holdfast.pipeline.workspace import Workspace

    workspace = Workspace.open(config_path)
    version = register_candidate(workspace, candidate_of(workspace, candidate, run_id))
    out.say(f"✓ version {version.version} of {workspace.model}", style="green")
    out.emit(
        {"schema": 1, "verdict": "pass", "model": workspace.model, "version": version.version, "digest": version.digest}
    )
    return 0


@click.command("stage")
@config_option
@click.option("--version", "number", help="The version to stage (default: the newest registered).")
@command
def stage(out: Output, config_path: Path, number: str | None) -> int:
    """Make a version the candidate: the next that may be promoted."""
    from holdfast.pipeline.stages import stage_version
    from holdfast.pipeline.workspace import Workspace

    workspace = Workspace.open(config_path)
    version = stage_version(workspace, number)
    out.say(
        f"✓ version {version.version} of {workspace.model} is staged. Next: holdfast release promote", style="green"
    )
    out.emit({"schema": 1, "verdict": "pass", "model": workspace.model, "version": version.version})
    return 0
