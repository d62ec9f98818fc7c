"""`holdfast release status | promote | rollback | reconcile`: who serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from holdfast.cli.output import Output, command, config_option


@click.group("release")
def release() -> None:
    """Who serves, who wants to, and the way back."""


@release.command("status")
@config_option
@command
def status(out: Output, config_path: Path) -> int:
    """Champion, previous, candidate, and how it came to be so."""
    from holdfast.pipeline.workspace import Workspace
    from holdfast.release import status as state_of

    workspace = Workspace.open(config_path)
    found = state_of(workspace.ledger, workspace.model)
    for role in ("champion", "previous", "candidate"):
        version = found.get(role)
        out.say(f"{role:<10} {_version(version)}", style="bold" if role == "champion" else None)
    for line in found.get("story", [])[-10:]:
        out.say(f"  {line}", style="dim")
    out.emit({"schema": 1, "model": workspace.model, **found})
    return 0


def _version(version: dict[str, Any] | None) -> str:
    return (
        "none" if version is None else f"version {version['version']}  ({version.get('uri') or version.get('digest')})"
    )


@release.command("promote")
@config_option
@click.option("--version", "number", help="The version to promote (default: the staged candidate).")
@click.option("--report", "report_digest", help="The digest of its passing report (default: the newest that fits).")
@click.option("--override", metavar="REASON", help="Promote without a passing report; the ledger keeps the reason.")
@command
def promote(out: Output, config_path: Path, number: str | None, report_digest: str | None, override: str | None) -> int:
    """Make the candidate the champion, if a passing report names it, this policy and the current champion."""
    from holdfast.pipeline.releasing import promote_candidate
    from holdfast.pipeline.workspace import Workspace

    workspace = Workspace.open(config_path)
    done = promote_candidate(workspace, version=number, report=report_digest, override=override)
    for notice in done.notices:
        out.say(f"notice: {notice}", style="yellow")
    out.say(f"✓ {done.message}", style="green")
    out.emit({"schema": 1, "verdict": "pass", **done.to_json()})
    return 0


@release.command("rollback")
@config_option
@click.option("--to", "number", help="The version to go back to (default: the one before the champion).")
@click.option("--reason", help="Why; the ledger keeps it.")
@command
def rollback(out: Output, config_path: Path, number: str | None, reason: str | None) -> int:
    """Make the previous version the champion again. Repeating it with --to changes nothing more."""
    from holdfast.pipeline.workspace import Workspace
    from holdfast.release import rollback as back

    workspace = Workspace.open(config_path)
    done = back(workspace.ledger, workspace.registry, workspace.model, to=number, reason=reason)
    out.say(f"✓ {done.message}", style="green")
    out.emit({"schema": 1, "verdict": "pass", **done.to_json()})
    return 0


@release.command("reconcile")
@config_option
@click.option("--accept", is_flag=True, help="Take over an alias that somebody else moved.")
@click.option("--restore", is_flag=True, help="Put back an alias that somebody else moved.")
@command
def reconcile(out: Output, config_path: Path, *, accept: bool, restore: bool) -> int:
    """Make the registry's aliases match the ledger; safe to run at any time, any number of times."""
    from holdfast.errors import UserError
    from holdfast.pipeline.workspace import Workspace
    from holdfast.release import reconcile as match

    if accept and restore:
        raise UserError("--accept and --restore contradict each other.", hint="Give one of them.")
    workspace = Workspace.open(config_path)
    foreign: Literal["accept", "restore"] | None = "accept" if accept else "restore" if restore else None
    done = match(workspace.ledger, workspace.registry, workspace.model, foreign=foreign)
    for line in done.changes or ("the registry matches the ledger; nothing to do.",):
        out.say(f"✓ {line}", style="green")
    out.emit({"schema": 1, "verdict": "pass", **done.to_json()})
    return 0
