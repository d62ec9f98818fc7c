"""Runs in the user's environment, handed to the worker: calls one function on recorded inputs and writes its outputs.

Standard library only; pandas or pyarrow are used where the environment has them, because the function wants their
tables. Works on Python 3.9 and newer. A value becomes JSON that keeps what matters: numbers exactly, NaN and infinities
by name, what is raised as a value of its own.
"""

# Paths are text here, as the protocol brings them.
# ruff: noqa: PTH123

from __future__ import annotations

import datetime as dt
import hashlib
import inspect
import json
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

DIGITS = 6  # of a number, where only its hash is kept


class NotComparable(Exception):
    """An output that two runs cannot be compared by."""


def run(request: dict[str, Any], worker: Any) -> dict[str, Any]:
    """{"root", "module", "function", "call", "columns", "inputs", "out", "progress", "hashes"}: seconds and row count.

    `inputs` is a JSON file of rows for `call: value`, else a Parquet file. With `hashes` each output is written as the
    hash of its rounded value. UserError's text for a function that cannot be called so or an output of no known kind.
    """
    try:
        function = resolve(request, worker)
        kinds, outputs = CALLS[request["call"]](function, request, worker)
    except NotComparable as error:
        raise worker.BadRequest(str(error)) from None
    if request["hashes"]:
        outputs = [hashed(output) for output in outputs]
    with open(request["out"], "w", encoding="utf-8") as file:
        json.dump({"kinds": kinds, "outputs": outputs}, file)
    return {"rows": len(outputs)}


def resolve(request: dict[str, Any], worker: Any) -> Callable[..., Any]:
    """The function; for `module:Class.method` the method of an instance made without arguments."""
    found = worker.load_callable(request["root"], request["module"], request["function"])
    owner, _, method = request["function"].rpartition(".")
    if owner and inspect.isfunction(found):
        parent = worker.load_callable(request["root"], request["module"], owner)
        if inspect.isclass(parent) and not isinstance(inspect.getattr_static(parent, method), staticmethod):
            return getattr(parent(), method)  # type: ignore[no-any-return]
    return found  # type: ignore[no-any-return]


# --- ways of calling ------------------------------------------------------------------------------------------------


def by_value(function: Callable[..., Any], request: dict[str, Any], worker: Any) -> tuple[dict[str, str], list[Any]]:
    """Once a row; the number of the row being worked on stands in the file `progress`, for the case that it hangs."""
    del worker
    with open(request["inputs"], encoding="utf-8") as file:
        rows = [[decode(value) for value in row] for row in json.load(file)]
    progress = os.open(request["progress"], os.O_WRONLY | os.O_CREAT, 0o600)
    outputs = []
    try:
        for number, row in enumerate(rows):
            os.pwrite(progress, b"%12d" % number, 0)
            outputs.append(attempted(function, row))
    finally:
        os.close(progress)
    return {}, outputs


def by_column(function: Callable[..., Any], request: dict[str, Any], worker: Any) -> tuple[dict[str, str], list[Any]]:
    """Once with the column as a pandas Series, or as what the environment reads; else row by row to see who raises."""
    name = request["columns"][0]
    return by_table(lambda table: function(table[name]), request, worker)


def by_table(function: Callable[..., Any], request: dict[str, Any], worker: Any) -> tuple[dict[str, str], list[Any]]:
    """Once with all rows; where that raises, once a row, so that the rows that raise are told from the others."""
    table = worker.read_table(request["inputs"], [])
    if hasattr(table, "iloc"):
        table = table[request["columns"]]
    given = worker.rows_of(table, list(range(len(table))))  # one of its own, for functions that work in place
    try:
        return by_rows(function(given), len(table))
    except NotComparable:
        raise
    except Exception:  # noqa: BLE001 - whatever user code raises is its answer
        outputs = []
        for row in range(len(table)):
            one = worker.rows_of(table, [row])
            outputs.append(attempted(lambda table: Row(by_rows(function(table), 1)[1][0]), [one]))
        return {}, outputs


CALLS = {"value": by_value, "column": by_column, "table": by_table}


class Row:
    """An output that is encoded already."""

    def __init__(self, encoded: Any) -> None:
        self.encoded = encoded


