"""Write the documents that are made from the code: `make docs`. A test compares them."""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.testing import CliRunner

from holdfast.cli.app import ROAD, LazyGroup, app
from holdfast.config.schema import Project

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


DOCUMENTS = {"commands.md": commands, "holdfast.schema.json": schema}


def main() -> None:
    for name, make in DOCUMENTS.items():
        (HERE / name).write_text(make(), "utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
