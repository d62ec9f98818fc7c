"""`holdfast release status | promote | rollback | reconcile`: who serves. Canaries and simulations stand beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from holdfast.cli import canary
from holdfast.cli.output import Output, command, config_option
from holdfast.cli.simulate import simulate

if TYPE_CHECKING:
    from holdfast.pipeline.canary import Canary
    from holdfast.release.controller import Sighting


@click.group("release")
def release() -> None:
    """Who serves, who wants to, and the way back."""


@release.command("status", short_help="who serves, and what the evidence says of a canary")
@config_option
@command
def status(out: Output, config_path: Path) -> int:
    """Champion, previous, candidate, the canary under way with its evidence, and how it came to be so."""
    from holdfast.pipeline.canary import Canary
    from holdfast.pipeline.workspace import Workspace
    from holdfast.release import status as state_of

    workspace = Workspace.open(config_path)
    found = state_of(workspace.ledger, workspace.model)
    for role in ("champion", "previous", "candidate"):
        version = found.get(role)
        out.say(f"{role:<10} {_version(version)}", style="bold" if role == "champion" else None)
    sighting = _sighting(out, Canary(workspace))
    if found["release"] is not None:
        _canary(out, found["release"])
    if sighting is not None:
        for check in sighting.judgement.checks:
            out.say(f"  {check.message}", style=None if check.verdict == "inconclusive" else "bold")
        found["judgement"] = {
            "decision": sighting.judgement.decision.value,
            "reason": sighting.judgement.reason,
            "checks": [check.to_json() for check in sighting.judgement.checks],
        }
    for line in found.get("story", [])[-10:]:
        out.say(f"  {line}", style="dim")
    out.emit({"schema": 1, "model": workspace.model, **found})
    return 0


def _sighting(out: Output, canary: Canary) -> Sighting | None:
    """What the evidence says now; a log that cannot be read is said, and everything else is still shown."""
    from holdfast.errors import OutsideError

    try:
        return canary.sighting()
    except OutsideError as error:
        out.say(f"! the evidence cannot be read: {error.message}", style="yellow")
        return None


def _canary(out: Output, found: dict[str, Any]) -> None:
    share = f"{found['share']:.2%} of the users" if found["share"] else "no users"
    why = f": {found['why']}" if found["why"] else ""
    text = f"version {found['candidate']} is {found['status'].replace('_', ' ')}, {share}{why}"
    out.say(f"{'release':<10} {found['id']}, {text}", style="bold" if found["living"] else "dim")


def _version(version: dict[str, Any] | None) -> str:
    return (
        "none" if version is None else f"version {version['version']}  ({version.get('uri') or version.get('digest')})"
    )


@release.command("promote", short_help="make the candidate the champion")
@config_option
@click.option("--version", "number", help="The version to promote (default: the staged candidate).")
@click.option("--report", "report_digest", help="The digest of its passing report (default: the newest that fits).")
@click.option("--override", metavar="REASON", help="Promote without a passing report; the ledger keeps the reason.")
@command
def promote(out: Output, config_path: Path, number: str | None, report_digest: str | None, override: str | None) -> int:
    """Make the candidate the champion, if a passing report names it, this policy and the current champion.

    While a canary is under way, --override promotes it now, on your name.
    """
    from holdfast.pipeline.canary import Canary
    from holdfast.pipeline.workspace import Workspace

    canary = Canary(Workspace.open(config_path))
    done = canary.promote(version=number, report=report_digest, override=override)
    for notice in done.notices:
        out.say(f"notice: {notice}", style="yellow")
    out.say(f"✓ {done.message}", style="green")
    out.emit({"schema": 1, "verdict": "pass", **done.to_json()})
    return 0


@release.command("rollback", short_help="take a canary back, or the champion before")
@config_option
@click.option("--to", "number", help="The version to go back to (default: the one before the champion).")
@click.option("--reason", help="Why; the ledger keeps it.")
@command
def rollback(out: Output, config_path: Path, number: str | None, reason: str | None) -> int:
    """Take a canary back; without one make the previous version the champion again.

    Repeating it with --to changes nothing more.
    """
    from holdfast.pipeline.canary import Canary
    from holdfast.pipeline.workspace import Workspace

    done = Canary(Workspace.open(config_path)).rollback(to=number, reason=reason)
    out.say(f"✓ {done.message}", style="green")
    out.emit({"schema": 1, "verdict": "pass", **done.to_json()})
    return 0


@release.command("reconcile", short_help="make registry and router match the ledger")
@config_option
@click.option("--accept", is_flag=True, help="Take over an alias that somebody else moved.")
@click.option("--restore", is_flag=True, help="Put back an alias that somebody else moved.")
@command
def reconcile(out: Output, config_path: Path, *, accept: bool, restore: bool) -> int:
    """Make the registry's aliases and the router match the ledger; safe to run at any time, any number of times."""
    from holdfast.errors import UserError
    from holdfast.pipeline.canary import Canary
    from holdfast.pipeline.workspace import Workspace

    if accept and restore:
        raise UserError("--accept and --restore contradict each other.", hint="Give one of them.")
    foreign: Literal["accept", "restore"] | None = "accept" if accept else "restore" if restore else None
    changes = Canary(Workspace.open(config_path)).reconcile(foreign)
    for line in changes or ["registry and router match the ledger; nothing to do."]:
        out.say(f"✓ {line}", style="green")
    out.emit({"schema": 1, "verdict": "pass", "changes": changes})
    return 0


for steering in (*canary.COMMANDS, simulate):
    release.add_command(steering)
