"""`holdfast env show | diff | check`: environments, what differs between them, and whether this one is the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import Output, command, config_option, python_option

if TYPE_CHECKING:
    from holdfast.verdict import Report


@click.group("env")
def env() -> None:
    """Environments: what is installed, what changed, and whether it is the model's own."""


@env.command("show")
@config_option
@python_option
@command
def show(out: Output, config_path: Path, python: str | None) -> int:
    """The fingerprint of the environment in which the project's code runs."""
    from holdfast.pipeline.workspace import Workspace

    found = Workspace.open(config_path, python=python).fingerprint
    out.say(f"{found.digest}", style="bold")
    out.say(f"Python {found.python}, Unicode {found.unicode}, {len(found.hashed['packages'])} packages")
    out.say(f"{found.executable}", style="dim")
    for name, value in found.host.items():
        out.say(f"  {name:<10} {value}", style="dim")
    out.emit({"schema": 1, "fingerprint": found.to_json()})
    return 0


@env.command("diff")
@click.argument("a")
@click.argument("b")
@config_option
@command
def diff(out: Output, a: str, b: str, config_path: Path) -> int:
    """What changed from A to B, what is likely to matter to features first.

    A and B are each one of: running, champion, previous, candidate, a version's number, a lock file (uv.lock, poetry.lock,
    requirements with pins), a fingerprint (sha256:… or a JSON file), or a .venv.
    """
    from holdfast.environment import Fingerprint
    from holdfast.environment.relevance import host_changes
    from holdfast.pipeline.environments import compare_environments, environment_of
    from holdfast.pipeline.workspace import Workspace

    workspace = Workspace.open(config_path)
    one, two = environment_of(workspace, a), environment_of(workspace, b)
    changes = compare_environments(workspace, one, two)
    host = host_changes(one, two) if isinstance(one, Fingerprint) and isinstance(two, Fingerprint) else []
    width = max((len(change.package) for change in changes), default=0)
    for change in changes:
        step = f"{change.old or 'absent':>16} → {change.new or 'absent':<16}"
        out.say(f"  {change.package:<{width}}  {step}  {change.why}", style=None if change.why else "dim")
    for name, old, new in host:
        out.say(f"  {name}: {old} → {new}  (the machine's; not part of the environment)", style="dim")
    out.say(f"{len(changes)} {'difference' if len(changes) == 1 else 'differences'} from {a} to {b}.")
    out.emit(
        {
            "schema": 1,
            "changes": [change.to_json() for change in changes],
            "host": [{"name": name, "old": old, "new": new} for name, old, new in host],
        }
    )
    return 0


@env.command("check")
@click.argument("version", default="champion")
@config_option
@python_option
@click.option("--strict", is_flag=True, help="Exit 1 where anything differs.")
@command
def check(out: Output, version: str, config_path: Path, python: str | None, *, strict: bool) -> Report:
    """Compare the running environment with the one a model VERSION was made in (default: the champion)."""
    from holdfast.errors import UserError
    from holdfast.pipeline.environments import check_environment, named_version
    from holdfast.pipeline.workspace import Workspace

    del out
    workspace = Workspace.open(config_path, python=python)
    found = named_version(workspace, version)
    if found is None:
        raise UserError(
            f"{version!r} is no version of {workspace.model}.", hint="Write champion, candidate, or a number."
        )
    return check_environment(workspace, found, strict=strict)
