"""The table of commands. Only click is imported here; a command's module is imported when it is typed."""

from __future__ import annotations

import importlib
from typing import Any

import click

from holdfast._version import __version__


class LazyGroup(click.Group):
    """A group whose commands are named `module:attribute` and loaded on use; help comes from the table."""

    def __init__(self, *args: Any, table: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in self.table:
            return None
        module, attribute = self.table[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(f"holdfast.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.table and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.table, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"there is no command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

ROAD = {
    "init": ("project:init", "look at this repository and write holdfast.yaml, a CI workflow and a test"),
    "plan": ("project:plan", "what the holdout can and cannot detect; nothing runs"),
    "run": ("road:run", "the road up to 'staged', skipping what has not changed"),
    "data": ("data:data", "check: validate the training table"),
    "holdout": ("data:holdout", "freeze, check: the sealed part that judges models"),
    "snapshot": ("snapshot:snapshot", "record, check: golden features on real rows and a hostile corpus"),
    "env": ("env:env", "show, diff, check: environments, and whether this one is the model's own"),
    "bisect": ("bisect:bisect", "which package change makes a check fail, over real environments"),
    "train": ("road:train", "run the training command on the training part"),
    "gate": ("road:gate", "judge a candidate against the limits and the champion"),
    "register": ("road:register", "make a candidate a version of the registered model"),
    "stage": ("road:stage", "make a version the next to be promoted"),
    "release": ("release:release", "status, drill, start, control, promote, rollback, simulate, …: who serves"),
    "serve": ("serve:serve", "the gateway: assigns, answers and logs every prediction"),
    "log": ("log:log", "show, compact, retain, forget: the predictions that were answered, and what is kept of them"),
    "outcomes": ("outcomes:outcomes", "add, show: what happened after the predictions"),
    "ledger": ("ledger:ledger", "show, verify, adopt: what happened, and who did it"),
    "compare": ("compare:compare", "judge two columns of predictions; no project needed"),
    "drift": ("watch:drift", "a table beside the profile of the champion's training data"),
    "retrain": ("watch:retrain", "ask the policies, fire the trigger"),
    "report": ("project:report", "show a stored report, or write it as a page"),
}


@click.group(cls=LazyGroup, table=ROAD, context_settings=_SETTINGS)
@click.version_option(__version__, "--version", message="holdfast %(version)s")
def app() -> None:
    """CI/CD for machine-learning models: from a commit through gates into production, and back.

    Exit status: 0 pass, 1 a gate said no, 2 the input is wrong, 3 inconclusive, 4 something outside failed.
    """
