"""A project with six models that answer with their number, and gateways of it in processes that start in no time."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from holdfast.ledger import Ledger
from holdfast.models.reference import model_digest
from holdfast.registry import open_registry
from holdfast.release.canaries import start
from holdfast.release.commands import Start
from holdfast.release.routers.gateway import GatewayRouter
from holdfast.store import open_store
from holdfast.verdict import utc_text
from tests.fixtures.registries import fresh_sqlite, log_files
from tests.release import kills
from tests.release.kills import NAMES
from tests.release.steered import plan
from tests.release.world import MODEL, POLICY, POLICY_DIGEST
from tests.serving.numbered_model import MLMODEL

TOKEN = "a test's token"
PRELOADED = [
    *kills.PRELOADED,
    "tests.serving.gateway_kills",
    "tests.serving.numbered_model",
    "holdfast.pipeline.serving",
    "deltalake",
    "mlflow.pyfunc",
    "pandas",
    "uvloop",
]
CONFIG = """
version: 1
model: {model}
registry: {registry}
store: {store}
data: {{train: train.parquet, label: y}}
release: {{router: "gateway:"}}
serving:
  mode: in_process
  allow_other_environment: {versions}
  port: 0
  admin_port: 0
  log: {{folder: {log}, compact_every: 500ms}}
"""


class NumberedWorld(kills.RunsWorld):
    """Each name is a real run's model, whose files have this digest."""

    digests: dict[str, str]

    def digest_of(self, name: str) -> str:
        return self.digests[name]

    def begin_canary(self, router: GatewayRouter, *shares: float) -> None:
        """Start a release of the candidate."""
        steps = [{"share": share, "hours": 4} for share in shares[:-1]] + [{"share": shares[-1]}]
        now = utc_text(self.ledger.clock())
        asked = Start(plan=plan(steps=steps), policy=POLICY, policy_digest=POLICY_DIGEST, router=router.name, now=now)
        start(self.ledger, self.registry, router, MODEL, asked)


@dataclass(frozen=True)
class Place(kills.Place):
    """The project in `folder`; the model called NAMES[n] answers n + 1. Given to each process by value."""

    folder: str
    digests: dict[str, str]

    @classmethod
    def made(cls, folder: Path, *logs: str) -> Place:
        """A store on a folder, MLflow on SQLite, a champion: the first of the models, and a project's file for each folder
        that gateways keep their segments in.
        """
        registry = fresh_sqlite(folder)
        sources, digests = {}, {}
        for number, name in enumerate(NAMES, 1):
            files = folder / "models" / name
            files.mkdir(parents=True)
            (files / "MLmodel").write_text(MLMODEL.format(number=number))
            sources[name] = log_files(registry, MLMODEL.format(number=number))
            digests[name] = model_digest(files)
        place = cls(str(folder / "store"), registry, "", sources, {}, str(folder), digests)
        place.world().release(NAMES[0])
        versions = json.dumps([str(number) for number in range(1, len(NAMES) + 1)])
        for log in logs:
            text = CONFIG.format(model=MODEL, registry=registry, store=place.store, versions=versions, log=log)
            place.project(log).write_text(text)
        return place

    def world(self) -> NumberedWorld:
        world = NumberedWorld(open_registry(self.registry, Path("/")), open_store(self.store))
        world.sources, world.digests = self.sources, self.digests
        world.ledger = Ledger(world.ledger.store, who=f"process {os.getpid()}")
        return world

    def gateway_router(self) -> GatewayRouter:
        return GatewayRouter(open_store(self.store), MODEL)

    def segments(self, log: str) -> Path:
        return Path(self.folder) / log

    def project(self, log: str) -> Path:
        """The project's file of gateways that keep their segments in the folder `log`."""
        return Path(self.folder) / f"{log}.yaml"


def forking() -> Any:
    """Makes processes that have imported all that a gateway needs."""
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])  # else it cannot import this module beforehand
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def started(place: Place, context: Any, log: str) -> tuple[Any, Any]:
    """A gateway's process, and where it tells its ports and its name."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(place, log, theirs))
    process.start()
    theirs.close()
    return process, ours


@contextmanager
def gateways(place: Place, context: Any, *logs: str) -> Iterator[list[Any]]:
    """Gateways with these folders for their logs; where they listen. They are killed at the end."""
    found = [started(place, context, log) for log in logs]
    try:
        yield [pipe.recv() for _, pipe in found]
    finally:
        for process, _ in found:
            process.kill()
            process.join()


def serve(place: Place, log: str, told: Connection) -> None:
    """A gateway, as `holdfast serve` runs it."""
    from holdfast.pipeline.serving import Replica
    from holdfast.pipeline.workspace import Workspace
    from holdfast.serving import json_lines
    from holdfast.serving.server import run

    gc.freeze()  # of the server that it was forked from: looking through all that takes longer than the start
    write_down(place)
    json_lines.configure()
    run(Replica(Workspace.open(place.project(log))).run(started=told.send))


def write_down(place: Place) -> None:
    """What this process says goes into the folder."""
    os.environ["HOLDFAST_ADMIN_TOKEN"] = TOKEN
    handle = os.open(Path(place.folder) / "said.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(handle, number)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
