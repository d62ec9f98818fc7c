"""Runs in the user's environment, with nothing of Holdfast's: loads a model, gives it a table, returns its answers.

    python worker.py READ_FD WRITE_FD

One JSON document a line each way. Requests: {"do": "load" | "give" | "predict" | "time" | "run", …}; replies: {"ok": …} or
{"error": {"kind", "type", "message", "where"}}. The pipe is private, so what user code prints cannot mix with them.
Predictions go through a file, because they are large and must come back exactly: raw numbers with their dtype and
shape, or JSON for everything else. When the pipe closes (the parent is gone) the whole process group ends. Works on
Python 3.9 and newer.

A model receives the table as the environment's own libraries read it: a pandas DataFrame; without pandas a
pyarrow.Table; without both, and for a CSV file only, a list of dicts.
"""

# Paths are text here, as the protocol brings them.
# ruff: noqa: E402, PTH118, PTH120, PTH123

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))
if __name__ == "__main__" and sys.path and os.path.realpath(sys.path[0]) == _HERE:
    del sys.path[0]  # the user's `import predict` must not find ours

import contextlib
import importlib
import importlib.util
import inspect
import json
import queue
import signal
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

Call = Callable[[Any], Any]


class BadRequest(Exception):
    """What was asked for does not exist here: the user's mistake, not the model's."""


# --- models ---------------------------------------------------------------------------------------------------------


def load_callable(root: str, module: str, function: str) -> Call:
    """`module:function`, found from the project's root, its `src`, or the environment."""
    for place in (os.path.join(root, "src"), root):
        if place not in sys.path:
            sys.path.insert(0, place)
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise
        raise BadRequest(f"there is no module {module} in {root}, its src folder, or the environment") from None
    for part in function.split("."):
        if not hasattr(found, part):
            raise BadRequest(f"{module} has no {function}")
        found = getattr(found, part)
    if not callable(found):
        raise BadRequest(f"{module}:{function} is a {type(found).__name__}, not a function")
    return found


def load_mlflow(folder: str, method: str) -> tuple[Call, Any]:
    """A saved MLflow model's `predict`, or another method of the model inside it; and its classes, if it tells.

    Another method is looked for on the library's own model (scikit-learn's, LightGBM's, …), then on the user's
    PythonModel. It is called with the columns of the model's signature, in that order, where it has one.
    """
    try:
        from mlflow import pyfunc
    except ModuleNotFoundError as error:
        if error.name != "mlflow":
            raise
        raise BadRequest(f"the environment of {sys.executable} has no mlflow, which loads this model") from None
    model = pyfunc.load_model(folder)
    tell_signatures(model)
    classes: Any = getattr(raw_model(model), "classes_", None)
    return (
        model.predict if method == "predict" else other_method(model, method),
        classes.tolist() if hasattr(classes, "tolist") else classes,
    )


def tell_signatures(model: Any) -> None:
    """Write down what `predict` takes: MLflow asks for it twice a call, which costs more than many a model."""
    for method in (getattr(model, "_predict_fn", None), getattr(unwrapped_model(model), "predict", None)):
        function: Any = getattr(method, "__func__", None)
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # not written in Python
            function.__signature__ = inspect.signature(function)


def other_method(model: Any, method: str) -> Call:
    schema = model.metadata.get_input_schema()
    names = schema.input_names() if schema is not None and schema.has_input_names() else None
    for inner in (raw_model(model), unwrapped_model(model)):
        found: Any = getattr(inner, method, None)
        if callable(found):
            return lambda table: found(table if names is None else table[names])
    raise BadRequest(f"the model has no method {method}")


def raw_model(model: Any) -> Any:
    try:
        return model.get_raw_model()
    except (AttributeError, NotImplementedError):
        return None


def unwrapped_model(model: Any) -> Any:
    try:
        return model.unwrap_python_model()
    except Exception:
        return None


