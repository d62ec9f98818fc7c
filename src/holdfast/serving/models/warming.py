"""Before a version may take traffic: asked once what it was asked before it was released, and it answers as it did then."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from holdfast.config.serving import ServingConfig
from holdfast.data.tables import open_table
from holdfast.errors import HoldfastError, OutsideError, Refused
from holdfast.models.recorded import load_predictions
from holdfast.models.reference import read_mlmodel
from holdfast.models.values import Values, check_values, positive_score
from holdfast.release.state import ReleaseVersion
from holdfast.serving.checks import nonsense
from holdfast.serving.models.loading import Loaded, Source, load
from holdfast.serving.models.process import ProcessModel
from holdfast.serving.models.signature import example, read_signature
from holdfast.serving.payload import Payload
from holdfast.serving.protocol import invocations
from holdfast.serving.served import BadInput, ModelFault, ModelSpec, ServedModel
from holdfast.store import Store

GOLDEN_ROWS = 32
TOLERANCE = 1e-5  # a batch of another size may change the last digits
_OF_THE_MODEL = {"model_raised", "model_died", "model_timed_out"}
_log = logging.getLogger(__name__)
Kind = Literal["golden", "input_example", "signature", "nothing"]


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Rows that a version was asked before its release, and its recorded predictions for them, (n,) or (n, K)."""

    inputs: Payload
    recorded: Values
    positive: Any = 1


@dataclass(frozen=True, slots=True)
class Warmed:
    """Whether a version may take traffic, in one sentence. `asked` is what it was asked; `checks` what was looked at."""

    ok: bool
    message: str
    asked: Kind
    checks: tuple[str, ...] = ()
    milliseconds: float = 0.0


def golden_rows(
    store: Store,
    holdout: Path,
    *,
    model_digest: str,
    holdout_digest: str,
    environment: str | None,
    label: str,
    group: str | None = None,
    positive: Any = 1,
    rows: int = GOLDEN_ROWS,
) -> Golden | None:
    """The first rows of the holdout and what the version said of them in its own environment; None where nothing is on record.

    Whole units of `group` are taken, because a model may look at all rows of one together.
    """
    found = load_predictions(store, model_digest, holdout_digest, environment) if environment else None
    if found is None:
        return None
    table = open_table(holdout)
    names = [name for name in table.columns if name != label]
    wanted = [*names, *([group] if group and group not in names else [])]
    read = table.read(wanted)
    chosen = _first_units(read.column(group).to_pylist() if group else None, len(read), rows)
    part = read.take(pa.array(chosen, pa.int64())).select(names)
    return Golden(frame_of(part), found.values[chosen], positive)


def _first_units(units: list[Any] | None, total: int, rows: int) -> list[int]:
    """The first `rows` rows, or all rows of as many first units as it takes to have so many."""
    if units is None:
        return list(range(min(rows, total)))
    of_unit: dict[Any, list[int]] = {}
    for row, unit in enumerate(units):
        of_unit.setdefault(unit, []).append(row)
    chosen: list[int] = []
    for places in of_unit.values():
        if len(chosen) >= rows:
            break
        chosen += places
    return sorted(chosen)


def frame_of(table: pa.Table) -> Payload:
    """A table as the frame that pandas would read: missing integers as NaN, text and nested values as objects."""
    arrays = []
    for column in table.columns:
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        whole = whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole
        array = whole.to_numpy(zero_copy_only=False)
        if pa.types.is_nested(whole.type) or pa.types.is_date(whole.type) or array.dtype.kind not in "biufM":
            array = np.fromiter(whole.to_pylist(), dtype=object, count=len(whole))
        arrays.append(array)
    return Payload("frame", tuple(table.column_names), tuple(arrays))


async def load_warm(
    version: ReleaseVersion,
    source: Source,
    serving: ServingConfig,
    golden: Callable[[], Golden | None] = lambda: None,
) -> ServedModel:
    """A version that may take traffic: loaded, and warm. `golden` is asked in a thread.

    Raises Refused where the version is at fault (it cannot be loaded, it does not answer as it did), OutsideError where store,
    registry or network are away, UserError where the project is wrong. Nothing keeps running then.
    """
    try:
        loaded = await load(version, source, serving)
    except OutsideError as error:
        if error.reason_code in _OF_THE_MODEL:
            raise Refused(error.message, hint=error.hint, reason_code=error.reason_code) from None
        raise
    try:
        rows = await asyncio.to_thread(golden)
        warmed = await warm(loaded, rows, timeout=serving.load_timeout.total_seconds(), method=source.model.predict)
        _log.info("%s It runs %s.", warmed.message, loaded.note)
        _require(warmed)
    except BaseException:
        await loaded.model.close()
        raise
    return loaded.model


def _require(warmed: Warmed) -> None:
    if not warmed.ok:
        raise Refused(warmed.message, hint="It takes no traffic here until it does.", reason_code="not_warm")


