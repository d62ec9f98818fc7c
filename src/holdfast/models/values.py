"""What counts as a set of predictions: one finite number, label, or row of class probabilities for every row. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.errors import OutsideError, UserError
from holdfast.store import digest

Values = npt.NDArray[Any]


def check_values(values: Any, rows: int, name: str) -> Values:
    """`values` as an array (rows,) or (rows, K) of float64, int64, bool, or str objects.

    A column of shape (n, 1) becomes (n,). Raises OutsideError, reason `bad_predictions`, with one sentence that starts
    with `name`, where there is not one prediction a row, or one is missing, NaN, infinite or of another kind.
    """
    try:
        array = as_values(values)
    except (TypeError, ValueError):
        raise _bad(name, f"gave {_kind(values)}, expected one number or label for each row") from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 0 or array.ndim > 2:
        raise _bad(name, f"gave predictions of shape {array.shape}, expected one for each of {rows:,} rows")
    if len(array) != rows:
        raise _bad(name, f"gave {len(array):,} predictions for {rows:,} rows")
    _check_finite(array, name)
    return array


def _check_finite(array: Values, name: str) -> None:
    if array.dtype.kind == "f":
        wrong = ~np.isfinite(array)
        word = "NaN or infinite"
    elif array.dtype == object:
        wrong = np.array([value is None for value in array.ravel()], dtype=bool).reshape(array.shape)
        word = "missing"
    else:
        return
    if wrong.any():
        at = np.flatnonzero(wrong if wrong.ndim == 1 else wrong.any(axis=1))
        shown = ", ".join(str(row) for row in at[:5])
        raise _bad(name, f"gave {word} predictions for {len(at):,} of {len(array):,} rows (rows {shown})")


def as_values(values: Any) -> Values:
    """Numbers as float64 or int64, truth as bool, text as objects; TypeError or ValueError for anything else."""
    array = values if isinstance(values, np.ndarray) else _from_list(values)
    if array.dtype.kind in "iu" and array.dtype != np.uint64:
        return array.astype(np.int64)
    if array.dtype.kind in "fu":
        return array.astype(np.float64)
    if array.dtype.kind == "O":
        return _from_list(array.tolist())
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind != "b":
        raise TypeError
    return array


def _from_list(values: Any) -> Values:
    if not isinstance(values, list):
        raise TypeError
    kinds = {type(value) for value in values}
    if kinds <= {str, type(None)}:
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    if kinds == {list}:
        return np.asarray([[float(value) for value in row] for row in values], dtype=np.float64)
    if kinds <= {bool}:
        return np.asarray(values, dtype=bool)
    if kinds <= {int}:
        return np.asarray(values, dtype=np.int64)
    if kinds <= {int, float, bool, type(None)}:
        return np.asarray([np.nan if value is None else value for value in values], dtype=np.float64)
    raise TypeError


def positive_score(values: Values, classes: Sequence[Any] | None, positive: Any, name: str) -> Values:
    """Two columns of probabilities, (n, 2), as the score of the positive class, (n,); other shapes as they are.

    The columns are those of `classes`; without them the second one is the positive class, as in scikit-learn, whose
    classes are sorted. UserError where `positive` is none of the classes.
    """
    if values.ndim != 2 or values.shape[1] != 2:
        return values
    if not classes:
        return values[:, 1]
    names = list(classes)
    if positive not in names:
        raise UserError(
            f"{name} knows the classes {names[0]!r} and {names[1]!r}, and model.positive is {positive!r}.",
            hint="Set `model: {positive: …}` to one of them.",
        )
    return values[:, names.index(positive)]


def values_digest(values: Values) -> str:
    """`sha256:…` of predictions: equal exactly where kind, shape and every value are."""
    if values.dtype == object:
        return digest(json.dumps(values.tolist(), ensure_ascii=False).encode())
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return digest(f"{little.dtype.str}{little.shape}\n".encode() + little.tobytes())


def _bad(name: str, problem: str) -> OutsideError:
    return OutsideError(f"{name} {problem}.", reason_code="bad_predictions")


def _kind(values: Any) -> str:
    if isinstance(values, np.ndarray):
        return f"an array of {values.dtype}"
    if isinstance(values, list):
        return "a list of " + " and ".join(sorted({type(value).__name__ for value in values}))
    return f"a {type(values).__name__}"
