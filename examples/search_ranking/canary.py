"""Canaries before live traffic: `make demo-canary`, with DATA=… on the real catalogue.

Shoppers search and click while a harmful model is rolled back, a broken assignment is found out, and a harmless model is
promoted although gateway and controller are killed in the middle of it. All of it is what runs in production, over real HTTP;
only the clock is too fast. Everything happens in the folder `demo-canary/` at the repository's root, which is made anew.

Other processes of the demo are this file too: `canary.py gateway CLOCK PORT` is `holdfast serve`, `canary.py controller CLOCK` is
`holdfast release control`, each by a clock that is handed to it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "src"))

import deltalake
import pandas as pd
from demo import Demo, console
from incident import PYTHON, install, uv

from holdfast.cli.app import app
from holdfast.pipeline.canary import Canary
from holdfast.pipeline.workspace import Workspace
from holdfast.release import ReleaseState
from holdfast.release.attempt import Status
from holdfast.release.lease import Lease
from holdfast.release.routing import drawn
from search_ranking import catalogue, chorus
from search_ranking.clock import FastClock
from search_ranking.shoppers import Shoppers, queries_of
from search_ranking.storefront import Storefront

CONFIG = "holdfast.canary.yaml"
SPEED = 2250.0  # an hour in 1.6 s
RATE = 240.0  # searches an hour; 150 a second are less than half a core's work
ROWS = 12  # products of a search
QUERIES = 240  # of the generated catalogue's 600: training is quick then
BASELINE_HOURS = 16.0  # of the champion's traffic before the first canary: to say what the next one could show
LOG_SECONDS = 3.0  # that a request needs at most until it is in the log's tables
STILL_SECONDS = 10.0  # after which a replica that tells nothing new stands still
LOOK_SECONDS = 0.3  # between two looks of the controller
LOST = 0.4  # of the canary's shoppers, by the rule at the edge
CRASH_HOURS = 8.0  # of the last canary, before everything is killed
# What is declared otherwise for the real catalogue.
REAL = {"CANARY_MARGIN": "0.03"}
# Of 240 searches an hour some 3,000 are of shoppers whose window has closed after 24 h. With half of them the canary's, the
# difference in clicks is known to about ±0.022 (one standard error, shoppers correlated); shown harmless within 0.08 it is in
# four cases of five at the first look, in nearly all at the second. Shuffled labels cost 0.2: shown within some ten hours.


# --- the clock, and the processes that run by it ---


class RealTime(Lease):
    """Leases are of real time."""

    def hold(self, wall: float) -> int | None:
        del wall
        return super().hold(time.time())


def opened(clock: FastClock) -> Canary:
    """The project by `clock`; what is said in real seconds elsewhere is said in the clock's here."""
    work = Workspace.open(CONFIG, clock=clock)
    return Canary(work, still_seconds=STILL_SECONDS * clock.speed, lag_seconds=LOG_SECONDS * clock.speed)


def run_gateway(clock: FastClock, port: int) -> None:
    """As `holdfast serve`."""
    from holdfast.pipeline.serving import Replica
    from holdfast.serving import json_lines, server

    json_lines.configure()
    replica = Replica(Workspace.open(CONFIG, clock=clock), port=port)
    server.run(replica.run(started=lambda at: print(at.port, flush=True)))


def run_controller(clock: FastClock) -> None:
    """As `holdfast release control`."""
    canary = opened(clock)
    work = canary.workspace
    controller = canary.controller(lease=RealTime(work.store, work.model, f"controller {os.getpid()}"))
    said: tuple[str, ...] = ()
    while True:
        ticked = controller.tick()
        fresh = [f"! {line}" for line in ticked.complaints if line not in said]
        said = ticked.complaints
        told = [line for line in ticked.events if "has confirmed" not in line]
        for line in [*told, *fresh]:
            print(f"    {clock.hours:5.1f} h  {line}", flush=True)
        time.sleep(LOOK_SECONDS)


# --- the shop ---


