"""Functions of a project in a worker: what comes back, what is said when they fail, and that nothing stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.errors import HoldfastError, OutsideError, UserError
from holdfast.models import worker
from holdfast.models.process import InProcess, LoadedModel, Worker
from holdfast.models.reference import CallableModel

Start = Callable[[Path], LoadedModel]


def in_worker(project: Path, timeout: float = 60) -> Worker:
    return Worker(sys.executable, project, timeout=timeout, name="scoring")


def in_process(project: Path) -> InProcess:
    return InProcess(project, name="scoring")


def ask(model: LoadedModel, project: Path, function: str, module: str = "scoring") -> Any:
    model.load(CallableModel(module, function))
    model.give(project / "rows.parquet", ["label"])
    return model.predict()


@pytest.fixture(autouse=True)
def _forget_modules() -> Any:
    yield
    for name in ("scoring", "broken", "needs"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("start", [in_worker, in_process])
def test_answers_come_back_exactly(start: Start, project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with start(project) as model:
        assert ask(model, project, "age").tolist() == [10 / 3, 20 / 3, 40 / 3, 40 / 3]
        assert model.seconds > 0
        assert ask(model, project, "labels") == ["niedriger", "niedriger", "höher", "höher"]
        assert ask(model, project, "classes").tolist() == [2**53 + age for age in (10, 20, 40, 40)]
        assert ask(model, project, "one_column").shape == (4, 1)
        assert ask(model, project, "probabilities").shape == (4, 3)
        assert ask(model, project, "rows_and_columns").tolist() == [2.0] * 4, "the label is not among the columns"
    if start is in_worker:
        assert capfd.readouterr().out == ""


FAILURES = [
    (
        "raises",
        OutsideError,
        "scoring raised ValueError: Age cannot be above 30 (src/scoring.py, line N, in check_age).",
    ),
    ("in_library", OutsideError, "scoring raised KeyError: 'no such column' (src/scoring.py, line N, in in_library)."),
    ("leaves", OutsideError, "scoring raised SystemExit: enough (src/scoring.py, line N, in leaves)."),
    ("of_objects", UserError, "scoring: its predictions hold a object, expected numbers, text or true and false."),
    ("nothing", UserError, "scoring: scoring has no nothing."),
    ("NOT_A_FUNCTION", UserError, "scoring: scoring:NOT_A_FUNCTION is a int, not a function."),
]


@pytest.mark.parametrize("start", [in_worker, in_process])
def test_failures_are_one_sentence_and_the_model_goes_on(
    start: Start, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    with start(project) as model:
        for function, kind, sentence in FAILURES:
            with pytest.raises(HoldfastError) as caught:
                ask(model, project, function)
            assert type(caught.value) is kind
            assert re.sub(r"line \d+", "line N", caught.value.message) == sentence
        assert len(ask(model, project, "fast")) == 4


@pytest.mark.parametrize(
    ("module", "kind", "sentence"),
    [
        ("absent", UserError, "there is no module absent in "),
        ("scoring.inner", UserError, "there is no module scoring.inner in "),
        ("broken", OutsideError, "scoring raised JSONDecodeError: .*broken.py, line 3"),
        ("needs", OutsideError, "ModuleNotFoundError: No module named 'a_package_that_is_not_there'"),
    ],
)
def test_modules_that_cannot_be_imported(module: str, kind: type[Exception], sentence: str, project: Path) -> None:
    with in_process(project) as model, pytest.raises(kind, match=sentence):
        model.load(CallableModel(module, "predict"))


def test_the_import_path_is_put_back(project: Path) -> None:
    before = list(sys.path), os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION")
    with in_process(project) as model:
        ask(model, project, "fast")
        assert str(project) in sys.path
    assert (list(sys.path), os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION")) == before


def test_a_crash_names_the_signal_and_the_last_words(project: Path) -> None:
    with in_worker(project) as model:
        with pytest.raises(OutsideError, match=r"\(signal SIGSEGV\) while predicting: about to go\.") as caught:
            ask(model, project, "dies")
        assert caught.value.reason_code == "model_died"
        with pytest.raises(OutsideError, match="ended its process"):
            model.predict()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def pids(project: Path) -> list[int]:
    assert wait_until(lambda: (project / "pids").exists() and " " in (project / "pids").read_text())
    return [int(pid) for pid in (project / "pids").read_text().split()]


def test_a_hanging_model_is_stopped_with_all_it_started(project: Path) -> None:
    with in_worker(project, timeout=60) as model:
        model.load(CallableModel("scoring", "hangs"))
        model.give(project / "rows.parquet")
        model.timeout = 1.5
        with pytest.raises(OutsideError, match=r"did not finish predicting within 1\.5 s") as caught:
            model.predict()
        assert caught.value.reason_code == "model_timed_out"
        started = pids(project)
        assert all(alive(pid) for pid in started)
    assert wait_until(lambda: not any(alive(pid) for pid in started))


PARENT = """
import sys
from pathlib import Path
from holdfast.models import worker
from holdfast.models.process import Worker
from holdfast.models.reference import CallableModel

