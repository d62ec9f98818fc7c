"""What only a process can do: end, come back, be limited, and live in another environment."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.models.reference import CallableModel
from holdfast.serving.gateway import Asked, Gateway
from holdfast.serving.models.process import ProcessModel
from holdfast.serving.models.running import LoadRequest, Running, Start
from holdfast.serving.payload import Payload
from holdfast.serving.served import BadInput, ModelFault
from tests.serving.gateways import MemorySink, settings, table_with
from tests.serving.models.conftest import in_process, numbers, process, request, run


async def back(model: ProcessModel, within: float = 15.0) -> None:
    async with asyncio.timeout(within):
        while not (model.is_alive and model.restarts):
            await asyncio.sleep(0.02)


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_that_ends_fails_what_waits_at_once_and_comes_back(project: Path) -> None:
    async def work() -> None:
        model = await process(project, "exits")
        start = time.monotonic()
        calls = await asyncio.gather(*(model.infer(numbers(1), 10) for _ in range(5)), return_exceptions=True)
        assert time.monotonic() - start < 2
        for error in calls:
            assert isinstance(error, ModelFault) and error.fault == "died"
        assert str(calls[0]) == "the model ended its process (exit status 3): about to go"
        assert not model.is_alive and model.waiting == 0
        with pytest.raises(ModelFault, match="ended its process") as caught:
            await model.infer(numbers(1), 10)
        assert caught.value.fault == "died"
        await back(model)
        assert model.restarts == 1
        await model.close()

    run(work())


def test_one_of_several_dies_and_the_others_answer(project: Path) -> None:
    async def work() -> None:
        model = await process(project, "killed_by", processes=2)
        calls = [model.infer(numbers(signal.SIGKILL), 10), *(model.infer(numbers(0), 10) for _ in range(3))]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(found[0], ModelFault) and "signal 9" in str(found[0])
        assert model.is_alive
        assert [(await model.infer(numbers(0), 10)).arrays[0].tolist() for _ in range(4)] == [[0.0]] * 4
        await back(model)
        await model.close()

    run(work())


def test_a_process_that_keeps_ending_is_started_ever_more_seldom(project: Path) -> None:
    """It cannot be loaded any more: the pauses double, and it is back once it can be."""

    async def work() -> None:
        model = await process(project, "exits")
        good = (project / "scoring.py").read_text()
        (project / "scoring.py").write_text("import os\nos._exit(1)\n")
        with pytest.raises(ModelFault):
            await model.infer(numbers(1), 10)
        await asyncio.sleep(1)
        assert not model.is_alive and model.restarts == 0
        (project / "scoring.py").write_text(good)
        await back(model)
        await model.close()

    run(work())


def test_a_stuck_process_is_ended_after_twice_the_time(project: Path) -> None:
    """Deaf to SIGTERM and never giving up the interpreter: only SIGKILL ends it."""

    async def work() -> None:
        model = await process(project, "stubborn")
        calls = [asyncio.create_task(model.infer(numbers(60), 0.3)) for _ in range(2)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, ModelFault) and error.fault == "timed_out" for error in found)
        await back(model)
        assert (await model.infer(numbers(0), 5)).arrays[0].tolist() == [0.0]
        await model.close()

    run(work())


def test_a_model_that_leaks_is_ended_at_its_limit_and_started_anew(project: Path) -> None:
    async def work() -> None:
        model = await process(project, "eats", memory=300_000_000)

        async def fed() -> None:
            while True:
                await model.infer(numbers(10), 10)
                await asyncio.sleep(0.03)

        with pytest.raises(ModelFault, match=r"held \d{3} MB, and serving\.memory allows 300 MB") as caught:
            await fed()
        assert caught.value.fault == "died"
        await back(model)
        await model.infer(numbers(1), 10)
        await model.close()

    run(work())


def test_the_champion_answers_for_a_canary_that_leaks(project: Path) -> None:
    """Every request is answered while the canary's process is ended at its limit again and again."""

    async def work() -> None:
        champion = await process(project, "double")
        canary = await process(project, "eats", version="2", memory=200_000_000)
        sink = MemorySink()
        gateway = Gateway("m", settings(breaker_faults=1000), sink)
        gateway.route(table_with(champion, canary, share=1.0))
        while canary.restarts < 2:
            answered = await gateway.answer(Asked(numbers(20), lambda outputs, _: outputs, unit="u"))
            assert answered.variant == "canary" and answered.version in {"1", "2"}
            assert answered.content.arrays[0].tolist() == ([40.0] if answered.version == "1" else [20.0])
            await asyncio.sleep(0.02)
        assert {row["fault"] for row in sink.rows} == {None, "died"}
        await asyncio.gather(champion.close(), canary.close())

    run(work())


def test_a_model_that_is_too_large_to_load_is_told(project: Path) -> None:
    (project / "scoring.py").write_text("import time\nkept = bytearray(400 << 20)\ntime.sleep(60)\n")

    async def work() -> None:
        with pytest.raises(
            OutsideError, match=r"the model was stopped: it held \d+ MB, .* 300 MB while loading"
        ) as caught:
            await process(project, "double", memory=300_000_000)
        assert caught.value.reason_code == "model_died"

    run(work())


def test_what_a_model_prints_never_blocks_it_or_reaches_the_answers(project: Path) -> None:
    async def work() -> None:
        model = await process(project, "prints")
        for number in range(5):
            assert (await model.infer(numbers(number), 10)).arrays[0].tolist() == [float(number)]
        await model.close()

    run(work())


