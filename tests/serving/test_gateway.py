"""The road of one request, without a socket: who answers, what is logged, what counts against the canary."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from holdfast.serving.admission import Overloaded
from holdfast.serving.gateway import Answered, Asked, Gateway, NotReady, NotServing, Trip, Unanswered
from holdfast.serving.log.writer import LogUnavailable
from holdfast.serving.payload import Payload, tensor
from holdfast.serving.served import BadInput, ModelFault
from tests.serving.gateways import (
    MODEL,
    FunctionModel,
    Infer,
    MemorySink,
    raising,
    row_sums,
    settings,
    slow,
    table_with,
)

ROWS = tensor(np.array([[1.0, 2.0], [3.0, 4.0]]), "x")
_TABLE = table_with(FunctionModel("1"), FunctionModel("2"))
CANARY = [name for name in (f"u{n}" for n in range(400)) if _TABLE.is_canary(name)]
CHAMPION = [name for name in (f"u{n}" for n in range(400)) if not _TABLE.is_canary(name)]


def made(sink: Any = None, **given: Any) -> Gateway:
    more = {name: given.pop(name) for name in ("on_trip", "observe", "tracing") if name in given}
    return Gateway(MODEL, settings(timeout="50ms", **given), sink or MemorySink(), **more)


async def ask(gateway: Gateway, unit: str | None = None, payload: Payload = ROWS, **how: Any) -> Answered:
    return await gateway.answer(Asked(payload, lambda outputs, _: outputs.arrays[0].tolist(), unit, **how))


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def dying(payload: Payload) -> Payload:
    raise ModelFault("died", "its process is gone")


def nan(payload: Payload) -> Payload:
    return tensor(np.full(payload.rows, np.nan), "y")


def one_row_short(payload: Payload) -> Payload:
    return tensor(np.zeros(payload.rows - 1), "y")


def a_matrix(payload: Payload) -> Payload:
    return tensor(np.zeros((payload.rows, 2)), "y")


def refusing(payload: Payload) -> Payload:
    raise BadInput("expected three columns")


FAULTY: list[tuple[Infer, str]] = [
    (raising, "raised"),
    (refusing, "raised"),
    (dying, "died"),
    (nan, "nonsense"),
    (one_row_short, "nonsense"),
    (a_matrix, "nonsense"),
    (slow(10.0), "timed_out"),
    (lambda _: None, "raised"),  # type: ignore[arg-type,return-value]
]


@pytest.mark.parametrize(("function", "fault"), FAULTY)
def test_a_faulty_canary_costs_its_users_nothing_and_is_evidence(function: Infer, fault: str) -> None:
    async def work() -> None:
        sink = MemorySink()
        gateway = made(sink)
        gateway.route(table_with(FunctionModel("1"), FunctionModel("2", function)))
        await ask(gateway, CHAMPION[0])
        answered = await ask(gateway, CANARY[0])
        assert answered == ([3.0, 7.0], answered.prediction_id, "canary", "1")
        row = sink.rows[2]
        said = {
            "variant": "canary",
            "version": "2",
            "served_by": "1",
            "fault": fault,
            "override": False,
            "output": "3.0",
        }
        assert {name: row[name] for name in said} == said
        assert row["unit"] == CANARY[0] and row["share"] == 0.5 and row["release"] == "r1"
        assert gateway.metrics.faults["canary", "2", fault] == 1

    run(work)


def test_an_answer_that_cannot_be_written_is_a_fault_too() -> None:
    async def work() -> None:
        sink = MemorySink()
        gateway = made(sink)
        gateway.route(table_with(FunctionModel("1"), FunctionModel("2"), 1.0))

        def write(outputs: Payload, version: str) -> str:
            if version == "2":
                raise ModelFault("nonsense", "JSON has no word for it")
            return "written"

        answered = await gateway.answer(Asked(ROWS, write, "u"))
        assert (answered.content, answered.version) == ("written", "1")
        assert sink.rows[0]["fault"] == "nonsense"

    run(work)


@pytest.mark.parametrize(("function", "fault"), FAULTY[:1] + FAULTY[2:5] + FAULTY[6:7])
def test_the_champions_fault_is_told_and_logged_and_never_goes_to_the_canary(function: Infer, fault: str) -> None:
    async def work() -> None:
        sink, canary = MemorySink(), FunctionModel("2")
        gateway = made(sink)
        gateway.route(table_with(FunctionModel("1", function), canary))
        with pytest.raises(Unanswered) as found:
            await ask(gateway, CHAMPION[0])
        assert (found.value.fault, found.value.variant, found.value.version) == (fault, "champion", "1")
        assert canary.calls == 0
        assert [(row["fault"], row["output"], row["variant"]) for row in sink.rows] == [(fault, None, "champion")] * 2

    run(work)


def test_what_both_versions_fail_at_is_no_evidence_for_the_breaker() -> None:
    async def work() -> None:
        trips: list[Trip] = []
        sink = MemorySink()
        gateway = made(sink, on_trip=trips.append, breaker_faults=2)
        gateway.route(table_with(FunctionModel("1", raising), FunctionModel("2", raising), 1.0))
        for unit in CANARY[:10]:
            with pytest.raises(Unanswered):
                await ask(gateway, unit)
        assert not trips and not gateway.breaker.is_open
        assert {row["fault"] for row in sink.rows} == {"raised"}

    run(work)


@pytest.mark.parametrize("canary", [refusing, raising, slow(10.0)])
def test_a_request_that_is_wrong_is_the_clients_mistake_whatever_the_canary_made_of_it(canary: Infer) -> None:
    async def work() -> None:
        sink, trips = MemorySink(), []
        gateway = made(sink, on_trip=trips.append, breaker_faults=1)
        gateway.route(table_with(FunctionModel("1", refusing), FunctionModel("2", canary), 1.0))
        with pytest.raises(BadInput, match="three columns"):
            await ask(gateway, "u")
        assert not sink.rows and not trips and not gateway.metrics.faults

    run(work)


def test_the_breaker_opens_at_once_for_this_release_only() -> None:
    async def work() -> None:
        trips: list[Trip] = []
        sink, bad = MemorySink(), FunctionModel("2", raising)
        gateway = made(sink, on_trip=trips.append, breaker_faults=3)
        table = table_with(FunctionModel("1"), bad, 1.0)
        gateway.route(table)
        for unit in CANARY[:10]:
            assert (await ask(gateway, unit)).version == "1"
        assert bad.calls == 3
        assert [(trip.release, trip.version, trip.epoch) for trip in trips] == [("r1", "2", 1)]
        assert "3 units" in trips[0].reason
        rows = sink.rows[::2]
        assert [(row["fault"], row["override"]) for row in rows[2:4]] == [("raised", False), ("withheld", True)]
        assert {row["variant"] for row in rows} == {"canary"}

        gateway.route(replace(table, routing=replace(table.routing, epoch=2, share=0.9)))
        await ask(gateway, "u")
        assert bad.calls == 3, "a new share of the same release does not close it"

        gateway.route(table_with(FunctionModel("1"), FunctionModel("3"), 1.0, epoch=3, release="r2"))
        assert (await ask(gateway, "u")).version == "3"

    run(work)


def test_one_users_and_testers_faults_do_not_open_the_breaker() -> None:
    async def work() -> None:
        gateway = made(breaker_faults=2)
        gateway.route(table_with(FunctionModel("1"), FunctionModel("2", raising), 1.0))
        for number in range(20):
            await ask(gateway, "one user")
            await ask(gateway, f"tester {number}", wish="canary")
        assert not gateway.breaker.is_open

    run(work)


def test_faults_of_a_release_that_is_over_do_not_count_for_the_next() -> None:
    async def work() -> None:
        trips: list[Trip] = []
        gateway = made(on_trip=trips.append, breaker_faults=1)
        gateway.route(table_with(FunctionModel("1"), FunctionModel("2", slow(10.0)), 1.0))
        task = asyncio.create_task(ask(gateway, "u"))
        await asyncio.sleep(0.01)
        gateway.route(table_with(FunctionModel("1"), FunctionModel("3"), 1.0, epoch=2, release="r2"))
        assert (await task).version == "1"
        assert not trips and (await ask(gateway, "u")).version == "3"

    run(work)


def test_under_load_the_canary_is_shed_first_and_then_requests_are_refused() -> None:
    async def work() -> None:
        sink, canary = MemorySink(), FunctionModel("2", slow(0.02))
        gateway = made(sink, queue=8, canary_queue=0.5)
        gateway.route(table_with(FunctionModel("1", slow(0.02)), canary, 1.0))
        found = await asyncio.gather(*(ask(gateway, unit) for unit in CANARY[:12]), return_exceptions=True)
        versions = [answer.version if isinstance(answer, Answered) else type(answer) for answer in found]
        assert versions == ["2"] * 4 + ["1"] * 4 + [Overloaded] * 4
        assert (gateway.shed, gateway.admission.refused, gateway.admission.under_way) == (4, 4, 0)
        shed = [row for row in sink.rows if row["served_by"] == "1"]
        assert {(row["variant"], row["fault"], row["override"]) for row in shed} == {("canary", "overloaded", True)}
        assert not gateway.breaker.is_open and not gateway.metrics.faults

    run(work)


def test_shadow_answers_are_logged_beside_and_never_evidence() -> None:
    async def work() -> None:
        sink = MemorySink()
        gateway = made(sink, shadow=True)
        gateway.route(table_with(FunctionModel("1"), FunctionModel("2", raising), 0.5))
        answered = await ask(gateway, CANARY[0])
        assert (answered.variant, answered.version) == ("champion", "1")
        await ask(gateway, CHAMPION[0])
        await gateway.close()
        rows = sink.rows[::2]
        assert all(row["override"] for row in rows)
        assert [(row["variant"], row["served_by"], row["fault"]) for row in rows] == [
            ("champion", "1", None),
            ("champion", "1", None),
            ("canary", "2", "raised"),
        ]
        assert rows[2]["prediction_id"] == f"{rows[0]['prediction_id']}.shadow"
        assert not gateway.breaker.is_open

    run(work)


def test_shadow_calls_are_bounded() -> None:
    async def work() -> None:
        gateway = made(shadow=True, queue=4, canary_queue=0.5)
        gateway.route(table_with(FunctionModel("1"), FunctionModel("2", slow(0.02)), 1.0))
        for unit in CANARY[:5]:
            await ask(gateway, unit)
        assert gateway.shadows_left_out == 3
        await gateway.close()

    run(work)


def test_answered_means_logged() -> None:
    async def work() -> None:
        async def refuse() -> None:
            raise LogUnavailable("the disk is full")

        gateway = made(MemorySink(before=refuse))
        gateway.route(table_with(FunctionModel("1")))
        with pytest.raises(LogUnavailable):
            await ask(gateway)
        assert gateway.admission.under_way == 0

        released = asyncio.Event()

        async def wait() -> None:
            await released.wait()

        gateway.sink = MemorySink(before=wait)
        task = asyncio.create_task(ask(gateway))
        await asyncio.sleep(0.01)
        assert not task.done()
        released.set()
        await task

    run(work)


def test_requests_without_a_unit() -> None:
    async def work() -> None:
        sink = MemorySink()
        gateway = made(sink)
        gateway.route(table_with(FunctionModel("1"), FunctionModel("2"), 1.0))
        assert (await ask(gateway)).variant == "champion"
        assert sink.rows[0]["unit"] is None
        drawn_each = made(sink, without_unit="request")
        drawn_each.route(table_with(FunctionModel("1"), FunctionModel("2"), 0.5))
        found = [await ask(drawn_each) for _ in range(200)]
        assert 60 < sum(answer.variant == "canary" for answer in found) < 140
        assert all(row["unit"] == row["prediction_id"] for row in sink.rows[2:]), "the statistics see units of one"

    run(work)


def test_a_version_that_the_client_insists_on() -> None:
    async def work() -> None:
        sink = MemorySink()
        gateway = made(sink)
        table = replace(table_with(FunctionModel("1"), FunctionModel("2"), 0.5), previous=FunctionModel("0"))
        with pytest.raises(NotReady):
            await ask(gateway)
        gateway.route(table)
        for version in ("1", "2"):
            assert (await ask(gateway, CHAMPION[0], version=version)).version == version
        for version in ("0", "9", "", "1\n"):
            with pytest.raises(NotServing):
                await ask(gateway, version=version)
        assert all(row["override"] for row in sink.rows)

    run(work)


def test_what_is_kept_of_units_and_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        sink, seen = MemorySink(), []
        monkeypatch.setenv("UNIT_KEY", "a secret")
        log = {"unit_key": "UNIT_KEY", "inputs": "all", "outputs": False}
        gateway = made(sink, log=log, observe=lambda record, inputs: seen.append((record, inputs)))
        gateway.route(table_with(FunctionModel("1")))
        answered = await ask(gateway, "somebody")
        first = sink.rows[0]
        assert first["unit"] != "somebody" and len(first["unit"]) == 32
        assert first["output"] is None and first["inputs"] == '{"x":[1.0,2.0]}'
        assert [(record.prediction_id, inputs) for record, inputs in seen] == [(answered.prediction_id, ROWS)]

    run(work)


def test_a_switch_is_seen_by_the_next_request_and_hurts_none_under_way() -> None:
    async def work() -> None:
        gateway = made()
        gateway.route(table_with(FunctionModel("1", slow(0.02))))
        tasks = [asyncio.create_task(ask(gateway, f"u{n}")) for n in range(20)]
        await asyncio.sleep(0.005)
        gateway.route(table_with(FunctionModel("5")))
        assert (await ask(gateway)).version == "5"
        assert {answer.version for answer in await asyncio.gather(*tasks)} == {"1"}

    run(work)


def test_readiness() -> None:
    async def work() -> None:
        gateway, champion = made(), FunctionModel("1", row_sums)
        assert not gateway.is_ready
        gateway.route(table_with(champion))
        assert gateway.is_ready
        champion.is_alive = False
        assert not gateway.is_ready
        champion.is_alive = True
        gateway.sink.refuses = True  # every request would be
        assert not gateway.is_ready
        gateway.sink.refuses = False
        assert gateway.is_ready
        gateway.drain()
        assert not gateway.is_ready
        assert (await ask(gateway)).version == "1", "what comes is still answered"

    run(work)
