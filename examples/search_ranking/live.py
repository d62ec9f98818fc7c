"""The shop at work: gateway, controller and shoppers, each doing what it does in production, by a clock that is too fast.

`live.py gateway CLOCK PORT` is `holdfast serve` and `live.py controller CLOCK` is `holdfast release control` by a clock that is
handed to them, as everything that judges takes it. Leases, polls and flushes are of real time.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "src"))

import pandas as pd
from demo import Demo, console

from holdfast.cli.app import app
from holdfast.pipeline.canary import Canary
from holdfast.pipeline.workspace import Workspace
from holdfast.release import ReleaseState
from holdfast.release.attempt import Status
from search_ranking.clock import FastClock
from search_ranking.shoppers import Shoppers, queries_of
from search_ranking.storefront import Storefront

CONFIG = "holdfast.canary.yaml"
SPEED = 2250.0  # an hour in 1.6 s
RATE = 240.0  # searches an hour; 150 a second are less than half a core's work
ROWS = 12  # products of a search
LOG_SECONDS = 3.0  # that a request needs at most until it is in the log's tables
STILL_SECONDS = 10.0  # after which a replica that tells nothing new stands still
LOOK_SECONDS = 0.3  # between two looks of the controller


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
    controller = canary.controller(lease=canary.lease())
    said: tuple[str, ...] = ()
    while True:
        ticked = controller.tick()
        fresh = [f"! {line}" for line in ticked.complaints if line not in said]
        said = ticked.complaints
        told = [line for line in ticked.events if "has confirmed" not in line]
        for line in [*told, *fresh]:
            print(f"    {clock.hours:5.1f} h  {line}", flush=True)
        time.sleep(LOOK_SECONDS)


class Shop(Demo):
    """A copy of the example in a folder of its own, with its gateway, its controller and its shoppers."""

    clock: FastClock
    front: Storefront
    gateway: subprocess.Popen[str] | None = None
    controller: subprocess.Popen[str] | None = None
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
        try:
            console.print("[bold cyan]$ holdfast serve &[/bold cyan]")
            self.start_gateway()
            console.print("[bold cyan]$ holdfast release control &[/bold cyan]")
            self.start_controller()
            shoppers = Shoppers(queries_of(pd.read_parquet("data/train.parquet"), ROWS), RATE)
            with Storefront(shoppers, self.clock, self.port) as self.front:
                yield
        finally:
            for process in self.processes[::-1]:
                process.terminate()
                process.wait(60)

    @property
    def processes(self) -> list[subprocess.Popen[str]]:
        """The gateway and the controller, as far as they were started."""
        return [process for process in (self.gateway, self.controller) if process is not None]

    def kill(self) -> None:
        """As the loss of power does."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.gateway = self.controller = None

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
            program = [sys.executable, str(HERE / "live.py"), what, str(self.clock), *words]
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
        self._until(lambda: self._is_running(self.state()), 200)
        begun = self.clock.hours
        self._until(lambda: self.clock.hours >= begun + hours, 120)
        return self.state()

    def _is_running(self, state: ReleaseState) -> bool:
        return state.attempt is not None and (state.attempt.since is not None or state.living is None)

    def wait_for_end(self, expected: str, metric: str | None = None) -> str:
        """Until nobody is in a canary any more; the release's id. Stop the demo where it ended otherwise than expected."""
        self._until(lambda: self.state().living is None or self.state().attempt.status is Status.HELD, 300)
        attempt = self.state().attempt
        if attempt.status.value != expected or metric not in (None, attempt.metric):
            sys.exit(
                f"expected the release to be {expected}, found it {attempt.status.value}: {attempt.why} The demo stops."
            )
        return attempt.id

    def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        """Wait for it; stop the demo where it does not come about, or where a process has died."""
        patient = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > patient or any(process.poll() is not None for process in self.processes):
                sys.exit("that took too long: read gateway.log and controller.log")
            time.sleep(0.1)


if __name__ == "__main__":
    what, by = sys.argv[1], FastClock.parse(sys.argv[2])
    if what == "gateway":
        run_gateway(by, int(sys.argv[3]))
    else:
        run_controller(by)
