"""`holdfast ledger show | verify | adopt`: what happened, and who did it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import Output, command, config_option

if TYPE_CHECKING:
    from holdfast.verdict import Report


@click.group("ledger")
def ledger() -> None:
    """The record of everything: append-only, hash-chained."""


@ledger.command("show")
@config_option
@click.option("--stream", help="Another stream than this model's releases, such as holdout/… or retraining/….")
@command
def show(out: Output, config_path: Path, stream: str | None) -> int:
    """The story so far, one sentence an event."""
    from holdfast.pipeline.workspace import Workspace
    from holdfast.release import story

    workspace = Workspace.open(config_path)
    name = stream or f"release/{workspace.model}"
    events = workspace.ledger.read(name)
    for line in (
        story(events) if stream is None else (f"{e.time}  {e.who}  {e.type}  {dict(e.payload)}" for e in events)
    ):
        out.say(line)
    if not events:
        out.say(f"nothing is recorded in {name}; streams: {', '.join(workspace.ledger.streams()) or 'none'}.")
    out.emit({"schema": 1, "stream": name, "events": [event.to_json() for event in events]})
    return 0


@ledger.command("verify")
@config_option
@click.option("--offline", is_flag=True, help="Do not ask the registry where the ledger's head should be.")
@command
def verify(out: Output, config_path: Path, *, offline: bool) -> Report:
    """Find events that were changed, removed, inserted or cut off."""
    from holdfast.pipeline.releasing import verify_ledger
    from holdfast.pipeline.workspace import Workspace

    del out
    return verify_ledger(Workspace.open(config_path), offline=offline)


@ledger.command("adopt")
@config_option
@command
def adopt(out: Output, config_path: Path) -> int:
    """Record the champion that the registry already has as the starting state, and score it once."""
    from holdfast.pipeline.releasing import adopt_champion
    from holdfast.pipeline.workspace import Workspace

    done = adopt_champion(Workspace.open(config_path), say=lambda line: out.say(f"  {line}", style="dim"))
    out.say(f"✓ {done.message}", style="green")
    out.emit({"schema": 1, "verdict": "pass", **done.to_json()})
    return 0
