"""Shares raised and rolled back under load, HAProxy beside nginx: failed requests, `apply`, and the last canary answer."""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from tests.release.routers.load import Answer, Load
from tests.release.routers.proxies import HAProxy, Nginx, Servers, installed, wait_for

from holdfast.release.routing import Routing, TrafficRouter

ROUNDS = 60
HOLD = 0.15  # seconds of each share


@dataclass
class Times:
    """Milliseconds: how long `apply` took, and from its call until the last answer of the canary."""

    raised: list[float] = field(default_factory=list)
    rolled_back: list[float] = field(default_factory=list)
    last_canary: list[float] = field(default_factory=list)


def main() -> None:
    """HAProxy without and with keeping what it was told for its next start, beside nginx, which is reloaded."""
    haproxy, nginx = installed("haproxy"), installed("nginx")
    if haproxy is None or nginx is None:
        print("haproxy or nginx is not installed: nothing measured")
        return
    servers = Servers()
    servers.start("1", "2")
    try:
        measure("HAProxy, map only", HAProxy(haproxy, servers), {"keep": False})
        ours = measure("HAProxy, kept on disk", HAProxy(haproxy, servers), {"keep": True})
        peer = measure("nginx, reloaded", Nginx(nginx, servers), {})
    finally:
        servers.close()
    print(f"ratio of the last canary answer {peer / ours:.1f}, target: no failed request with HAProxy")


def measure(name: str, proxy: AbstractContextManager[Any], options: dict[str, Any]) -> float:
    """One proxy under load from another process, its figures printed. The median time to the last canary answer, ms."""
    context = multiprocessing.get_context("spawn")
    with proxy as running:
        router: TrafficRouter = running.router(**options)
        stop, answered = context.Event(), context.Queue()
        load = context.Process(target=send, args=(running.port, stop, answered))
        load.start()
        wait_for(lambda: not answered.empty())
        answered.get()
        told, began = rounds(router), time.monotonic()
        stop.set()
        answers: list[Answer] = answered.get()
        load.join()
    return report(name, answers, told, began - told[0][1])


def send(port: int, stop: threading.Event, answered: multiprocessing.Queue) -> None:
    """Load until told to stop; says once that it has begun, then all answers. The monotonic clock is the machine's."""
    with Load(port, connections=8) as load:
        answered.put("begun")
        stop.wait()
    answered.put(load.answers)


def rounds(router: TrafficRouter) -> list[tuple[float, float, float]]:
    """Share, call and return of each `apply`: half of the users, then nobody."""
    told = []
    for epoch in range(1, 2 * ROUNDS + 1):
        share = 0.5 if epoch % 2 else 0.0
        called = time.monotonic()
        router.apply(Routing(model="m", epoch=epoch, champion="1", canary="2", share=share, release="r"))
        told.append((share, called, time.monotonic()))
        time.sleep(HOLD)
    return told


def report(name: str, answers: list[Answer], told: list[tuple[float, float, float]], seconds: float) -> float:
    """Print what users and the controller saw. The median time to the last canary answer, milliseconds."""
    times = Times()
    canary = [answer.at for answer in answers if answer.variant == "canary"]
    ends = [called for _, called, _ in told[1:]] + [float("inf")]
    for (share, called, returned), end in zip(told, ends, strict=True):
        (times.raised if share else times.rolled_back).append((returned - called) * 1000)
        if not share:
            times.last_canary.append(max((at - called for at in canary if called < at < end), default=0.0) * 1000)
    failed = sum(answer.status != 200 for answer in answers)
    print(f"{name:22} {len(answers)} requests in {seconds:.0f} s, {failed} failed, {len(told)} changes")
    for what, found in (
        ("apply, share raised", times.raised),
        ("apply, rolled back", times.rolled_back),
        ("last canary answer", times.last_canary),
    ):
        print(f"  {what:22} p50 {statistics.median(found):6.1f} ms   p99 {percentile(found, 0.99):6.1f} ms")
    return statistics.median(times.last_canary)


def percentile(values: list[float], part: float) -> float:
    """The smallest value that at least `part` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


if __name__ == "__main__":
    main()
