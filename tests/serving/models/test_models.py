"""A version in a process and in this process keep the same promises."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from holdfast.serving.payload import Payload
from holdfast.serving.served import ModelFault
from tests.serving.models.conftest import in_process, numbers, process, run, served

both = pytest.mark.parametrize("how", ["process", "in_process"])


@both
def test_answers_of_every_form(project: Path, how: str) -> None:
    async def ask(function: str, given: Payload) -> Payload:
        model = await served(how, project, function)
        try:
            return await model.infer(given, 10)
        finally:
            await model.close()

    async def all_of_them() -> list[Payload]:
        frame = Payload("frame", ("a", "b"), (np.array([1.0, 2.0]), np.array([10, 20])))
        asked = [(name, numbers(1, 2)) for name in ("double", "words", "records", "several")]
        return await asyncio.gather(*(ask(*one) for one in [*asked, ("columns", frame), ("table", frame)]))

    double, words, records, several, columns, table = run(all_of_them())
    assert double.kind == "tensor" and double.arrays[0].tolist() == [2.0, 4.0] and double.arrays[0].dtype == np.float64
    assert words.arrays[0].tolist() == ["word 1", "word 2"] and words.arrays[0].dtype == object
    assert records.arrays[0].tolist() == [{"value": 1.0}, {"value": 2.0}]
    assert several.kind == "tensors" and several.names == ("one", "two")
    assert [array.tolist() for array in several.arrays] == [[1.0, 2.0], ["1.0", "2.0"]]
    assert columns.arrays[0].tolist() == [11.0, 22.0]
    assert table.kind == "frame" and table.names == ("a", "b") and table.arrays[1].dtype == np.int64


@both
@pytest.mark.parametrize(
    ("function", "fault", "said"),
    [
        ("raises", "raised", r"the model raised ValueError: no such thing \(.*scoring\.py, line \d+, in raises\)"),
        ("leaves", "raised", "the model raised SystemExit: enough"),
        ("nothing", "nonsense", "the model gave a NoneType, expected one output for each row"),
        ("number", "nonsense", "the model gave a float"),
    ],
)
def test_faults_in_one_sentence_and_it_goes_on(project: Path, how: str, function: str, fault: str, said: str) -> None:
    async def work() -> None:
        model = await served(how, project, function)
        for _ in range(2):
            with pytest.raises(ModelFault, match=said) as caught:
                await model.infer(numbers(1), 5)
            assert caught.value.fault == fault
        assert model.is_alive and model.waiting == 0
        await model.close()

    run(work())


@both
def test_a_thousand_calls_at_once_get_their_own_answers(project: Path, how: str) -> None:
    async def work() -> None:
        model = await served(how, project, "double")
        ended: list[int] = []

        async def one(number: int) -> None:
            answer = await model.infer(numbers(number), 20)
            assert answer.arrays[0].tolist() == [2.0 * number]
            ended.append(number)

        await asyncio.gather(*(one(number) for number in range(1000)))
        assert ended == list(range(1000))
        assert model.waiting == 0
        await model.close()

    run(work())


@both
def test_a_late_answer_is_nobodys(project: Path, how: str) -> None:
    """The caller is told at its deadline; the call after it gets its own answer once the model is free."""

    async def work() -> None:
        model = await served(how, project, "slowly")
        start = time.monotonic()
        with pytest.raises(ModelFault, match=r"the model did not answer within 0\.2 s") as caught:
            await model.infer(numbers(0.45), 0.2)
        assert caught.value.fault == "timed_out" and 0.15 < time.monotonic() - start < 0.4
        while not model.is_alive:
            await asyncio.sleep(0.02)
        answer = await model.infer(numbers(0.0, 7.0), 2)
        assert answer.arrays[0].tolist() == [0.0, 7.0]
        await model.close()

    run(work())


@both
def test_a_stuck_model_refuses_at_once(project: Path, how: str) -> None:
    async def work() -> None:
        model = await served(how, project, "slowly")
        calls = [asyncio.create_task(model.infer(numbers(1.2), 0.3)) for _ in range(3)]
        assert [type(error) for error in await asyncio.gather(*calls, return_exceptions=True)] == [ModelFault] * 3
        await asyncio.sleep(0.05)
        start = time.monotonic()
        assert not model.is_alive
        with pytest.raises(ModelFault, match=r"is still busy with a call that timed out") as caught:
            await model.infer(numbers(0), 0.3)
        assert caught.value.fault == "timed_out" and time.monotonic() - start < 0.05
        while not model.is_alive:  # the call comes back, or the process is started again
            await asyncio.sleep(0.02)
        await model.infer(numbers(0), 5)
        await model.close()

    run(work())


@both
def test_calls_that_nobody_waits_for_are_not_made(project: Path, how: str) -> None:
    """Cancelled or timed out while they queue: the model is free at once for those that come after."""

    async def work() -> None:
        model = await served(how, project, "slowly")
        first = asyncio.create_task(model.infer(numbers(0.3), 2))
        await asyncio.sleep(0.05)
        late = [asyncio.create_task(model.infer(numbers(5), 0.1)) for _ in range(20)]
        found = await asyncio.gather(*late, return_exceptions=True)
        assert all(isinstance(error, ModelFault) and error.fault == "timed_out" for error in found)
        assert (await first).arrays[0].tolist() == [0.3]
        assert (await model.infer(numbers(0), 1)).arrays[0].tolist() == [0.0]
        await model.close()

    run(work())


@both
def test_a_cancelled_call_harms_nobody(project: Path, how: str) -> None:
    async def work() -> None:
        model = await served(how, project, "slowly")
        calls = [asyncio.create_task(model.infer(numbers(0.1, n), 5)) for n in range(6)]
        await asyncio.sleep(0.03)
        for call in calls[::2]:
            call.cancel()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [f.arrays[0].tolist() for f in found if isinstance(f, Payload)] == [[0.1, n] for n in (1, 3, 5)]
        assert model.waiting == 0 and model.is_alive
        await model.close()

    run(work())


@both
def test_closing_waits_for_what_was_accepted(project: Path, how: str) -> None:
    async def work() -> None:
        model = await served(how, project, "slowly")
        calls = [asyncio.create_task(model.infer(numbers(0.1), 5)) for _ in range(3)]
        await asyncio.sleep(0)
        await model.close()
        assert all(call.done() and call.exception() is None for call in calls)
        with pytest.raises(ModelFault, match="let go"):
            await model.infer(numbers(0), 1)
        assert not model.is_alive

    run(work())


def test_a_model_that_writes_into_its_input_writes_into_a_copy(project: Path) -> None:
    async def work() -> None:
        given = numbers(1, 2)
        for make in (in_process, process):
            model = await make(project, "writes")
            assert (await model.infer(given, 5)).arrays[0].tolist() == [2.0, 3.0]
            assert given.arrays[0].tolist() == [1.0, 2.0]
            await model.close()

    run(work())


def test_values_that_are_no_numbers_arrive_as_they_are(project: Path) -> None:
    async def work() -> None:
        mixed = np.array(["ü\ud800", b"\x00\xff", None, 2**70, {"a": [1]}], dtype=object)
        model = await process(project, "kinds")
        answer = await model.infer(Payload("frame", ("mixed",), (mixed,)), 10)
        expected = [f"{type(value).__name__}:{value}" for value in mixed]
        assert answer.arrays[0].tolist() == expected
        await model.close()

    run(work())