async def warm(
    loaded: Loaded, golden: Golden | None, *, timeout: float, method: str = "predict", tolerance: float = TOLERANCE
) -> Warmed:
    """Ask the version once, at most for `timeout` seconds, and look at its answer.

    With `golden` the answer must be the recorded one; a version that is in an environment other than its own, which was
    allowed by name, may differ, and that is said. Without, the model's input example is asked, or one row made from its
    signature: then any sane answer will do, and a made row that the model refuses proves nothing against it.
    """
    model = loaded.model
    asked, inputs = ("golden", golden.inputs) if golden is not None else _example(loaded.folder, method)
    if inputs is None:
        return Warmed(True, f"version {model.version} is loaded; it has no example to ask.", "nothing", ("loaded",))
    try:
        answer, milliseconds, notes = await _answer(model, inputs, timeout)
    except (ModelFault, BadInput) as error:
        proves_nothing = asked == "signature" and (isinstance(error, BadInput) or error.fault == "raised")
        said = f"version {model.version} did not answer {_WORDS[asked]}: {error}."
        return Warmed(proves_nothing, said, asked, ("loaded",))
    if isinstance(model, ProcessModel):
        await model.rehearse(inputs, timeout)
    checks = ("loaded", "answered", "sane", *notes)
    took = f"in {milliseconds:.0f} ms"
    if golden is None:
        return Warmed(True, f"version {model.version} answers {_WORDS[asked]} {took}.", asked, checks, milliseconds)
    differs = difference(answer, golden, getattr(model, "classes", None), tolerance)
    if differs is None:
        said = f"version {model.version} answers {inputs.rows} golden rows as recorded, {took}."
        return Warmed(True, said, asked, (*checks, "as recorded"), milliseconds)
    said = f"version {model.version} does not answer as recorded: {differs}."
    return Warmed(not loaded.is_own, said, asked, (*checks, "not as recorded"), milliseconds)


_WORDS: dict[Kind, str] = {
    "golden": "its golden rows",
    "input_example": "its input example",
    "signature": "a row made from its signature",
    "nothing": "nothing",
}


async def _answer(model: ServedModel, inputs: Payload, timeout: float) -> tuple[Payload, float, tuple[str, ...]]:
    """The second answer with its time, because the first pays for what a model does once. A signature that the model does not
    keep to is not held against its answers afterwards.
    """
    answer = await model.infer(inputs, timeout)
    start = time.perf_counter()
    answer = await model.infer(inputs, timeout)
    milliseconds = (time.perf_counter() - start) * 1000
    check_answer(answer, inputs.rows, ModelSpec())
    wrong = nonsense(answer, inputs.rows, model.spec)
    if wrong is None:
        return answer, milliseconds, ()
    model.spec = replace(model.spec, outputs=())
    return answer, milliseconds, (f"not checked against its signature ({wrong})",)


def check_answer(outputs: Payload, rows: int, expected: ModelSpec) -> None:
    """Raises ModelFault `nonsense` where `outputs` is not one finite output for each of `rows` rows, of the expected shape."""
    reason = nonsense(outputs, rows, expected) or _missing(outputs)
    if reason is not None:
        raise ModelFault("nonsense", reason)


def _missing(outputs: Payload) -> str | None:
    """Whether a value of an output of objects is None, or a number that is not finite."""
    for array in outputs.arrays:
        if array.dtype == object and any(_is_missing(value) for value in array.flat):
            return "its output has missing values"
    return None


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def difference(answer: Payload, golden: Golden, classes: Any, tolerance: float) -> str | None:
    """How an answer differs from the recorded one; None where it does not. Pure."""
    array = answer.arrays[0] if len(answer.arrays) == 1 else _prediction(answer)
    try:
        values = check_values(array, golden.inputs.rows, "it")
        values = positive_score(values, classes, golden.positive, "it")
    except HoldfastError as error:
        return error.message.rstrip(".")
    recorded = golden.recorded
    if values.shape != recorded.shape:
        return f"its answer has shape {values.shape}, {recorded.shape} is recorded"
    moved = _moved(values, recorded, tolerance)
    if not moved.any():
        return None
    row = int(np.flatnonzero(moved)[0])
    return f"{int(moved.sum())} of {len(moved)} golden rows differ, such as row {row}: {values[row]} now, {recorded[row]} then"


def _prediction(answer: Payload) -> npt.NDArray[Any]:
    """Of several outputs the one that is called prediction, else all as columns: what the gate compared."""
    if "prediction" in answer.names:
        return answer.arrays[answer.names.index("prediction")]
    return np.column_stack(answer.arrays)


def _moved(values: Values, recorded: Values, tolerance: float) -> npt.NDArray[np.bool_]:
    """Which rows differ, (n,): numbers by more than `tolerance` of the larger one or of the typical size."""
    if values.dtype.kind in "fiu" and recorded.dtype.kind in "fiu":
        one, two = values.astype(np.float64), recorded.astype(np.float64)
        size = np.maximum(np.abs(one), np.abs(two))
        by = np.abs(one - two) > tolerance * np.maximum(size, 0.01 * float(np.median(size)))
    else:
        by = np.asarray(values != recorded, dtype=np.bool_)
    return by if by.ndim == 1 else np.asarray(by.any(axis=1), dtype=np.bool_)


def _example(folder: Path | None, method: str) -> tuple[Kind, Payload | None]:
    """The example that was saved with a model, else one made from its signature."""
    if folder is None:
        return "nothing", None
    mlmodel = read_mlmodel(folder)
    saved = _saved_example(folder, mlmodel.get("saved_input_example_info"))
    if saved is not None:
        return "input_example", saved
    made = example(read_signature(mlmodel, method))
    return ("signature", made) if made is not None else ("nothing", None)


def _saved_example(folder: Path, about: Any) -> Payload | None:
    """None where there is none that this protocol can read: examples are for people, and may be anything."""
    name = about.get("serving_input_path") if isinstance(about, dict) else None
    path = folder / name if isinstance(name, str) and name == Path(name).name else None
    if path is None or not path.is_file():
        return None
    try:
        return invocations.parse(path.read_bytes(), "application/json")
    except BadInput:
        return None