with Worker(sys.executable, ".", name="scoring") as model:
    model.load(CallableModel("scoring", "hangs"))
    model.give("rows.parquet")
    model.predict()
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(how: signal.Signals, project: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(project)}  # a killed parent cannot tidy up
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=project, env=environment, stderr=subprocess.DEVNULL)
    started = pids(project)
    parent.send_signal(how)
    parent.wait(20)
    assert wait_until(lambda: not any(alive(pid) for pid in started))


def test_times_of_calls(project: Path) -> None:
    with in_process(project) as model:
        model.load(CallableModel("scoring", "slow"))
        model.give(project / "rows.parquet")
        times = model.time_calls([[0], [1, 2, 3]], warm_up=1)
    assert times.shape == (2,)
    assert times[0] >= 2
    assert times[1] >= 6


def test_an_interpreter_that_is_not_there(project: Path) -> None:
    missing = Worker(project / "no" / "python", project)
    with pytest.raises(UserError, match="cannot be run: No such file"):
        missing.__enter__()


def test_an_environment_without_pandas(project: Path) -> None:
    venv = project / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (project / "rows.csv").write_text("id,age,score,label\na,10,0.5,1\nb,20,1,0\n")
    (project / "plain.py").write_text(
        "def predict(rows):\n    assert set(rows[0]) == {'id', 'age', 'score'}, rows\n"
        "    return [r['age'] + r['score'] for r in rows]\n"
    )
    environment = {"PYTHONPATH": ""}
    with Worker(venv / "bin" / "python", project, env=environment, name="plain") as model:
        model.load(CallableModel("plain", "predict"))
        assert model.give(project / "rows.csv", ["label"]) == 2
        assert np.asarray(model.predict()).tolist() == [10.5, 21.0]
        assert len(model.time_calls([[0], [0, 1]])) == 2
        with pytest.raises(UserError, match="cannot read Parquet: it has neither pandas nor pyarrow"):
            model.give(project / "rows.parquet")
        (project / "saved").mkdir()
        (project / "saved" / "MLmodel").write_text("flavors: {}")
        with pytest.raises(UserError, match="has no mlflow"):
            model.load(project / "saved")


def test_an_environment_with_pyarrow_only(project: Path) -> None:
    for name in ("rows.parquet", "rows.csv"):
        if name.endswith(".csv"):
            (project / name).write_text("id,age,label\na,10,0\nb,20,0\nc,40,1\nd,40,1\n")
        table = worker.read_without_pandas(str(project / name), ["label", "absent"], name.endswith(".csv"))
        assert table.column_names == ["id", "age"]
        assert worker.rows_of(table, [2, 0])["id"].to_pylist() == ["c", "a"]
        assert worker.plain(table["age"]).tolist() == [10, 20, 40, 40]


def test_modules_of_the_project_are_not_hidden_by_ours(project: Path) -> None:
    (project / "predict.py").write_text("def predict(table):\n    return [7] * len(table)\n")
    with in_worker(project) as model:
        assert ask(model, project, "predict", module="predict").tolist() == [7] * 4
