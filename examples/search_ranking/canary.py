"""Canaries before live traffic: `make demo-canary`, with DATA=… on the real catalogue.

Shoppers search and click while a harmful model is rolled back, a broken assignment is found out, and a harmless model is
promoted although gateway and controller are killed in the middle of it. All of it is what runs in production, over real HTTP;
only the clock is too fast (live.py). Everything happens in the folder `demo-canary/` at the repository's root, which is made anew.

Is the traffic enough? 240 searches an hour, half of the shoppers with the canary, three searches of each, correlated by 0.1:

    holdfast release simulate --metric click --champion-mean 0.52 --canary-mean 0.32 --max-drop 0.08 --rate 0.0667 --share 0.5 \
        --hours 48 --requests-per-user 3 --icc 0.1 --daily-swing 0.12 --visit-hours 12 --unit-window 6 --repeats 200

rolls back 200 times of 200, in the middle after 4 h (and the 5 h that clicks may take); with --canary-mean 0.515 it promotes
200 times, 199 of them after the first day. For the bump (0.75, 0.65, margin 0.03) it is 200 of 200, in the middle after 10 h.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import deltalake
from demo import console
from incident import PYTHON, install, uv
from live import CONFIG, HERE, RATE, SPEED, Shop

from holdfast.release.routing import drawn
from search_ranking import catalogue, chorus

DEMOS = ("demo.py", "incident.py", "canary.py", "live.py")  # no part of the project
QUERIES = 240  # of the generated catalogue's 600: training is quick then
BASELINE_HOURS = 16.0  # of the champion's traffic before the first canary: to say what the next one could show
LOST = 0.4  # of the canary's shoppers, by the rule at the edge
CRASH_HOURS = 8.0  # of the last canary, before everything is killed
TRAINED: dict[str, object] = {"features": "lexical", "rounds": 40}
FUZZY: dict[str, object] = {"features": "fuzzy", "tie_break": 0}  # the shop's oldest ranker, letters alone
REAL = {"CANARY_MARGIN": "0.03"}  # what is declared otherwise for the real catalogue


def prepare(root: Path, data: Path | None) -> Shop:
    """A fresh copy of the example with its data, and where it runs: here, or in the environment of the incident's lock file."""
    folder = root / "demo-canary"
    shutil.rmtree(folder, ignore_errors=True)
    skipped = shutil.ignore_patterns(".*", "__pycache__", "data", "ml*", *DEMOS)
    shutil.copytree(HERE, folder, ignore=skipped)
    (folder / "data").mkdir()
    os.chdir(folder)
    os.environ["HOLDFAST_ADMIN_TOKEN"] = secrets.token_hex(16)
    if data is None:
        os.environ["CANARY_PYTHON"] = sys.executable
        judged = catalogue.table()
        judged = judged[judged["query_id"] < f"q{QUERIES:04d}"]
    else:
        os.environ.update(REAL)
        judged = chorus.table(data)
        uv(folder, "venv", "-q", "--no-project", "--python", PYTHON, ".venv")
        install(folder, "incident/requirements.lock")
    judged.to_parquet("data/train.parquet", index=False)
    return Shop(folder, CONFIG)


def champion(shop: Shop, **parameters: object) -> None:
    shop.title("1  A champion")
    shop.set_parameters(**parameters)
    shop.type("run")
    shop.type("release", "promote")


def harmful(shop: Shop) -> str:
    shop.title("3  A harmful model is let through on purpose: rolled back")
    shop.set_parameters(**TRAINED, shuffle_labels="true")
    shop.type("run", expect=[1])
    let_through(shop, "trained on shuffled labels; taken on my name for the demo")
    next_one(shop)
    return shop.wait_for_end("rolled_back", "outcomes.click")


