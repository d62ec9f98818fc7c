"""`holdfast release simulate`: what a policy would do, before it does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from holdfast.cli.output import Output, command


@click.command("simulate", short_help="what a policy would do, on declared traffic or a recorded log")
@click.option("--log", "log", type=click.Path(path_type=Path), help="Recorded predictions (Parquet, CSV, or a folder).")
@click.option("--outcomes", type=click.Path(path_type=Path), help="Recorded outcomes beside --log.")
@click.option(
    "--plan", "plan_file", type=click.Path(path_type=Path), help="The project file whose `release:` is tried on --log."
)
@click.option(
    "--metric", help="The guardrail of declared traffic; it spends the whole error. An outcome's name with --log."
)
@click.option("--rate", type=float, default=100.0, show_default=True, help="Requests a second, of all traffic.")
@click.option("--share", type=float, help="The canary's share of the units.  [default: 0.05]")
@click.option("--hours", type=float, help="How long it may take.  [default: 72]")
@click.option("--champion-mean", type=float, help="The champion's mean of the metric.")
@click.option("--canary-mean", type=float, help="The canary's mean (default: the champion's).")
@click.option("--sd", type=float, help="Standard deviation, where the metric is not 0 or 1.")
@click.option("--max-drop", type=float, help="Tolerated loss, in the metric's units.  [default: 0]")
@click.option("--max-rise", type=float, help="Tolerated rise, where a rise harms.")
@click.option("--requests-per-user", type=int, default=1, show_default=True, help="Requests of one user.")
@click.option("--icc", type=float, default=0.0, show_default=True, help="Correlation between two requests of one user.")
@click.option(
    "--daily-swing",
    type=float,
    default=0.0,
    show_default=True,
    help="From the bottom to the top of the daily cycle, in the metric's units.",
)
@click.option(
    "--visit-hours", type=float, default=6.0, show_default=True, help="How long a user's requests are spread."
)
@click.option(
    "--unit-window",
    type=float,
    default=12.0,
    show_default=True,
    help="Hours for which a user is followed for promotion.",
)
@click.option(
    "--delay",
    type=float,
    default=30.0,
    show_default=True,
    help="With --log and --metric: minutes after which an outcome is absent.",
)
@click.option(
    "--repeats",
    type=int,
    default=1,
    show_default=True,
    help="Releases to simulate; with --log: users dealt anew, so that nothing differs.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--jobs", type=int, help="Processes (default: all cores).")
@click.option("--html", type=click.Path(path_type=Path), help="Draw the first release as a page.")
@command
def simulate(out: Output, **options: Any) -> int:
    """Replay a recorded log, or a declared effect on declared traffic, through the code that decides in production.

    What would this policy have done, when, and how often does it roll back a good model?
    """
    from holdfast.cli import simulating

    if options["log"] is not None:
        return simulating.recorded(out, options)
    return simulating.declared(out, options)
