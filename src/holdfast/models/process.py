"""The parent's side of a worker: start it in the user's environment, ask, and never leave it running."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from holdfast.errors import OutsideError, UserError
from holdfast.models import worker
from holdfast.models.pickles import check_loaders, is_skops
from holdfast.models.reference import CallableModel

GRACE_SECONDS = 2.0
_ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
_DOING = {
    "load": "loading",
    "give": "reading its table",
    "predict": "predicting",
    "time": "being timed",
    "run": "running",
}


class LoadedModel:
    """A model that answers: `load`, then `give` a table, then `predict` and `time_calls`. Use as a context manager.

    Errors: UserError for what is not there to load, Refused for a pickle that is not allowed, OutsideError with one
    sentence where the model raises (`model_raised`), hangs (`model_timed_out`) or dies (`model_died`).
    """

    def __init__(self, cwd: str | Path, *, name: str = "the model") -> None:
        self.cwd = Path(cwd).resolve()
        self.name = name
        self.seconds = 0.0
        self.classes: Sequence[Any] | None = None
        self.rows = 0
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="holdfast-"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def load(
        self, target: Path | CallableModel, predict_method: str = "predict", allow_pickle: Iterable[str] = ()
    ) -> None:
        """Load the model saved in a folder, or a function of the project.

        A model that needs unpickling is loaded only if each of its loaders is in `allow_pickle`. MLflow's own switch
        is off otherwise; it also stops models in the skops format, so it is on for those that hold no foreign type.
        """
        allowed = list(allow_pickle)
        if isinstance(target, CallableModel):
            place = {"root": str(self.cwd), "module": target.module, "function": target.function}
            self._ask({"do": "load", "unpickle": bool(allowed), **place})
            return
        needed = check_loaders(target, allowed, self.name)
        unpickle = bool(needed) or is_skops(target)
        self._ask({"do": "load", "unpickle": unpickle, "mlflow": str(target.resolve()), "method": predict_method})

    def give(self, table: str | Path, drop: Iterable[str] = ()) -> int:
        """Let the model's environment read a Parquet or CSV file, without the columns `drop`; the number of rows."""
        self.rows = int(self._ask({"do": "give", "path": str(Path(table).resolve()), "drop": list(drop)}))
        return self.rows

    def predict(self) -> Any:
        """The model's answers for the given table, as it gave them: an array of numbers, or what JSON can hold.

        `seconds` is the time the model took, `classes` what its columns of probabilities stand for, if it says.
        """
        out = self._private / "predictions"
        reply = self._ask({"do": "predict", "out": str(out)})
        self.seconds, self.classes = float(reply["seconds"]), reply["classes"]
        if reply["format"] == "json":
            return json.loads(out.read_text("utf-8"))
        return np.frombuffer(out.read_bytes(), dtype=reply["dtype"]).reshape(reply["shape"])

    def time_calls(self, row_slices: Sequence[Sequence[int]], warm_up: int = 0) -> npt.NDArray[np.float64]:
        """Milliseconds of one call for each slice of rows, (calls,), after `warm_up` calls that are not counted."""
        slices = [[int(row) for row in rows] for rows in row_slices]
        taken = self._ask({"do": "time", "slices": slices, "warm_up": warm_up})
        return np.asarray(taken, dtype=np.float64) / 1e6

    def run(self, file: str | Path, request: Mapping[str, Any]) -> Any:
        """What `run(request, worker)` of a file gives, in the model's environment."""
        return self._ask({**request, "do": "run", "file": str(file)})

    @property
    def _private(self) -> Path:
        if self._folder is None:
            raise RuntimeError("use the model inside its `with` block")
        return self._folder

    def _ask(self, request: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    def _read_reply(self, reply: Mapping[str, Any]) -> Any:
        if "error" not in reply:
            return reply["ok"]
        error = reply["error"]
        if error["kind"] == "user":
            raise UserError(f"{self.name}: {error['message']}.")
        where = f" ({error['where']})" if error["where"] else ""
        hint = None
        if "MLFLOW_ALLOW_PICKLE_DESERIALIZATION" in error["message"]:
            hint = "If you trust the model, allow its loader by name: `model: {allow_pickle: [pickle]}`."
        said = f"{error['type']}: {_short(error['message'])}" if error["message"] else error["type"]
        raise OutsideError(f"{self.name} raised {said}{where}.", hint=hint, reason_code="model_raised")


class Worker(LoadedModel):
    """A model in a process and environment of its own; `timeout` is in seconds, for each request.

    The process leads its own group. The group is ended at the end of the `with` block, at a timeout, at Ctrl-C, and by
    the worker itself when this process is gone.
    """

    def __init__(
        self,
        python: str | Path,
        cwd: str | Path,
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 600.0,
        name: str = "the model",
    ) -> None:
        super().__init__(cwd, name=name)
        self.python, self.env, self.timeout = str(python), dict(env or {}), timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._to_worker = self._from_worker = -1
        self._received = b""

    def __enter__(self) -> Self:
        super().__enter__()
        theirs_in, self._to_worker = os.pipe()
        self._from_worker, theirs_out = os.pipe()
        try:
            with (self._private / "stderr").open("wb") as stderr:
                self._process = subprocess.Popen(
                    [self.python, worker.__file__, str(theirs_in), str(theirs_out)],
                    cwd=self.cwd,
                    env={**os.environ, **_ENVIRONMENT, **self.env},
                    stdin=subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    pass_fds=(theirs_in, theirs_out),
                    start_new_session=True,
                )
        except OSError as error:
            self.__exit__(None, None, None)
            raise UserError(f"{self.python} cannot be run: {error.strerror}.") from None
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process is not None:
                end_group(self._process)
        finally:
            for fd in (self._to_worker, self._from_worker):
                with contextlib.suppress(OSError):
                    os.close(fd)
            super().__exit__(kind, error, trace)

    def stderr_tail(self, lines: int = 20) -> str:
        """The last lines of what the model's process printed."""
        with (self._private / "stderr").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def _ask(self, request: Mapping[str, Any]) -> Any:
        doing = _DOING[request["do"]]
        self._send((json.dumps(request) + "\n").encode(), doing)
        return self._read_reply(json.loads(self._receive(doing)))

    def _send(self, data: bytes, doing: str) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._to_worker, view) :]
        except BrokenPipeError:
            raise self._death(doing) from None

    def _receive(self, doing: str) -> bytes:
        end = time.monotonic() + self.timeout
        while b"\n" not in self._received:
            left = end - time.monotonic()
            if left <= 0:
                raise OutsideError(
                    f"{self.name} did not finish {doing} within {self.timeout:g} s and was stopped.",
                    hint="Raise `model: {timeout: …}` if it needs longer.",
                    reason_code="model_timed_out",
                )
            ready, _, _ = select.select([self._from_worker], [], [], min(left, 0.5))
            data = os.read(self._from_worker, 1 << 16) if ready else b""
            if not data and (ready or self._started.poll() is not None):
                raise self._death(doing)
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("use the worker inside its `with` block")
        return self._process

    def _death(self, doing: str) -> OutsideError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._started.wait(GRACE_SECONDS)
        code = self._started.returncode
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit status {code}"
        said = self.stderr_tail(1).strip()
        return OutsideError(
            f"{self.name} ended its process ({how}) while {doing}{': ' + _short(said) if said else ''}.",
            reason_code="model_died",
        )