def test_an_input_that_cannot_be_sent_is_the_clients_mistake(project: Path) -> None:
    async def work() -> None:
        model = await process(project, "double")
        strange = Payload("tensor", ("",), (np.array([object()]),))
        with pytest.raises(BadInput, match="holds what no model can be given"):
            await model.infer(strange, 5)
        assert (await model.infer(numbers(1), 5)).arrays[0].tolist() == [2.0]
        await model.close()

    run(work())


@pytest.mark.parametrize(
    ("module", "function", "kind", "said"),
    [
        ("scoring", "missing", UserError, "the model: scoring has no missing"),
        ("gone", "predict", OutsideError, r"the model ended its process \(exit status 9\) while loading"),
        ("late", "predict", OutsideError, r"the model did not finish loading within 0\.5 s"),
    ],
)
def test_what_cannot_be_loaded(project: Path, module: str, function: str, kind: type[Exception], said: str) -> None:
    async def work() -> None:
        start = Start(python=Path(sys.executable), request=request(project, function, module), load_timeout=0.5)
        if module != "late":
            start = Start(python=Path(sys.executable), request=request(project, function, module))
        ticks = asyncio.create_task(asyncio.sleep(0.2))
        with pytest.raises(kind, match=said):
            await Running.start(start)
        assert ticks.done() or module != "late"  # the event loop went on meanwhile

    run(work())


def test_no_interpreter(project: Path) -> None:
    start = Start(python=project / "nowhere", request=request(project, "double"))
    with pytest.raises(UserError, match=r"nowhere cannot be run: No such file"):
        run(Running.start(start))


def test_the_process_and_what_it_started_end_with_the_model(project: Path) -> None:
    async def work() -> list[int]:
        model = await process(project, "forks")
        own = int((await model.infer(numbers(1), 5)).arrays[0][0])
        assert is_there(own)
        await model.close()
        return [own]

    assert not any(map(is_there, run(work())))


GATEWAY = """
import asyncio, sys
from pathlib import Path
from holdfast.models.reference import CallableModel
from holdfast.serving.models.running import LoadRequest, Running, Start
from tests.serving.models.conftest import numbers

async def main():
    request = LoadRequest(CallableModel("scoring", sys.argv[2]), Path(sys.argv[1]), name="m")
    running = await Running.start(Start(python=Path(sys.executable), request=request))
    print(running._process.pid, flush=True)
    await running.infer(numbers(600), 600)

asyncio.run(main())
"""


@pytest.mark.parametrize("function", ["slowly", "double"])
def test_a_process_ends_when_its_parent_is_killed(project: Path, function: str) -> None:
    """In the middle of a call, too."""
    root = Path(__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(project), function], stdout=subprocess.PIPE, cwd=root, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if function == "slowly":
        assert is_there(child)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 5
    while is_there(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_there(child)


def test_a_process_sees_neither_secrets_nor_other_packages(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOLDFAST_ADMIN_TOKEN", "x")
    monkeypatch.setenv("HOLDFAST_OTHER", "y")
    monkeypatch.setenv("PYTHONPATH", str(project / "elsewhere"))

    async def work() -> None:
        model = await process(project, "secret", without=frozenset({"HOLDFAST_ADMIN_TOKEN"}))
        assert (await model.infer(numbers(1), 5)).arrays[0].tolist() == ["HOLDFAST_OTHER"]
        await model.close()

    run(work())


def test_a_bump_in_the_gateways_environment_does_not_reach_a_version(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two versions with two versions of one package, and a third one in the gateway itself."""
    for version in ("1", "2", "3"):
        (project / f"site{version}").mkdir()
        (project / f"site{version}" / "helper.py").write_text(f"VERSION = {version}\n")
    monkeypatch.setenv("PYTHONPATH", str(project / "site3"))
    monkeypatch.syspath_prepend(str(project / "site3"))

    async def work() -> list[float]:
        one = await process(project, "whose", env={"PYTHONPATH": str(project / "site1")})
        two = await process(project, "whose", env={"PYTHONPATH": str(project / "site2")})
        here = await in_process(project, "whose")
        found = [float((await model.infer(numbers(1), 5)).arrays[0][0]) for model in (one, two, here)]
        for model in (one, two, here):
            await model.close()
        return found

    assert run(work()) == [1, 2, 3]


def test_an_environment_without_numpy_and_pandas(project: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(project / "bare")], check=True)

    async def work() -> None:
        asked = LoadRequest(CallableModel("scoring", "rows"), project, name="the model")
        running = await Running.start(Start(python=project / "bare/bin/python", request=asked))
        frame = Payload("frame", ("a", "b"), (np.array([1.5, 2.0]), np.array(["x", None], dtype=object)))
        assert (await running.infer(frame, 5)).arrays[0].tolist() == [3.0, 4.0]
        await running.finish()

    run(work())


def test_a_rehearsal_is_asked_before_anything_else(project: Path) -> None:
    async def work() -> None:
        model = await process(project, "counts", processes=2)
        await model.rehearse(numbers(1), 10)
        found = await asyncio.gather(*(model.infer(numbers(1), 10) for _ in range(4)))
        assert [answer.arrays[0].tolist() for answer in found] == [
            [1.0],
            [1.0],
            [2.0],
            [2.0],
        ]  # two processes, both asked
        for _ in range(2):
            with pytest.raises(ModelFault):
                await model.infer(numbers(-1), 10)
        while model.restarts < 2:
            await asyncio.sleep(0.02)
        assert (await model.infer(numbers(1), 10)).arrays[0].tolist() == [1.0]
        await model.close()

    run(work())


def test_nothing_is_left_open(project: Path) -> None:
    async def work() -> int:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            model = await process(project, "double")
            await model.infer(numbers(1), 5)
            await model.close()
        await asyncio.sleep(0)
        return len(list(Path("/proc/self/fd").iterdir())) - before

    assert run(work()) <= 0
