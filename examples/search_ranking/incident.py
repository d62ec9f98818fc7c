"""The founding incident, and why it cannot happen here: `make demo-incident`, with DATA=… on the real catalogue.

A pull request bumps a lock file for a security hole. The endpoint still answers 200. Everything happens in the folder
`demo-incident/` at the repository's root, which is made anew; each step is a command that a user types.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from demo import HERE, Demo, console

CONFIG = "holdfast.incident.yaml"
PYTHON = "3.11"  # rapidfuzz 2.15.2 has wheels up to here
# The real catalogue's figures are those of similarity alone: no word statistics break its ties, and every query judges.
REAL = {"INCIDENT_SHARE": "0.99", "INCIDENT_TIE_BREAK": "0", "INCIDENT_MARGIN": "0.02"}


def uv(folder: Path, *words: str) -> None:
    """Run uv; stop the demo with its words where it fails."""
    beside = Path(sys.executable).with_name("uv")
    program = str(beside) if beside.exists() else shutil.which("uv")
    if program is None:
        sys.exit("the incident makes environments with uv, and there is none: pip install uv")
    kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run([program, *words], cwd=folder, env=kept, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"uv {' '.join(words[:2])}: {done.stderr.strip()}")


def prepare(root: Path, data: Path | None) -> Demo:
    """A fresh copy of the example, its data, and the champion's environment from the lock file of the main branch."""
    folder = root / "demo-incident"
    shutil.rmtree(folder, ignore_errors=True)
    skipped = shutil.ignore_patterns(
        "*.py[co]", "__pycache__", "data", ".venv", ".holdfast", "ml*", "demo*.py", "incident.py"
    )
    shutil.copytree(HERE, folder, ignore=skipped)
    source = ["search_ranking.catalogue"] if data is None else ["search_ranking.chorus", str(data)]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    subprocess.run([sys.executable, "-m", *source, "data/train.parquet"], cwd=folder, env=environment, check=True)
    if data is not None:
        os.environ.update(REAL)
    uv(folder, "venv", "-q", "--no-project", "--python", PYTHON, ".venv")
    install(folder, "incident/requirements.lock")
    return Demo(folder, CONFIG)


def install(folder: Path, lock: str) -> None:
    console.print(f"[bold cyan]$ uv pip sync --require-hashes {lock}[/bold cyan]")
    uv(folder, "pip", "sync", "-q", "--python", ".venv/bin/python", "--require-hashes", lock)


def smoke_test(demo: Demo) -> None:
    """All that CI had asked: does the endpoint answer?"""
    console.print("[bold cyan]$ python scripts/serve.py --port 0 & curl -X POST …[/bold cyan]")
    words = [".venv/bin/python", "scripts/serve.py", "--port", "0"]
    with subprocess.Popen(
        words, cwd=demo.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            said = server.stdout.readline()
            if not said:
                sys.exit("the endpoint did not start: run scripts/serve.py by hand to see why")
            port = int(said)
            asked = {"query": "usb cable", "titles": ["USB Cable — white", "Cable for USB, 2 m", "Wooden spoon"]}
            request = urllib.request.Request(f"http://127.0.0.1:{port}/", json.dumps(asked).encode())
            with urllib.request.urlopen(request, timeout=60) as answer:
                console.print(f"HTTP {answer.status}  {answer.read().decode()}   [green]the smoke test passes[/green]")
        finally:
            server.terminate()


def champion(demo: Demo) -> None:
    demo.title("1  The champion: rapidfuzz 2.15.2, nltk 3.8.1")
    demo.type("run")
    demo.type("release", "promote")


def pull_request(demo: Demo) -> None:
    demo.title("2  A pull request for CVE-2024-39705 bumps the lock file")
    demo.type("env", "diff", "champion", "incident/requirements-bump.lock")
    install(demo.folder, "incident/requirements-bump.lock")
    smoke_test(demo)


def stopped(demo: Demo, comment: Path) -> None:
    demo.title("3  Two things stop it, each by itself")
    demo.type("snapshot", "check", expect=[1])
    demo.type("gate", "--environment", "--markdown", str(comment), expect=[1])


def refused(demo: Demo) -> None:
    demo.title("4  Training again there does not pass either, and promote refuses")
    demo.type("run", expect=[1])
    demo.type("register")
    demo.type("release", "promote", "--version", "2", expect=[1])


def explained(demo: Demo, comment: Path) -> None:
    demo.title("5  Which of the packages?")
    told = demo.folder / "bisect.md"
    demo.type("bisect", "--markdown", str(told), "--html", str(demo.folder / "bisect.html"))
    demo.title("6  The comment on the pull request")
    console.print(
        told.read_text("utf-8") + "\n" + comment.read_text("utf-8"), style="dim", markup=False, soft_wrap=True
    )


def settled(demo: Demo) -> None:
    demo.title("7  With the pin the fix goes in: changed, and it does not cost")
    pins = (demo.folder / "incident" / "requirements.lock").read_text("utf-8")
    version = next(line.split()[0] for line in pins.splitlines() if line.startswith("rapidfuzz=="))
    console.print(f"[bold cyan]$ uv pip install {version}[/bold cyan]")
    uv(demo.folder, "pip", "install", "-q", "--python", ".venv/bin/python", "--no-deps", version)
    demo.type("gate", "--environment")


def short(root: Path) -> None:
    """The incident's first half, as `make demo` ends: the endpoint answers, and two things stop the pull request."""
    demo = prepare(root, None)
    champion(demo)
    pull_request(demo)
    stopped(demo, demo.folder / "comment.md")
    console.print("[dim]Which package, what it costs, and the pin that helps: make demo-incident[/dim]")


def main() -> None:
    parser = argparse.ArgumentParser(description="A dependency changes what the model sees.")
    parser.add_argument("--data", type=Path, help="The folder of the real catalogue (default: a generated one).")
    parser.add_argument(
        "--root", type=Path, default=HERE.parent.parent, help="Where the folder demo-incident/ is made."
    )
    given = parser.parse_args()
    started = time.monotonic()
    demo = prepare(given.root.resolve(), given.data.resolve() if given.data else None)
    comment = demo.folder / "comment.md"
    champion(demo)
    pull_request(demo)
    stopped(demo, comment)
    refused(demo)
    explained(demo, comment)
    settled(demo)
    if given.data is not None:
        console.print(
            "\nOn all 113 judged queries it is 0.790 → 0.693; the holdout lacks the one that the word statistics came from."
        )
    console.print(f"\n[bold green]Done in {time.monotonic() - started:.0f} s.[/bold green] The story as a page:")
    console.print(f"  {demo.folder / 'bisect.html'}", soft_wrap=True)


if __name__ == "__main__":
    main()
