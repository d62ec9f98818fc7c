"""Write the documents that are made from the code: `make docs`. A test compares them."""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.testing import CliRunner

from holdfast.cli.app import ROAD, LazyGroup, app
from holdfast.config.schema import Project
from holdfast.release.attempt import TRANSITIONS, Status

HERE = Path(__file__).resolve().parent


def commands() -> str:
    """`docs/commands.md`: what `--help` says of every command."""
    parts = ["# Commands\n\nWhat `holdfast COMMAND --help` says. Made by `make docs`.\n", _help([])]
    for name in ROAD:
        parts.append(_help([name]))
        group = LazyGroup.get_command(app, click.Context(app), name)  # type: ignore[arg-type]
        if isinstance(group, click.Group):
            parts += [_help([name, inner]) for inner in group.list_commands(click.Context(group))]
    return "\n".join(parts)


def _help(words: list[str]) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], prog_name="holdfast", terminal_width=100, color=False)
    return f"## holdfast {' '.join(words)}".rstrip() + f"\n\n```text\n{done.output.rstrip()}\n```\n"


def schema() -> str:
    """`docs/holdfast.schema.json`: the project file's JSON Schema, for editors."""
    return json.dumps(Project.model_json_schema(), indent=2, sort_keys=True) + "\n"


def transitions() -> str:
    """`docs/transitions.md`: every transition of a release, from the table that the code runs on."""
    rows = [f"| {_state(t.source)} | `{t.event}` | {_state(t.target)} | {t.when} |" for t in TRANSITIONS]
    living = ", ".join(_state(status) for status in Status if status.is_living)
    ended = ", ".join(_state(status) for status in Status if not status.is_living)
    return "\n".join(
        [
            "# Transitions of a release",
            "",
            "Made from `release/attempt.py` by `make docs`. An event that is not in this table for the state at hand cannot",
            "be written, and a ledger that holds one is reported as damaged.",
            "",
            f"Living: {living}. Ended: {ended}.",
            "Rolling back, and so the champion, is reachable from every living state.",
            "",
            "| from | event | to | when |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "`routed` (the router has confirmed what an event asked) and `judged` change no state; a step's evidence begins",
            "with the `routed` that confirms its `shifted`.",
            "",
        ]
    )


def _state(status: Status | None) -> str:
    return "none living" if status is None else status.value.replace("_", " ")


DOCUMENTS = {"commands.md": commands, "holdfast.schema.json": schema, "transitions.md": transitions}


def main() -> None:
    for name, make in DOCUMENTS.items():
        (HERE / name).write_text(make(), "utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
