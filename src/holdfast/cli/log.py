"""`holdfast log show | compact | retain | forget`: the predictions that were answered, and what is kept of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import Output, command, config_option

if TYPE_CHECKING:
    from holdfast.evidence.delta import DeltaTables
    from holdfast.pipeline.workspace import Workspace
    from holdfast.serving.log.housekeeping import Housekeeping


@click.group("log")
def log() -> None:
    """The log of predictions and outcomes: two Delta Lake tables in the store."""


@log.command("show")
@config_option
@command
def show(out: Output, config_path: Path) -> int:
    """Rows, days, variants and size of the tables, and what waits on this machine to be compacted."""
    from holdfast.pipeline.workspace import Workspace
    from holdfast.serving.log.showing import shown

    workspace = Workspace.open(config_path)
    found = shown(_folder(workspace), workspace.store, workspace.model)
    for line in found.sentences(workspace.clock()):
        out.say(line)
    out.emit({"schema": 1, **found.to_json(workspace.clock())})
    return 0


@log.command("compact")
@config_option
@click.option("--every", help="Go on, that often (such as 10s), and tidy up the tables, until interrupted.")
@command
def compact_(out: Output, config_path: Path, every: str | None) -> int:
    """Bring the segments of this machine into the tables."""
    from holdfast.pipeline.workspace import Workspace
    from holdfast.serving.log.housekeeping import Housekeeping

    workspace = Workspace.open(config_path)
    keeping = Housekeeping(
        _folder(workspace),
        workspace.ledger,
        workspace.model,
        clock=workspace.clock,
        complain=lambda line: out.say(f"! {line}", style="yellow"),
        keep=workspace.config.serving.log.keep,
    )
    if every is not None:
        _until_interrupted(keeping, _duration("--every", every))
        return 0
    done = keeping.once()
    out.say(
        f"{done.rows:,} predictions and {done.outcomes:,} outcomes of {done.segments:,} segments are in the tables."
    )
    for path in done.damaged:
        out.say(f"! {path} is damage that was kept aside.", style="yellow")
    out.emit({"schema": 1, **done.to_json()})
    return 4 if done.complaints else 0


@log.command("retain")
@config_option
@click.option("--older-than", help="Delete the days that ended longer ago, such as 90d; default: serving.log.keep.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@command
def retain_(out: Output, config_path: Path, older_than: str | None, *, dry_run: bool) -> int:
    """Delete old days from both tables, as a whole."""
    from holdfast.pipeline.workspace import Workspace
    from holdfast.serving.log.upkeep import record_retained, retain

    workspace = Workspace.open(config_path)
    keep = _age(older_than, workspace.config.serving.log.keep)
    done = retain(_tables(workspace), workspace.clock(), keep, dry_run=dry_run)
    if not dry_run:
        record_retained(workspace.ledger, workspace.model, done)
    verb = "would be deleted" if dry_run else "are deleted"
    out.say(
        f"{done.rows:,} predictions and {done.outcomes:,} outcomes from before {done.before} {verb} "
        f"({done.files:,} files, {done.size:,} bytes)."
    )
    out.emit({"schema": 1, "dry_run": dry_run, **done.to_json()})
    return 0


@log.command("forget")
@config_option
@click.option("--unit", required=True, help="Whose records to remove, as requests name it.")
@click.option(
    "--unit-key-env", help="The variable with the secret that units are hashed with; default: serving.log.unit_key."
)
@command
def forget_(out: Output, config_path: Path, unit: str, unit_key_env: str | None) -> int:
    """Remove everything of one unit: its rows, their outcomes, and every file that held them."""
    from holdfast.pipeline.workspace import Workspace
    from holdfast.serving.log.forgetting import forget
    from holdfast.serving.log.kept import kept_unit, unit_key

    workspace = Workspace.open(config_path)
    declared = workspace.config.serving.log.unit_key
    named = kept_unit(unit, unit_key(unit_key_env or declared)) or unit
    done = forget(_folder(workspace), _tables(workspace), workspace.ledger, workspace.model, named, workspace.clock())
    out.say(f"{done.rows:,} predictions and {done.outcomes:,} outcomes are removed, and the files that held them.")
    for line in done.left:
        out.say(f"! {line}", style="yellow")
    out.emit({"schema": 1, "unit": done.digest, "rows": done.rows, "outcomes": done.outcomes, "left": list(done.left)})
    return 0


def _folder(workspace: Workspace) -> Path:
    return workspace.project.path(workspace.config.serving.log.folder)


def _tables(workspace: Workspace) -> DeltaTables:
    from holdfast.evidence.delta import open_tables

    return open_tables(workspace.store, workspace.model)


def _until_interrupted(keeping: Housekeeping, every: timedelta) -> None:
    import contextlib
    import threading

    stop = threading.Event()
    with contextlib.suppress(KeyboardInterrupt):
        keeping.run(every, stop)
    keeping.once()


def _age(text: str | None, declared: timedelta | None) -> timedelta:
    from holdfast.errors import UserError

    if text is not None:
        return _duration("--older-than", text)
    if declared is None:
        raise UserError("expected how old the days to delete are.", hint="Type: holdfast log retain --older-than 90d")
    return declared


def _duration(option: str, text: str) -> timedelta:
    from holdfast.config.types import parse_duration
    from holdfast.errors import UserError

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}.") from None
