"""`holdfast outcomes add | show`: what happened after the predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import Output, command, config_option

if TYPE_CHECKING:
    from holdfast.serving.outcome_counts import OutcomeCounts
    from holdfast.serving.outcome_files import Entries

_SHOWN = 10


@click.group("outcomes")
def outcomes() -> None:
    """Clicks, purchases, labels: what happened after the predictions."""


@outcomes.command("add")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--sql", help="The URL of a database instead of a file, as SQLAlchemy writes it.")
@click.option("--query", help="The query whose rows are outcomes.")
@config_option
@command
def add(out: Output, file: Path | None, sql: str | None, query: str | None, config_path: Path) -> int:
    """Add the outcomes in FILE (Parquet, CSV or NDJSON) or of a query; the same event again changes nothing."""
    from holdfast.evidence.delta import open_tables
    from holdfast.pipeline.workspace import Workspace
    from holdfast.serving.outcome_files import add_outcomes

    entries = _entries(file, sql, query)
    workspace = Workspace.open(config_path)
    table = open_tables(workspace.store, workspace.model).outcomes
    with out.working("reading outcomes"):
        done = add_outcomes(table, entries, workspace.clock())
    out.say(
        f"{done.added:,} outcomes are added, {done.repeated:,} were there already, {len(done.refused):,} are refused."
    )
    for entry in done.refused[:_SHOWN]:
        out.say(f"! entry {entry.place + 1:,}: {entry.reason}", style="yellow")
    if len(done.refused) > _SHOWN:
        out.say(f"! and {len(done.refused) - _SHOWN:,} more", style="yellow")
    refused = [entry.to_json() for entry in done.refused]
    out.emit({"schema": 1, "added": done.added, "repeated": done.repeated, "refused": refused})
    return 2 if done.refused else 0


@outcomes.command("show")
@config_option
@command
def show(out: Output, config_path: Path) -> int:
    """How many of each name were received, and what became of them when they met their predictions."""
    from holdfast.config.canary import OUTCOMES, full_name
    from holdfast.evidence.delta import existing_tables
    from holdfast.evidence.delta_log import DeltaLog
    from holdfast.pipeline.workspace import Workspace
    from holdfast.serving.outcome_counts import outcome_counts

    workspace = Workspace.open(config_path)
    declared = {full_name(name): guardrail.delay for name, guardrail in workspace.config.release.guardrails.items()}
    delays = {
        name.removeprefix(OUTCOMES): delay.total_seconds()
        for name, delay in declared.items()
        if name.startswith(OUTCOMES) and delay is not None
    }
    tables = existing_tables(workspace.store, workspace.model)
    log = DeltaLog(workspace.store, workspace.model)
    counts, lost = ([], []) if tables is None else outcome_counts(log, tables.outcomes, delays)
    for found in counts:
        out.say(_sentence(found))
    for line in lost or ([] if counts else ["no outcomes were received."]):
        out.say(line)
    out.emit({"schema": 1, "outcomes": [found.to_json() for found in counts], "left_out": lost})
    return 0


def _entries(file: Path | None, sql: str | None, query: str | None) -> Entries:
    from holdfast.errors import UserError
    from holdfast.serving.outcome_files import entries_in, entries_of_query

    if file is not None and sql is None and query is None:
        return entries_in(file)
    if file is None and sql is not None and query is not None:
        return entries_of_query(sql, query)
    raise UserError("expected either a file, or --sql URL and --query QUERY.", hint="Type: holdfast outcomes add FILE")


def _sentence(found: OutcomeCounts) -> str:
    fates = {
        "repeated": found.repeated,
        "contradictory": found.contradictory,
        "of unknown requests": found.unknown,
        "late": found.late,
        "no finite number": found.unusable,
    }
    rest = ", ".join(f"{count:,} {fate}" for fate, count in fates.items() if count)
    return f"{found.name}: {found.received:,} received, {found.joined:,} joined{', ' if rest else ''}{rest}."