# --- tables ---------------------------------------------------------------------------------------------------------


def read_table(path: str, drop: list[str]) -> Any:
    """The table at `path` without the columns `drop`, as the best reader of this environment gives it."""
    is_csv = path.lower().endswith(".csv")
    try:
        import pandas as pd
    except ModuleNotFoundError:
        return read_without_pandas(path, drop, is_csv)
    try:
        table = pd.read_csv(path) if is_csv else pd.read_parquet(path)
    except ImportError:
        raise BadRequest(f"the environment of {sys.executable} cannot read Parquet: it has no pyarrow") from None
    return table.drop(columns=[name for name in drop if name in table.columns])


def read_without_pandas(path: str, drop: list[str], is_csv: bool) -> Any:
    try:
        from pyarrow import csv, parquet
    except ModuleNotFoundError:
        if is_csv:
            return read_dicts(path, drop)
        raise BadRequest(
            f"the environment of {sys.executable} cannot read Parquet: it has neither pandas nor pyarrow"
        ) from None
    table = csv.read_csv(path) if is_csv else parquet.read_table(path)
    return table.drop_columns([name for name in drop if name in table.column_names])


def read_dicts(path: str, drop: list[str]) -> list[dict[str, Any]]:
    """One dict a row; a column is numbers where every value is one, else text."""
    import csv

    with open(path, newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for name in rows[0] if rows else []:
        for kind in (int, float):
            try:
                numbers = [kind(row[name]) for row in rows]
            except ValueError:
                continue
            for row, number in zip(rows, numbers):  # noqa: B905 - `strict` is not there on Python 3.9
                row[name] = number
            break
    return [{name: value for name, value in row.items() if name not in drop} for row in rows]


def rows_of(table: Any, rows: list[int]) -> Any:
    """Some rows of a table as a table of its own, as a request would bring them."""
    if isinstance(table, list):
        return [table[row] for row in rows]
    if hasattr(table, "iloc"):
        return table.iloc[rows].reset_index(drop=True)
    return table.take(rows)


# --- answers --------------------------------------------------------------------------------------------------------


def write_values(values: Any, path: str) -> dict[str, Any]:
    """Predictions into a file, exactly; the reply says how to read it."""
    values = plain(values)
    dtype = getattr(values, "dtype", None)
    if dtype is not None and dtype.kind in "iufb":
        with open(path, "wb") as file:
            file.write(values.tobytes())
        return {"format": "raw", "dtype": dtype.str, "shape": list(values.shape)}
    if hasattr(values, "tolist"):
        values = values.tolist()
    with open(path, "w", encoding="utf-8") as text:
        json.dump(values, text, default=not_json)
    return {"format": "json"}


def plain(values: Any) -> Any:
    """Predictions as a numpy array where numpy can hold them, else as a list."""
    if hasattr(values, "columns") and hasattr(values, "iloc"):
        if len(values.columns) == 1:
            values = values.iloc[:, 0]
        elif "prediction" in values.columns:
            values = values["prediction"]
    if hasattr(values, "to_pylist"):
        values = values.to_pylist()
    elif hasattr(values, "to_numpy"):
        values = values.to_numpy()
    elif hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    if isinstance(values, (list, tuple)) and "numpy" in sys.modules:
        return sys.modules["numpy"].asarray(values) if is_rectangular(values) else list(values)
    return values


def is_rectangular(values: Any) -> bool:
    """Whether numpy would keep these values as they are: numbers of one kind, all rows of one length."""
    flat = [x for row in values for x in (row if isinstance(row, (list, tuple)) else [row])]
    lengths = {len(row) if isinstance(row, (list, tuple)) else -1 for row in values}
    return len(lengths) == 1 and len({type(x) for x in flat}) == 1 and not isinstance(flat[0], (str, bytes))


def not_json(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    raise BadRequest(f"its predictions hold a {type(value).__name__}, expected numbers, text or true and false")


# --- requests -------------------------------------------------------------------------------------------------------


class Session:
    """One model and one table, in the order: load, give, then predict and time as often as wanted."""

    def __init__(self) -> None:
        self.call = None  # type: Call | None
        self.table = None  # type: Any
        self.classes = None  # type: Any

    def load(self, request: dict[str, Any]) -> Any:
        """{"mlflow": folder, "method"} or {"root", "module", "function"}, and "unpickle": whether MLflow may."""
        os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "true" if request["unpickle"] else "false"
        if "mlflow" in request:
            self.call, self.classes = load_mlflow(request["mlflow"], request["method"])
        else:
            self.call = load_callable(request["root"], request["module"], request["function"])
        return None

    def give(self, request: dict[str, Any]) -> Any:
        """{"path", "drop"}: the number of rows."""
        self.table = read_table(request["path"], request["drop"])
        return len(self.table)

    def predict(self, request: dict[str, Any]) -> Any:
        """{"out": path}: how to read the file there, the seconds the model took, and its classes."""
        start = time.perf_counter()
        values = self._call(self.table)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "classes": self.classes, **write_values(values, request["out"])}

    def time(self, request: dict[str, Any]) -> Any:
        """{"slices": lists of row numbers, "warm_up": calls}: nanoseconds of one call a slice, inputs made before."""
        inputs = [rows_of(self.table, rows) for rows in request["slices"]]
        for given in inputs[: request["warm_up"]]:
            self._call(given)
        taken = []
        for given in inputs:
            start = time.perf_counter_ns()
            self._call(given)
            taken.append(time.perf_counter_ns() - start)
        return taken

    def run(self, request: dict[str, Any]) -> Any:
        """{"file", …}: whatever `run(request, worker)` of that file gives, with this module as `worker`."""
        spec = importlib.util.spec_from_file_location("holdfast_work", request["file"])  # type: Any
        work = importlib.util.module_from_spec(spec)  # type: Any
        spec.loader.exec_module(work)
        return work.run(request, sys.modules[__name__])

    def _call(self, given: Any) -> Any:
        if self.call is None:
            raise BadRequest("no model is loaded")
        return self.call(given)


def answer(session: Session, request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request; whatever user code raises becomes an error with its place."""
    try:
        return {"ok": getattr(session, request["do"])(request)}
    except BadRequest as error:
        return {"error": {"kind": "user", "message": str(error)}}
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        message = " ".join(str(error).split())
        return {"error": {"kind": "model", "type": type(error).__name__, "message": message, "where": place(frames)}}


def place(frames: Any) -> str:
    """The last frame that is the user's own code, as `file.py, line 3, in function`; empty where there is none."""
    own = [frame for frame in frames if is_users(frame.filename)]
    if not own:
        return ""
    name = os.path.relpath(own[-1].filename)
    name = own[-1].filename if name.startswith("..") else name
    return f"{name}, line {own[-1].lineno}, in {own[-1].name}"


def is_users(file: str) -> bool:
    library = sysconfig.get_path("stdlib")
    installed = "site-packages" in file or "dist-packages" in file
    return not (installed or file.startswith((library, "<")) or file == __file__)


def listen(read_fd: int, requests: Any) -> None:
    """Pass requests on; when the parent is gone, end this process and all it started."""
    with os.fdopen(read_fd, encoding="utf-8") as pipe:
        for line in pipe:
            requests.put(json.loads(line))
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(read_fd: int, write_fd: int) -> None:
    for fd in (read_fd, write_fd):
        os.set_inheritable(fd, False)
    requests = queue.Queue()  # type: Any
    threading.Thread(target=listen, args=(read_fd, requests), daemon=True).start()
    session = Session()
    while True:
        reply = json.dumps(answer(session, requests.get())) + "\n"
        sys.stdout.flush()
        data = memoryview(reply.encode())
        while data:
            data = data[os.write(write_fd, data) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