def attempted(function: Callable[..., Any], given: Sequence[Any]) -> Any:
    """One call's output, or what it raised."""
    try:
        output = function(*given)
        return output.encoded if isinstance(output, Row) else encode(output)
    except NotComparable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever user code raises is its answer
        return {"raises": type(error).__name__, "message": " ".join(str(error).split())[:200]}


def by_rows(result: Any, rows: int) -> tuple[dict[str, str], list[Any]]:
    """The kind of each output, and one encoded output a row; a frame gives a dict of its columns."""
    if hasattr(result, "toarray"):
        result = result.toarray()
    if hasattr(result, "column_names") and hasattr(result, "to_pydict"):
        columns = result.to_pydict()
        kinds = {str(field.name): str(field.type) for field in result.schema}
    elif hasattr(result, "columns") and hasattr(result, "iloc"):
        columns = {str(name): listed(result[name]) for name in result.columns}
        kinds = {str(name): str(result[name].dtype) for name in result.columns}
    else:
        kinds = {"": str(result.dtype)} if hasattr(result, "dtype") else {}
        return kinds, [encode(value) for value in counted(listed(result), rows)]
    encoded = {name: [encode(value) for value in counted(values, rows)] for name, values in columns.items()}
    return kinds, [{"dict": {name: values[row] for name, values in encoded.items()}} for row in range(rows)]


def listed(values: Any) -> Sequence[Any]:
    if hasattr(values, "to_pylist"):
        values = values.to_pylist()
    elif hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, (list, tuple)):
        raise NotComparable(f"gives a {type(values).__name__}, expected one output a row")
    return values


def counted(values: Sequence[Any], rows: int) -> Sequence[Any]:
    if len(values) != rows:
        raise NotComparable(f"gives {len(values)} outputs for {rows} rows, expected one a row")
    return values


# --- values ---------------------------------------------------------------------------------------------------------


def decode(value: Any) -> Any:
    """An input as it was: times and numbers that JSON lacks come as {"time": …} and {"float": …}."""
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float(value["float"])
    return dt.datetime.fromisoformat(value["time"])


def encode(value: Any) -> Any:
    """A value as JSON; NotComparable for what has no content of its own."""
    if value is None or isinstance(value, (bool, str, int)):
        return value if type(value) in (type(None), bool, str, int) else plain_scalar(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {str(key): encode(item) for key, item in value.items()}}
    if isinstance(value, (set, frozenset)):
        return {"set": sorted((encode(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))}
    return encode_other(value)


def plain_scalar(value: Any) -> Any:
    """Subclasses of str and int, enums among them, as what they hold."""
    return str.__str__(value) if isinstance(value, str) else int(value)


def encode_other(value: Any) -> Any:
    kind = type(value).__name__
    if kind in ("NAType", "NaTType"):
        return None
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return {"time": value.isoformat()}
    if isinstance(value, dt.timedelta) or kind in ("Decimal", "Fraction", "UUID", "Period", "Interval"):
        return {kind.lower(): str(value)}
    if kind in ("longdouble", "float128"):
        return encode(float(value))
    return encode(content(value))


def content(value: Any) -> Any:
    """What an array, a table, a series or a dataclass holds, as Python's own values."""
    if hasattr(value, "toarray"):
        value = value.toarray()
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return value.to_dict("list")
    for method in ("tolist", "to_pylist", "as_py", "item"):
        if callable(getattr(value, method, None)):
            held = getattr(value, method)()
            if type(held) is not type(value):  # else there is no end to it
                return held
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    raise NotComparable(
        f"gives a {type(value).__name__}, which cannot be compared: expected numbers, text, times, or lists and dicts of them"
    )


def hashed(output: Any) -> str:
    """16 hexadecimal digits of an output whose numbers are rounded."""
    text = json.dumps(rounded(output), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        if isinstance(value.get("dict"), dict):  # the user's own names, `raises` possibly among them
            return {"dict": {k: rounded(v) for k, v in value["dict"].items()}}
        return {"raises": value["raises"]} if "raises" in value else {k: rounded(v) for k, v in value.items()}
    return value