class InProcess(LoadedModel):
    """A model inside this process, in Holdfast's own environment: quicker to start, without time limit or isolation.

    What the model prints goes to stderr. The import path and MLflow's switches are put back at the end.
    """

    def __init__(self, cwd: str | Path, *, name: str = "the model") -> None:
        super().__init__(cwd, name=name)
        self._session = worker.Session()
        self._before: tuple[list[str], dict[str, str | None]] = ([], {})

    def __enter__(self) -> Self:
        self._before = (list(sys.path), {key: os.environ.get(key) for key in _ENVIRONMENT})
        os.environ.update(_ENVIRONMENT)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.path[:] = self._before[0]
        for key, value in self._before[1].items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        super().__exit__(kind, error, trace)

    def _ask(self, request: Mapping[str, Any]) -> Any:
        with contextlib.redirect_stdout(sys.stderr):
            return self._read_reply(worker.answer(self._session, dict(request)))


def end_group(process: subprocess.Popen[Any], grace: float = GRACE_SECONDS) -> None:
    """End a process and all it started: SIGTERM to its group, and SIGKILL for what is left after `grace` seconds."""
    try:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _short(text: str, limit: int = 600) -> str:
    text = text.rstrip(".")
    return text if len(text) <= limit else text[:limit] + "…"
