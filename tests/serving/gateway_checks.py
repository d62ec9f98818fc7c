"""What must hold after gateways were killed: the log has what was answered, and what starts again agrees with the ledger."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.evidence.delta import open_tables
from holdfast.release.attempt import Attempt, Status
from holdfast.release.controller import Controller
from holdfast.release.routing import TrafficRouter
from holdfast.serving.log.housekeeping import Housekeeping
from holdfast.serving.log.segments import damaged, sealed, unsealed
from holdfast.verdict import Verdict
from tests.release.world import MODEL, World
from tests.serving.numbered import TOKEN


def unlogged(world: World, segments: Path, answers: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """What is wrong with the log once nothing is written any more: answers (id, variant, version) that it has not got exactly
    once and as they were told, and files that cannot be read.
    """
    keeper = Housekeeping(segments, world.ledger, MODEL, clock=lambda: datetime.now(UTC), complain=lambda _: None)
    yield from keeper.once().complaints
    for found in (damaged, sealed, unsealed):
        yield from (f"{path} was left" for path in found(segments, "predictions"))
    logged: dict[str, tuple[str | None, str]] = {}
    count: Counter[str] = Counter()
    table = open_tables(world.ledger.store, MODEL).predictions
    for file in table.files():
        columns = table.read(file, ["prediction_id", "served_by"])
        ids, versions = columns["prediction_id"].to_pylist(), columns["served_by"].to_pylist()
        logged |= {name: (file.partition["variant"], version) for name, version in zip(ids, versions, strict=True)}
        count.update(ids)
    yield from (f"{name} is in the log {times} times" for name, times in count.items() if times > 1)
    for name, variant, version in answers:
        if logged.get(name) != (variant, version):
            yield f"{name} was answered by {variant} {version}, in the log it is {logged.get(name)}"


class Quiet:
    """No evidence."""

    def look(self, attempt: Attempt, now: datetime) -> None:
        return None


def settled(world: World, router: TrafficRouter, ports: Sequence[int], seconds: float = 120.0) -> list[str]:
    """What ledger, aliases, router and gateways still differ in when a controller has had so long; `ports` are admin ports."""
    controller = Controller(world.ledger, world.registry, router, MODEL, Quiet())
    until = time.monotonic() + seconds
    while True:
        found = [*controller.tick().complaints, *different(world, router, ports)]
        if not found or time.monotonic() > until:
            break
        time.sleep(0.2)
    return found + [check.message for check in world.ledger.verify() if check.verdict is not Verdict.PASS]


def different(world: World, router: TrafficRouter, ports: Sequence[int]) -> Iterator[str]:
    state = world.state
    wanted = {role: number for role, number in state.aliases().items() if number is not None}
    aliases = {role: number for role, number in world.aliases.items() if role in state.mentioned}
    if aliases != wanted:
        yield f"the aliases are {aliases}, the ledger says {wanted}"
    told = router.read()
    if state.routing is None or told is None or not told.same_as(state.routing):
        yield f"the router was told {told}, the ledger says {state.routing}"
    elif any(status_of(port)["serves"] != state.routing.to_json() for port in ports):
        yield f"gateways serve {[status_of(port)['serves'] for port in ports]}, the ledger says {state.routing}"
    if state.living is not None and state.living.status not in (Status.RUNNING, Status.HELD):
        yield f"release {state.living.id} stands still: {state.living.status}"


def status_of(port: int) -> dict[str, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/status", headers={"authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.loads(answer.read()))
