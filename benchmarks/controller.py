"""A controller's round on a local store, and from the decision to the router told, beside reading the ledger anew each time."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.fixtures.registries import fresh_sqlite, log_files
from tests.release.world import MODEL, POLICY, POLICY_DIGEST, World
from tests.traffic import write_traffic

from holdfast.config.schema import ReleaseConfig
from holdfast.evidence.log import FileLog
from holdfast.ledger import Ledger
from holdfast.registry import open_registry
from holdfast.release import fold, stream_of
from holdfast.release.canaries import start
from holdfast.release.canary.planning import canary_plan
from holdfast.release.commands import Start
from holdfast.release.controller import Controller
from holdfast.release.drill import drill
from holdfast.release.lease import Lease
from holdfast.release.routers.files import FileRouter
from holdfast.release.routing import Routing
from holdfast.release.watch import LogWatch
from holdfast.store import open_store
from holdfast.verdict import utc_text

EVENTS = 400  # earlier events in the ledger
ROUNDS = 60
CANARY = {"steps": [{"share": 0.05, "hours": 4}, {"share": 0.1}], "max_hours": 72}
GUARDRAILS = {
    "click": {"max_drop": 0.005, "absent": "zero", "delay": "1s"},
    "error": {"max_rise": 0.01},
    "latency_p99_ms": {"max_rise": 50},
}


class TimedRouter(FileRouter):
    """Notes when it was told to take everybody back."""

    told_back = 0.0

    def apply(self, routing: Routing) -> None:
        super().apply(routing)
        if routing.canary is None:
            self.told_back = time.perf_counter()


class TimedWatch(LogWatch):
    """Notes when the evidence was judged."""

    judged = 0.0

    def look(self, attempt, now):  # type: ignore[no-untyped-def]
        found = super().look(attempt, now)
        self.judged = time.perf_counter()
        return found


def prepared(folder: Path) -> tuple[World, TimedRouter]:
    """A champion, a staged candidate, a long ledger, a running canary."""
    uri = fresh_sqlite(folder)
    world = World(open_registry(uri, folder), open_store(folder / "store"))
    world.ledger = Ledger(world.ledger.store, who="bench")
    runs = {name: log_files(uri) for name in ("one", "two")}
    world.uri_of = runs.__getitem__  # type: ignore[method-assign]
    world.release("one")
    for _ in range(EVENTS):
        world.judge("one")
    world.stage("two")
    router = TimedRouter(folder / "routing.json")
    drill(world.ledger, world.registry, router, MODEL)
    plan = canary_plan(
        ReleaseConfig.model_validate({"canary": CANARY, "guardrails": GUARDRAILS}), slow_ms=100.0, rate=100.0
    )
    now = utc_text(datetime.now(UTC))
    command = Start(plan=plan, policy=POLICY, policy_digest=POLICY_DIGEST, router=router.name, now=now)
    start(world.ledger, world.registry, router, MODEL, command)
    return world, router


def timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - begun)


def main() -> None:
    """Print milliseconds of a round while traffic comes in, and of the rollback once it does harm."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        world, router = prepared(folder)
        watch = TimedWatch(
            FileLog(folder / "log" / "predictions", folder / "log" / "outcomes"), world.ledger.store, MODEL
        )
        lease = Lease(world.ledger.store, MODEL, "bench")
        write_traffic(folder / "log", datetime.now(UTC) - timedelta(hours=1), 3000, 20_000, 4_000)
        controller = Controller(world.ledger, world.registry, router, MODEL, watch, lease=lease)
        print(f"  first round, {len(world.events)} events in the ledger: {timed(controller.tick):.0f} ms")
        taken = []
        for number in range(ROUNDS):
            routing = router.read()
            write_traffic(
                folder / "log", datetime.now(UTC), 0.1, 200, 60, routing=routing, clicks=(0.2, 0.2), seed=number + 1
            )
            time.sleep(0.12)
            taken.append(timed(controller.tick))
        median, worst = statistics.median(taken), max(taken)
        print(f"  a round: median {median:.1f} ms, most {worst:.1f} ms (< 50 ms: {'met' if median < 50 else 'MISSED'})")
        events = world.ledger.read(stream_of(MODEL))
        anew = timed(lambda: fold(Ledger(world.ledger.store).read(stream_of(MODEL))))
        print(f"  reading and folding the {len(events)} events anew: {anew:.0f} ms (ratio {anew / median:.1f})")
        write_traffic(
            folder / "log", datetime.now(UTC), 0.5, 8_000, 6_000, routing=router.read(), clicks=(0.4, 0.0), seed=999
        )
        time.sleep(2.2)
        controller.tick()
        told = 1000 * (router.told_back - watch.judged)
        print(f"  from the decision to the router told: {told:.0f} ms (< 200 ms: {'met' if told < 200 else 'MISSED'})")


if __name__ == "__main__":
    main()