def bumped(shop: Shop) -> str:
    shop.title("3  The dependency bump, let through on purpose: rolled back")
    install(shop.folder, "incident/requirements-bump.lock")
    shop.type("run", "--force", expect=[0, 1, 3])
    let_through(shop, "rapidfuzz 3, the gate overruled for the demo")
    return shop.wait_for_end("rolled_back", "outcomes.click")


def let_through(shop: Shop, reason: str) -> None:
    """The last candidate before half of the shoppers, though the gate said no."""
    shop.type("register")
    shop.type("stage")
    shop.wait_for_traffic(BASELINE_HOURS)
    shop.type("release", "drill")
    shop.type("release", "start", "--override", reason)


def next_one(shop: Shop) -> None:
    """Meanwhile the next candidate is made: work does not stop for a canary."""
    shop.set_parameters(**TRAINED | {"rounds": 48})
    shop.type("train")
    shop.type("gate")
    shop.type("register")


def broken(shop: Shop) -> str:
    shop.title("4  A harmless model, and a rule at the edge that loses some of its shoppers: invalid")
    shop.type("stage")
    shop.type("release", "start")
    routing = shop.wait_running().routing
    shop.say("a rule at the edge now loses the requests of two in five of the canary's shoppers")
    shop.front.loses = lambda who: routing.variant_of(who) == "canary" and drawn("edge", who) < LOST
    try:
        return shop.wait_for_end("invalid")
    finally:
        shop.front.loses = None


def promoted(shop: Shop) -> str:
    shop.title("5  Without that rule, but with kill -9 in the middle: promoted")
    shop.type("release", "start")
    shop.wait_running(CRASH_HOURS)
    shop.say(f"kill -9 {' '.join(str(process.pid) for process in shop.processes)}: the gateway and the controller")
    shop.kill()
    shop.start_controller()
    shop.start_gateway()
    shop.say("both are there again")
    return shop.wait_for_end("promoted")


def ending(shop: Shop, releases: Sequence[str]) -> None:
    shop.title("The releases, with the confidence sequences drawn")
    for release in releases:
        shop.type("release", "explain", release, "--html", f"{release}.html")
    logged = logged_ids(shop.folder / ".holdfast", "search-ranking")
    missing = shop.front.answered.keys() - logged
    counts = shop.front.counts
    console.print(
        f"\n{counts['answered']:,} searches answered, {counts['failed']:,} not (nobody was there), {counts['clicks']:,} clicks: "
        f"[bold]{len(missing)} of the answers are missing from the log.[/bold] Each release as a page:",
        soft_wrap=True,
    )
    for release in releases:
        console.print(f"  {shop.folder / release}.html", soft_wrap=True)
    if missing:
        sys.exit(f"missing: {sorted(missing)[:5]}")


def logged_ids(store: Path, model: str) -> set[str]:
    """The id of every prediction in the log's table."""
    table = deltalake.DeltaTable(str(store / "log" / model / "predictions"))
    return set(table.to_pyarrow_table(columns=["prediction_id"])["prediction_id"].to_pylist())


def main() -> None:
    parser = argparse.ArgumentParser(description="Canaries before live traffic.")
    parser.add_argument("--data", type=Path, help="The folder of the real catalogue (default: a generated one).")
    parser.add_argument("--root", type=Path, default=HERE.parent.parent, help="Where the folder demo-canary/ is made.")
    given = parser.parse_args()
    started = time.monotonic()
    shop = prepare(given.root.resolve(), given.data.resolve() if given.data else None)
    console.print(f"[bold]Canaries before live traffic[/bold] in {shop.folder}")
    champion(shop, **(TRAINED if given.data is None else FUZZY))
    shop.title(f"2  Live: an hour passes in {3600 / SPEED:.1f} s, with {RATE:g} searches")
    with shop.opened():
        acts = [harmful, broken, promoted] if given.data is None else [bumped]
        releases = [act(shop) for act in acts]
    ending(shop, releases)
    console.print(f"[bold green]Done in {time.monotonic() - started:.0f} s.[/bold green]")


if __name__ == "__main__":
    main()
