"""The whole road in about three minutes: `make demo`, or `make demo DATA=../shared/data/chorus` for the real catalogue.

Everything happens in the folder `demo/` at the repository's root, which is made anew; each step is a command that a
user types.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule

HERE = Path(__file__).resolve().parent
PROGRAM = Path(sys.executable).with_name("holdfast")
os.environ["PATH"] = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"  # as in an activated environment
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # byte code is kept, as it is by default: imports are most of the time
console = Console(highlight=False)


class Demo:
    """A copy of the example in a folder of its own, and the commands typed in it."""

    def __init__(self, folder: Path, config: str) -> None:
        self.folder = folder
        self.config = config
        self.started = time.monotonic()

    def title(self, text: str) -> None:
        seconds = time.monotonic() - self.started
        console.print()
        console.print(Rule(f"[bold]{text}[/bold]  [dim]at {seconds:.0f} s[/dim]", align="left", style="dim"))

    def type(self, *words: str, expect: Sequence[int] = (0,)) -> int:
        """Run `holdfast WORDS` as a user would; stop the demo where it ends otherwise than expected."""
        console.print(f"[bold cyan]$ holdfast {' '.join(words)}[/bold cyan]", soft_wrap=True)
        status = subprocess.run([PROGRAM, *words, "--config", self.config], cwd=self.folder, check=False).returncode
        if status not in expect:
            console.print(f"[red]exit status {status}, expected {' or '.join(map(str, expect))}: the demo stops.[/red]")
            sys.exit(1)
        if status:
            console.print(f"[dim](exit status {status})[/dim]")
        return status

    def ask(self, *words: str) -> dict[str, Any]:
        """What a command prints with --json."""
        done = subprocess.run(
            [PROGRAM, *words, "--config", self.config, "--json"],
            cwd=self.folder,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return dict(json.loads(done.stdout))

    def set_parameters(self, **parameters: object) -> None:
        """What a person would do in an editor: change `train: {parameters: …}`."""
        file = self.folder / self.config
        inside = ", ".join(f"{name}: {value}" for name, value in parameters.items())
        lines = [
            f"  parameters: {{{inside}}}" if line.startswith("  parameters:") else line
            for line in file.read_text("utf-8").splitlines()
        ]
        file.write_text("\n".join(lines) + "\n", "utf-8")
        console.print(f"[dim]# {self.config}: train.parameters = {{{inside}}}[/dim]", soft_wrap=True)


def prepare(root: Path, data: Path | None) -> Demo:
    """A fresh copy of the example with its data."""
    folder = root / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("demo.py", "__pycache__", "data", ".holdfast", "ml*"))
    source = ["search_ranking.catalogue"] if data is None else ["search_ranking.chorus", str(data)]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    subprocess.run([sys.executable, "-m", *source, "data/train.parquet"], cwd=folder, env=environment, check=True)
    return Demo(folder, "holdfast.yaml" if data is None else "holdfast.chorus.yaml")


def embedded(demo: Demo) -> None:
    """The generated catalogue has enough queries for every verdict to be clear."""
    demo.title("1  A first model: check, freeze, train, gate, register, stage, promote")
    demo.set_parameters(features="lexical", rounds=60)
    demo.type("run")
    demo.type("release", "promote")
    demo.title("2  A worse candidate is stopped")
    demo.set_parameters(features="lexical", rounds=60, shuffle_labels="true")
    demo.type("run", expect=[1])
    demo.title("3  A candidate that saw the holdout is stopped")
    demo.set_parameters(features="all", rounds=60, train_on=demo.folder / "data" / "train.parquet")
    demo.type("run", expect=[1])
    demo.title("4  A better one is promoted")
    demo.set_parameters(features="all", rounds=120)
    demo.type("run")
    demo.type("release", "promote")
    demo.title("5  And rolled back, by one command")
    demo.type("release", "rollback", "--reason", "shoppers complained")


def chorus(demo: Demo) -> None:
    """Some 40 real queries: the honest verdict is often that they are too few."""
    demo.title("1  A first model on the real catalogue")
    demo.set_parameters(features="lexical", rounds=40)
    demo.type("run", expect=[0, 3])
    promote(demo)
    demo.title("2  A worse candidate is stopped")
    demo.set_parameters(features="lexical", rounds=40, shuffle_labels="true")
    demo.type("run", expect=[1, 3])
    demo.title("3  A candidate that saw the holdout is stopped")
    demo.set_parameters(features="all", rounds=60, train_on=demo.folder / "data" / "train.parquet")
    demo.type("run", expect=[1])
    demo.title("4  Another candidate: is the evidence enough?")
    demo.set_parameters(features="all", rounds=60)
    demo.type("run", expect=[0, 1, 3])
    promote(demo)
    demo.title("5  And rolled back, by one command")
    demo.type("release", "rollback", "--reason", "shoppers complained")


def promote(demo: Demo) -> None:
    """Promote what was staged; where the gate left it open, say what is missing and take it on one's own name."""
    found = demo.ask("report")
    if found["verdict"] == "pass":
        demo.type("release", "promote")
        return
    for check in found["checks"]:
        if check["needed_n"]:
            console.print(
                f"[yellow]{check['name']} needs about {check['needed_n']:,} {check['unit']} units, has {check['n']:,}.[/yellow]"
            )
    demo.type("register")
    demo.type("stage")
    demo.type("release", "promote", expect=[1])
    reason = f"the gate is {found['verdict']} on few queries; taken for the demo"
    demo.type("release", "promote", "--override", reason)


def ending(demo: Demo) -> None:
    demo.title("The ledger's story")
    demo.type("ledger", "show")
    demo.type("ledger", "verify")
    page = demo.folder / "report.html"
    demo.type("report", "--html", str(page), expect=[0, 1, 3])
    seconds = time.monotonic() - demo.started
    console.print()
    console.print(f"[bold green]Done in {seconds:.0f} s.[/bold green] Every interval against its limit, as a page:")
    console.print(f"  {page}", soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Holdfast's road, end to end.")
    parser.add_argument("--data", type=Path, help="The folder of the real catalogue (default: a generated one).")
    parser.add_argument("--root", type=Path, default=HERE.parent.parent, help="Where the folder demo/ is made.")
    given = parser.parse_args()
    demo = prepare(given.root.resolve(), given.data.resolve() if given.data else None)
    console.print(f"[bold]Holdfast demo[/bold] in {demo.folder}")
    (embedded if given.data is None else chorus)(demo)
    ending(demo)
    from incident import short  # which is told in full by `make demo-incident`

    console.print(Rule("[bold]And the incident that Holdfast was made for[/bold]", align="left", style="dim"))
    short(given.root.resolve())
    console.print(f"[bold green]All in {time.monotonic() - demo.started:.0f} s.[/bold green]")


if __name__ == "__main__":
    main()
