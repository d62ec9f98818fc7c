"""Models that answer, and models that do whatever a model must not do, as functions of a project."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from holdfast.models.reference import CallableModel
from holdfast.serving.models.in_process import InProcessModel
from holdfast.serving.models.process import ProcessModel
from holdfast.serving.models.running import LoadRequest, Start
from holdfast.serving.payload import Payload, tensor
from holdfast.serving.served import ServedModel

MODELS = '''
import os, sys, time

def double(x):
    return x * 2

def slowly(x):
    """Sleeps as many seconds as the first number says."""
    time.sleep(float(x.ravel()[0]))
    return x

def stubborn(x):
    """Like slowly, deaf to signals and, as C code may be, to everything else."""
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.setswitchinterval(1000)
    end = time.monotonic() + float(x.ravel()[0])
    while time.monotonic() < end:
        pass
    return x

def raises(x):
    raise ValueError("no\\nsuch thing")

def exits(x):
    print("about to go", file=sys.stderr, flush=True)
    os._exit(3)

def leaves(x):
    sys.exit("enough")

def killed_by(x):
    """Dies of the number that it is given, unless it is 0."""
    if x[0]:
        os.kill(os.getpid(), int(x[0]))
    return x

def eats(x):
    """Takes as many MiB as it is asked for, and keeps them."""
    kept.append(bytearray(int(x.ravel()[0]) << 20))
    return x

kept = []

def counts(x):
    """How many calls there were before this one; a negative number is its last."""
    if x[0] < 0:
        os._exit(3)
    kept.append(x)
    return [float(len(kept) - 1)] * len(x)

def prints(x):
    print("x" * 200_000)
    os.write(1, b"not a frame")
    return x

def nan(x):
    return x * float("nan")

def nothing(x):
    return None

def number(x):
    return 1.5

def an_object(x):
    return [object()] * len(x)

def short(x):
    return x[:-1]

def words(x):
    return [f"word {value:g}" for value in x.ravel()]

def records(x):
    return [{"value": float(value)} for value in x.ravel()]

def several(x):
    return {"one": x, "two": [str(value) for value in x.ravel()]}

def writes(x):
    x += 1
    return x

def columns(table):
    return (table["a"] + table["b"]).to_numpy()

def table(table):
    return table[["a", "b"]]

def rows(table):
    """Where there is no pandas, a list of dicts."""
    return [row["a"] * 2 for row in table]

def kinds(table):
    return [f"{type(value).__name__}:{value}" for value in table["mixed"]]

def whose(x):
    import helper
    return [helper.VERSION] * len(x)

def folder(x):
    """Leaves its number where the test finds it."""
    return [float(os.getpid())] * len(x)

def forks(x):
    import subprocess
    return [float(subprocess.Popen(["sleep", "600"]).pid)] * len(x)

def secret(x):
    return [",".join(sorted(name for name in os.environ if name.startswith(("HOLDFAST", "PYTHONP"))))] * len(x)
'''
T = TypeVar("T")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the functions above, and one that takes long to load; each test has modules of its own."""
    (tmp_path / "scoring.py").write_text(MODELS)
    (tmp_path / "late.py").write_text("import time\ntime.sleep(60)\ndef predict(x): return x\n")
    (tmp_path / "gone.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("scoring", "late", "helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def run(work: Coroutine[Any, Any, T]) -> T:
    """`work` in an event loop of its own, with an end to it."""
    return asyncio.run(asyncio.wait_for(work, 60))


def request(project: Path, function: str, module: str = "scoring") -> LoadRequest:
    return LoadRequest(CallableModel(module, function), project, name="the model")


async def process(
    project: Path, function: str, *, version: str = "1", processes: int = 1, **start: Any
) -> ProcessModel:
    start.setdefault("python", Path(sys.executable))
    made = Start(request=request(project, function), **{"load_timeout": 30.0, **start})
    return await ProcessModel.start(version, made, processes=processes)


async def in_process(project: Path, function: str) -> InProcessModel:
    return await InProcessModel.start("1", request(project, function))


async def served(how: str, project: Path, function: str) -> ServedModel:
    return await (process if how == "process" else in_process)(project, function)


def numbers(*values: float) -> Payload:
    return tensor(np.array(values, dtype=np.float64))
