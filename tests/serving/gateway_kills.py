"""Real gateways on one folder, killed with SIGKILL at random moments under load, while a controller moves the release.

    mover      a process that stages, drills, starts, ticks, finishes and rolls back, as the dice say
    gateways   several at once, each with its own stream of the log; each is killed, and another one takes its place
    clients    keep what they were told: the prediction's id, variant and version, and the answer, which names the model

What a client was told must be in the log, exactly once and with the same variant and version.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from benchmarks import load

from holdfast.errors import HoldfastError
from holdfast.release.controller import Controller
from holdfast.release.routers.gateway import GatewayRouter
from tests.release import kills
from tests.release.world import MODEL
from tests.serving.gateway_checks import settled, unlogged
from tests.serving.numbered import NumberedWorld, Place, forking, gateways, started, write_down

ACTS = ("stage", "drill", "start", "start", *["tick"] * 20, "pause", "resume", "resume", "finish", "back", "rollback")
LOG = "log"  # one folder for all: each claims a stream of its own in it
CONNECTIONS = 6
PAUSE = 0.004  # seconds between an answer and the next request of a connection


def move(place: Place, seed: int, pipe: Connection) -> None:
    """Random commands; "rest" lets it stand still until the next word."""
    write_down(place)
    dice = random.Random(seed)
    world, router = place.world(), place.gateway_router()
    controller = Controller(world.ledger, world.registry, router, MODEL, kills.RandomWatch(dice))
    while True:
        if pipe.poll(dice.uniform(0, 0.1)):
            pipe.recv()
            pipe.send("resting")
            pipe.recv()
        with suppress(HoldfastError):
            act(dice.choice(ACTS), dice, world, router, controller)


def act(what: str, dice: random.Random, world: NumberedWorld, router: GatewayRouter, controller: Controller) -> None:
    if what == "start":
        world.begin_canary(router, 0.2, 0.5)
    else:
        kills.do(what, dice, world, router, controller)


# --- clients --------------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What a client was told."""

    id: str
    variant: str
    version: str
    number: float  # the model's own