class Shop(Demo):
    """A copy of the example in a folder of its own, with its gateway, its controller and its shoppers."""

    clock: FastClock
    front: Storefront
    gateway: subprocess.Popen[str]
    controller: subprocess.Popen[str]
    port = 0

    def type(self, *words: str, expect: Sequence[int] = (0,)) -> int:
        """Run `holdfast WORDS` in this process, which knows the clock; stop the demo where it ends otherwise than expected."""
        console.print(f"[bold cyan]$ holdfast {' '.join(words)}[/bold cyan]", soft_wrap=True)
        status = 0
        try:
            app.main([*words, "--config", CONFIG], standalone_mode=False)
        except SystemExit as ended:
            status = int(ended.code or 0)
        sys.stdout.flush()
        if status not in expect:
            sys.exit(f"exit status {status}, expected {' or '.join(map(str, expect))}: the demo stops.")
        return status

    def say(self, text: str) -> None:
        """A line of what happens meanwhile."""
        console.print(f"    {self.clock.hours:5.1f} h  {text}", soft_wrap=True)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Gateway, controller and shoppers at work; at the end all that was accepted is in the log."""
        self.clock = FastClock(time.time(), SPEED)
        Workspace.open = functools.partial(Workspace.open, clock=self.clock)  # so that what is typed goes by it, too
        console.print("[bold cyan]$ holdfast serve &[/bold cyan]")
        self.start_gateway()
        console.print("[bold cyan]$ holdfast release control &[/bold cyan]")
        self.start_controller()
        try:
            shoppers = Shoppers(queries_of(pd.read_parquet("data/train.parquet"), ROWS), RATE)
            with Storefront(shoppers, self.clock, self.port) as self.front:
                yield
        finally:
            for process in (self.controller, self.gateway):
                process.terminate()
                process.wait(60)

    def start_gateway(self) -> None:
        """Start it, and wait until it answers."""
        self.gateway = self._started("gateway", str(self.port), stdout=subprocess.PIPE)
        line = self.gateway.stdout.readline()
        if not line:
            sys.exit("the gateway did not start: read gateway.log")
        self.port = int(line)
        self._until(self._is_ready, 300)

    def start_controller(self) -> None:
        self.controller = self._started("controller")

    def _started(self, what: str, *words: str, **streams: Any) -> subprocess.Popen[str]:
        with Path(f"{what}.log").open("a") as log:
            program = [sys.executable, str(HERE / "canary.py"), what, str(self.clock), *words]
            return subprocess.Popen(program, text=True, stderr=log, **streams)

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/health/ready", timeout=5).status == 200
        return False

    def state(self) -> ReleaseState:
        """What the ledger says."""
        return Workspace.open(CONFIG).state()

    def wait_for_traffic(self, hours: float) -> None:
        """Until the champion has answered for so long."""
        self.say(f"waiting for {hours:g} h of the champion's traffic")
        begun = self.front.begun
        self._until(lambda: self.clock.hours >= begun + hours, 120)

    def wait_running(self, hours: float = 0.0) -> ReleaseState:
        """Until shoppers have met the canary for so long."""
        self._until(lambda: self._is_running(self.state()), 60)
        begun = self.clock.hours
        self._until(lambda: self.clock.hours >= begun + hours, 120)
        return self.state()

    def _is_running(self, state: ReleaseState) -> bool:
        return state.attempt is not None and (state.attempt.since is not None or state.living is None)

    def wait_for_end(self, expected: str) -> str:
        """Until nobody is in a canary any more; the release's id. Stop the demo where it ended otherwise than expected."""
        self._until(lambda: self.state().living is None or self.state().attempt.status is Status.HELD, 150)
        attempt = self.state().attempt
        if attempt is None or attempt.status.value != expected:
            sys.exit(f"the release was expected to be {expected}: {attempt}")
        return attempt.id

    def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        """Wait for it; stop the demo where it does not come about, or where a process has died."""
        patient = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > patient or self.gateway.poll() is not None:
                sys.exit("that took too long: read gateway.log and controller.log")
            time.sleep(0.1)


# --- the story ---


def prepare(root: Path, data: Path | None) -> Shop:
    """A fresh copy of the example with its data, and where it runs: here, or in the environment of the incident's lock file."""
    folder = root / "demo-canary"
    shutil.rmtree(folder, ignore_errors=True)
    skipped = shutil.ignore_patterns("*.py[co]", "__pycache__", "data", ".venv", ".holdfast", "ml*", "demo*.py")
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


def champion(shop: Shop) -> None:
    shop.title("1  A champion")
    shop.type("run")
    shop.type("release", "promote")


def harmful(shop: Shop) -> str:
    shop.title("3  A harmful model is let through on purpose: rolled back")
    shop.set_parameters(features="lexical", rounds=40, shuffle_labels="true")
    shop.type("run", expect=[1])
    let_through(shop, "trained on shuffled labels; taken on my name for the demo")
    next_one(shop)
    return shop.wait_for_end("rolled_back")


def bumped(shop: Shop) -> str:
    shop.title("3  The dependency bump, let through on purpose: rolled back")
    install(shop.folder, "incident/requirements-bump.lock")
    shop.type("run", "--force", expect=[0, 1, 3])
    let_through(shop, "rapidfuzz 3, the gate overruled for the demo")
    return shop.wait_for_end("rolled_back")


def let_through(shop: Shop, reason: str) -> None:
    """The last candidate before half of the shoppers, though the gate said no."""
    shop.type("register")
    shop.type("stage")
    shop.wait_for_traffic(BASELINE_HOURS)
    shop.type("release", "drill")
    shop.type("release", "start", "--override", reason)


def next_one(shop: Shop) -> None:
    """Meanwhile the next candidate is made: work does not stop for a canary."""
    shop.set_parameters(features="lexical", rounds=48)
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
    shop.say(f"kill -9 {shop.gateway.pid} {shop.controller.pid}: the gateway and the controller")
    for process in (shop.gateway, shop.controller):
        process.kill()
        process.wait()
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
        f"\n{counts['answered']:,} searches answered, {counts['failed']:,} not (while the gateway was dead), "
        f"{counts['clicks']:,} clicks; [bold]{len(missing)} answers are missing from the log.[/bold]"
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
    champion(shop)
    shop.title(f"2  Live: an hour passes in {3600 / SPEED:.1f} s, with {RATE:g} searches")
    with shop.opened():
        acts = [harmful, broken, promoted] if given.data is None else [bumped]
        releases = [act(shop) for act in acts]
    ending(shop, releases)
    console.print(f"[bold green]Done in {time.monotonic() - started:.0f} s.[/bold green]")


if __name__ == "__main__":
    if sys.argv[1:2] == ["gateway"]:
        run_gateway(FastClock.parse(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["controller"]:
        run_controller(FastClock.parse(sys.argv[2]))
    else:
        main()
