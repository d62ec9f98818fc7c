"""Run the declared functions in the user's environment: in two processes, so that what is not the same twice is found."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from holdfast.config.schema import SnapshotFunction
from holdfast.errors import HoldfastError, OutsideError, UserError
from holdfast.models import Worker
from holdfast.snapshots import calls
from holdfast.snapshots.comparing import changed_rows

HASH_SEEDS = ("1", "4242")  # one each for the two processes


@dataclass(frozen=True)
class Ran:
    """What one function gave: outputs by part, the kind of each output, and whether a second run gave the same.

    `error` is set where it could not be run at all; `unsteady` is the row (part, number) that differed between runs.
    """

    outputs: Mapping[str, list[Any]]
    kinds: Mapping[str, str]
    error: HoldfastError | None = None
    unsteady: tuple[str, int] | None = None


@dataclass(frozen=True)
class Place:
    """Where user code runs: its interpreter, the project's root, seconds for one function."""

    python: Path
    root: Path
    timeout: float = 60.0


def run_twice(
    functions: Mapping[str, SnapshotFunction], tables: Mapping[str, pa.Table], where: Place
) -> dict[str, Ran]:
    """Every function on every table, in two processes side by side with different hash seeds.

    The second process gives values to functions in the opposite order, so that an answer that depends on what was asked
    before shows itself.
    """
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run_once, functions, tables, where)
        second = pool.submit(run_once, functions, tables, where, seed=HASH_SEEDS[1], backwards=True)
        return {name: _steady(ran, second.result()[name], functions[name]) for name, ran in first.result().items()}


def run_once(
    functions: Mapping[str, SnapshotFunction],
    tables: Mapping[str, pa.Table],
    where: Place,
    *,
    seed: str = HASH_SEEDS[0],
    backwards: bool = False,
    hashes: bool = False,
) -> dict[str, Ran]:
    """Every function on every table in one process; a function that hangs or dies costs only itself."""
    found: dict[str, Ran] = {}
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        files = _Files(Path(folder), tables, backwards)
        while left := [name for name in functions if name not in found]:
            found.update(_until_broken({name: functions[name] for name in left}, files, where, seed, hashes))
    return found


def _until_broken(
    functions: Mapping[str, SnapshotFunction], files: _Files, where: Place, seed: str, hashes: bool
) -> dict[str, Ran]:
    found: dict[str, Ran] = {}
    env = {"PYTHONHASHSEED": seed}
    with Worker(where.python, where.root, env=env, timeout=where.timeout, name="the function") as worker:
        for name, function in functions.items():
            worker.name = function.function
            try:
                found[name] = _run(worker, function, files, where, hashes)
            except OutsideError as error:
                found[name] = Ran({}, {}, _explained(error, function, files, where))
                if error.reason_code in ("model_timed_out", "model_died"):
                    return found
            except UserError as error:
                found[name] = Ran({}, {}, error)
    return found


def _run(worker: Worker, function: SnapshotFunction, files: _Files, where: Place, hashes: bool) -> Ran:
    outputs: dict[str, list[Any]] = {}
    kinds: dict[str, str] = {}
    module, _, attribute = function.function.partition(":")
    for part in files.parts:
        request = {
            "root": str(where.root.resolve()),
            "module": module,
            "function": attribute,
            "call": function.call,
            "columns": function.input or files.columns,
            "inputs": str(files.inputs(part, function)),
            "out": str(files.folder / "out.json"),
            "progress": str(files.progress),
            "hashes": hashes,
        }
        files.progress.unlink(missing_ok=True)
        files.current = part
        worker.run(calls.__file__, request)
        answer = json.loads((files.folder / "out.json").read_text("utf-8"))
        outputs[part] = files.forwards(answer["outputs"], function)
        kinds |= {name: kind for name, kind in answer["kinds"].items() if part == "data" or name not in kinds}
    return Ran(outputs, kinds)


class _Files:
    """The inputs as files: JSON rows for functions of a value, Parquet for those of a column or table."""

    def __init__(self, folder: Path, tables: Mapping[str, pa.Table], backwards: bool) -> None:
        self.folder, self.tables, self.backwards = folder, tables, backwards
        self.progress = folder / "progress"
        self.current = ""
        self._made: dict[tuple[str, ...], Path] = {}

    @property
    def parts(self) -> Iterable[str]:
        return self.tables

    @property
    def columns(self) -> list[str]:
        return next(iter(self.tables.values())).column_names if self.tables else []

    def inputs(self, part: str, function: SnapshotFunction) -> Path:
        of_value = function.call == "value"
        key = (part, *(function.input if of_value else ()))
        if key not in self._made:
            path = self.folder / f"{len(self._made)}.{'json' if of_value else 'parquet'}"
            if of_value:
                rows = rows_of(self.tables[part], function.input)
                path.write_text(json.dumps([[typed(v) for v in row] for row in self.forwards(rows, function)]), "utf-8")
            else:
                pq.write_table(self.tables[part], path)
            self._made[key] = path
        return self._made[key]

    def forwards(self, rows: Sequence[Any], function: SnapshotFunction) -> list[Any]:
        """Rows turned round, there and back, where this process works backwards."""
        return list(reversed(rows)) if self.backwards and function.call == "value" else list(rows)

    def hanging_input(self, function: SnapshotFunction) -> str | None:
        """The input that was being worked on, for functions of a value."""
        try:
            number = int(self.progress.read_text())
        except (OSError, ValueError):
            return None
        rows = self.forwards(rows_of(self.tables[self.current], function.input), function)
        return ", ".join(repr(value)[:80] for value in rows[number])


def rows_of(table: pa.Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Rows as tuples of Python values."""
    return list(zip(*(table.column(name).to_pylist() for name in columns), strict=True))


def typed(value: Any) -> Any:
    """A value of a table as JSON that `calls.decode` reads back."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, (datetime, date)):
        return {"time": value.isoformat()}
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _steady(first: Ran, second: Ran, function: SnapshotFunction) -> Ran:
    if first.error is not None:
        return first
    if second.error is not None:
        return second
    for part, outputs in first.outputs.items():
        if differing := changed_rows(outputs, second.outputs[part], function):
            return Ran(first.outputs, first.kinds, unsteady=(part, differing[0]))
    return first


def _explained(error: OutsideError, function: SnapshotFunction, files: _Files, where: Place) -> OutsideError:
    """The worker's error in the words of snapshots."""
    if error.reason_code != "model_timed_out":
        return error
    given = files.hanging_input(function)
    at = f" at the input {given}" if given else ""
    return OutsideError(
        f"{function.function} did not finish within {where.timeout:g} s{at} and was stopped.",
        hint="Raise `snapshots: {timeout: …}` if it needs longer.",
        reason_code="function_timed_out",
    )