class Client(load.Client):
    """Keeps the last answer's headers and body."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: dict[str, str] = {}
        self.body = b""

    def on_message_begin(self) -> None:
        self.headers, self.body = {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    @property
    def told(self) -> Answer:
        named = (self.headers[f"x-holdfast-{name}"] for name in ("prediction-id", "variant", "version"))
        return Answer(*named, json.loads(self.body)["predictions"][0])


@dataclass
class Clients:
    """Of one gateway: they ask until it is killed."""

    port: int
    seed: int
    answers: list[Answer] = field(default_factory=list)
    refusals: Counter[int] = field(default_factory=Counter)
    first: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, number: int) -> None:
        loop, dice = asyncio.get_running_loop(), random.Random(self.seed + number)
        _, client = await loop.create_connection(Client, "127.0.0.1", self.port)
        while client.is_open:
            body = json.dumps({"dataframe_split": {"columns": ["x"], "data": [[dice.random()]]}}).encode()
            request = load.post("/invocations", body, {"x-holdfast-unit": f"user {dice.randrange(500)}"})
            status = await client.send(request, loop)
            if status == 200:
                self.answers.append(client.told)
                self.first.set()
            elif status:
                self.refusals[status] += 1
            await asyncio.sleep(PAUSE if status == 200 else 0.02)


# --- gateways that are killed ---------------------------------------------------------------------------------------


@dataclass
class Killed:
    """What all of them did. `starts` are seconds to the first answer, `early` were killed before one."""

    kills: int = 0
    early: int = 0
    answers: list[Answer] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    refusals: Counter[int] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)
    checks: int = 0
    types: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        median = statistics.median(self.starts) if self.starts else float("nan")
        return (
            f"{self.kills} kills, {self.early} of them before the first answer; {len(self.answers)} answers, all logged once; "
            f"{self.checks} checks; median start {median:.2f} s; refusals {dict(self.refusals)}; ledger {dict(self.types)}"
        )


class Slot:
    """One place in which a gateway runs, is killed, and is followed by another one."""

    def __init__(self, place: Place, context: Any, seed: int, found: Killed) -> None:
        self.place, self.context, self.dice, self.found = place, context, random.Random(seed), found

    def live(self, longest: float) -> None:
        """Start a gateway, load it, kill it at a random moment."""
        begun = time.monotonic()
        process, pipe = started(self.place, self.context, LOG)
        try:
            if self.dice.random() < 0.1:  # in the middle of its start
                time.sleep(self.dice.uniform(0, statistics.median(self.found.starts or [1.0])))
                self.found.early += 1
                return
            asyncio.run(self._load(pipe.recv().port, process.pid, longest, begun))
        except EOFError:
            self.found.troubles.append("a gateway ended by itself")
        finally:
            process.kill()
            process.join()
            self.found.kills += 1

    async def _load(self, port: int, process: int, longest: float, begun: float) -> None:
        clients = Clients(port, self.dice.randrange(2**31))
        asking = [asyncio.create_task(clients.ask(number)) for number in range(CONNECTIONS)]
        try:
            async with asyncio.timeout(300):
                await clients.first.wait()
            self.found.starts.append(time.monotonic() - begun)
            await asyncio.sleep(self.dice.uniform(0, max(longest, statistics.median(self.found.starts))))
        except TimeoutError:
            self.found.troubles.append(f"a gateway did not answer within five minutes: {dict(clients.refusals)}")
        os.kill(process, signal.SIGKILL)
        await asyncio.gather(*asking, return_exceptions=True)
        self.found.answers += clients.answers
        self.found.refusals += clients.refusals


def kill_many(
    place: Place, kill: int, seed: int, *, together: int = 3, every: int = 60, longest: float = 3.0
) -> Killed:
    """Kill gateways so often; check after `every` kills and at the end. The release is moved all the while.

    They answer for at most `longest` seconds, or as long as starting takes, where that is slow.
    """
    context = forking()
    found = Killed()
    slots = [Slot(place, context, seed + number, found) for number in range(together)]
    with moving(place, context, seed) as rest:
        while found.kills < kill and not found.troubles:
            batch = min(every, kill - found.kills)
            left = itertools.islice(itertools.count(), batch)
            threads = [threading.Thread(target=_work, args=(slot, left, longest)) for slot in slots]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with rest():
                found.troubles += troubles(place, context, found.answers, together)
            found.checks += 1
    found.types = Counter(event.type for event in place.world().events)
    return found


def _work(slot: Slot, left: Iterator[int], longest: float) -> None:
    for _ in left:
        slot.live(longest)


@contextmanager
def moving(place: Place, context: Any, seed: int) -> Iterator[Any]:
    """The mover at work; what it gives lets it rest for a while."""
    ours, theirs = context.Pipe()
    process = context.Process(target=move, args=(place, seed, theirs))
    process.start()

    @contextmanager
    def rest() -> Iterator[None]:
        ours.send("rest")
        ours.recv()
        yield
        ours.send("go on")

    try:
        yield rest
    finally:
        process.kill()
        process.join()


def troubles(place: Place, context: Any, answers: list[Answer], together: int) -> list[str]:
    """What is wrong with the log, and with gateways that have just started."""
    world = place.world()
    found = list(unlogged(world, place.segments(LOG), [answer[:3] for answer in answers]))
    commits = {version: released.lineage["commit"] for version, released in world.state.versions.items()}
    for answer in answers:
        if kills.NAMES.index(commits[answer.version]) + 1 != answer.number:
            found.append(f"{answer} is another model's")
    with gateways(place, context, *[LOG] * together) as listening:
        found += settled(world, place.gateway_router(), [at.admin_port for at in listening])
    return found
