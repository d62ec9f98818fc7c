"""Real processes that are killed with SIGKILL at random moments, on a real store, a real registry and a real routing file.

The parent keeps what each process acknowledged; what was acknowledged must be in the ledger for good.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.ledger import Ledger
from holdfast.registry import open_registry
from holdfast.release import read_state
from holdfast.release.attempt import Attempt, Status
from holdfast.release.canaries import finish, pause, resume, start, take_back
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.commands import Start
from holdfast.release.controller import Controller, Sighting
from holdfast.release.drill import drill
from holdfast.release.routers.files import FileRouter
from holdfast.release.routing import TrafficRouter
from holdfast.store import open_store
from holdfast.verdict import Verdict, utc_text
from tests.release.steered import REPORT, plan
from tests.release.world import MODEL, POLICY, POLICY_DIGEST, World

# Imported once by the server that forks each process, which is then ready in some milliseconds.
PRELOADED = [
    "tests.release.kills",
    "holdfast.registry.mlflow",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
]
NAMES = ("one", "two", "three", "four", "five", "six")
ACTS = ("stage", "drill", "start", "tick", "tick", "tick", "tick", "pause", "resume", "finish", "back", "rollback")


class RunsWorld(World):
    """Each name is a real run's model."""

    sources: dict[str, str]

    def uri_of(self, name: str) -> str:
        return self.sources[name]


@dataclass(frozen=True)
class Place:
    """Where everything is kept; given to each process by value."""

    store: str
    registry: str
    routing: str
    sources: dict[str, str]
    environ: dict[str, str]

    def world(self) -> World:
        os.environ.update(self.environ)  # the fork server may be older than the bucket
        world = RunsWorld(open_registry(self.registry, Path("/")), open_store(self.store))
        world.sources = self.sources
        world.ledger = Ledger(world.ledger.store, who=f"process {os.getpid()}")
        return world

    def router(self) -> FileRouter:
        return FileRouter(self.routing)


class RandomWatch:
    """Evidence that changes its mind."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def look(self, attempt: Attempt, now: datetime) -> Sighting:
        del now
        weights = {
            Decision.CONTINUE: 6,
            Decision.ADVANCE: 4,
            Decision.PROMOTE: 4,
            Decision.ROLL_BACK: 2,
            Decision.INVALID: 1,
        }
        decision = self.dice.choices(list(weights), list(weights.values()))[0]
        if decision is Decision.ADVANCE and attempt.step == attempt.plan.last:
            decision = Decision.CONTINUE
        return Sighting(Judgement(decision, "the dice"), None, REPORT)


def act(place: Place, seed: int, told: Connection) -> None:
    """One process: random commands until it is killed; each event is acknowledged after the command returned."""
    dice = random.Random(seed)
    world, router = place.world(), place.router()
    controller = Controller(world.ledger, world.registry, router, MODEL, RandomWatch(dice))
    told.send("ready")
    while True:
        before = len(world.events)
        with suppress(HoldfastError):
            do(dice.choice(ACTS), dice, world, router, controller)
        events = world.events[before:]
        told.send([[event.number, event.digest] for event in events])


def do(what: str, dice: random.Random, world: World, router: TrafficRouter, controller: Controller) -> None:
    ledger, registry = world.ledger, world.registry
    if what == "stage":
        world.stage(dice.choice(NAMES))
        if world.state.champion is None:
            world.promote()
    elif what == "drill":
        drill(ledger, registry, router, MODEL)
    elif what == "start":
        now = utc_text(ledger.clock())
        start(
            ledger,
            registry,
            router,
            MODEL,
            Start(plan=plan(), policy=POLICY, policy_digest=POLICY_DIGEST, router=router.name, now=now),
        )
    elif what == "tick":
        controller.tick()
    elif what == "rollback":
        world.rollback()
    else:
        _command(what, world, router)


def _command(what: str, world: World, router: TrafficRouter) -> None:
    if what == "pause":
        pause(world.ledger, MODEL, reason="the dice")
    elif what == "resume":
        resume(world.ledger, MODEL)
    elif what == "finish":
        finish(world.ledger, world.registry, router, MODEL, reason="the dice")
    else:
        take_back(world.ledger, router, MODEL, reason="the dice")


@dataclass(frozen=True)
class Outcome:
    """What many kills did."""

    kills: int
    events: int
    lost: int
    diverged: int
    types: dict[str, int]


def kill_many(place: Place, kills: int, seed: int, *, together: int = 2, longest: float = 0.6) -> Outcome:
    """Let `together` processes act at once and kill each at a random moment, `kills` times in all; then count the damage.

    They live for at most `longest` seconds, or as long as reading and reconciling just took, where that is slow.
    """
    dice = random.Random(seed)
    context = multiprocessing.get_context("forkserver")
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])  # else it cannot import this module beforehand
    context.set_forkserver_preload(PRELOADED)
    prepared(place)
    acknowledged: dict[int, str] = {}
    lost = diverged = done = 0
    life = longest
    while done < kills:
        pipes = []
        for _ in range(together):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=act, args=(place, dice.randrange(2**31), theirs))
            process.start()
            theirs.close()
            pipes.append((process, ours))
        for _, pipe in pipes:
            pipe.recv()
        for process, pipe in sorted(pipes, key=lambda _: dice.random()):
            time.sleep(dice.uniform(0, life))
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            lost += _read(pipe, acknowledged)
            done += 1
        begun = time.monotonic()
        diverged += reconciled_and_different(place)
        life = max(longest, time.monotonic() - begun)
    events = place.world().events
    lost += sum(events[number].digest != digest for number, digest in acknowledged.items())
    types: dict[str, int] = {}
    for event in events:
        types[event.type] = types.get(event.type, 0) + 1
    return Outcome(done, len(events), lost, diverged, types)


def prepared(place: Place) -> None:
    """A champion, a drilled way back and a running canary to begin with."""
    world, router = place.world(), place.router()
    world.release("one")
    controller = Controller(world.ledger, world.registry, router, MODEL, RandomWatch(random.Random(0)))
    controller.tick()
    world.stage("two")
    do("drill", random.Random(0), world, router, controller)
    do("start", random.Random(0), world, router, controller)


def _read(pipe: Any, acknowledged: dict[int, str]) -> int:
    """What a killed process had acknowledged; how often two processes acknowledged different events of one number."""
    different = 0
    with suppress(EOFError, OSError, json.JSONDecodeError):
        while True:
            for number, digest in pipe.recv():
                different += acknowledged.setdefault(number, digest) != digest
    return different


def reconciled_and_different(place: Place) -> int:
    """Whether ledger, aliases and router disagree after a controller's rounds, the chain is broken, or nothing moves."""
    world, router = place.world(), place.router()

    class Quiet:
        def look(self, attempt: Attempt, now: datetime) -> None:
            return None

    controller = Controller(world.ledger, world.registry, router, MODEL, Quiet())
    for _ in range(3):
        ticked = controller.tick()
        if ticked.complaints:
            return 1
    state = read_state(world.ledger, MODEL)
    if (
        state.drill is not None and state.drill.is_living
    ):  # closed after a minute; its users are taken back by the next one
        drill(world.ledger, world.registry, router, MODEL)
        controller.tick()
        state = read_state(world.ledger, MODEL)
    wanted = {role: number for role, number in state.aliases().items() if number is not None}
    found = {role: number for role, number in world.aliases.items() if role in state.mentioned}
    routed = router.read()
    stuck = state.living is not None and state.living.status not in (Status.RUNNING, Status.HELD)
    broken = any(check.verdict is not Verdict.PASS for check in world.ledger.verify())
    strays = state.routing is not None and (routed is None or not routed.same_as(state.routing))
    return int(wanted != found or strays or stuck or broken)
