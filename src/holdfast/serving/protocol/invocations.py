"""MLflow's `/invocations`: its JSON forms and CSV read to what `mlflow models serve` reads, and answered in its shape.

What it takes by accident of numpy or pandas is refused: a body without rows, a bare value where a list is due, rows that are
partly lists and partly objects, columns of unequal length, a name twice, a row of CSV that is longer than the header. The unit
is named in the header alone, since `params` belong to the model and its signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from holdfast.serving.payload import Payload, is_finite, tensor
from holdfast.serving.protocol import csv_table
from holdfast.serving.protocol._json import dumps, dumps_any, expressible, loads, shown
from holdfast.serving.protocol.arrays import MOST_CELLS, Array, columns, named, nested_array
from holdfast.serving.served import BadInput

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def parse(body: bytes, content_type: str | None) -> Payload:
    """A request from body and Content-Type, application/json or text/csv, in UTF-8. Raises BadInput, whatever they are."""
    if _mime_type(content_type) == "text/csv":
        return csv_table.parse(body)
    document = loads(body, exact=True)
    given = [form for form in FORMS if form in document] if type(document) is dict else []
    if len(given) != 1:
        raise BadInput(
            f"Expected a JSON object with one of {', '.join(FORMS)}; found {', '.join(given) or 'none of them'}."
        )
    payload = _READ[given[0]](document[given[0]])
    if "params" in document:
        payload.params = _params(document["params"])
    return payload


def answer(outputs: Payload) -> bytes:
    """`{"predictions": …}`: a list for a tensor, a list of objects for a frame, an object of lists for tensors.

    Numbers that are not finite are NaN, Infinity and -Infinity, as MLflow writes and its client reads them. Raises ModelFault
    (`nonsense`) for what JSON cannot hold.
    """
    document = {"predictions": _predictions(outputs)}
    return dumps(document) if all(map(_is_plain, outputs.arrays)) else dumps_any(document)


def error(message: str, code: str = "BAD_REQUEST") -> bytes:
    """The body of an answer that is none, as MLflow's clients read it."""
    return orjson.dumps({"error_code": code, "message": message.encode("utf-8", "backslashreplace").decode()})


def _mime_type(content_type: str | None) -> str:
    mime_type, *parameters = [part.strip() for part in (content_type or "").split(";")]
    for parameter in filter(None, parameters):
        key, _, value = parameter.partition("=")
        if key.lower() != "charset" or value.strip('"').lower() != "utf-8":
            raise BadInput(f"The Content-Type has {shown(parameter)} in it; only charset=utf-8 is taken.")
    if (mime_type := mime_type.lower()) not in {"application/json", "text/csv"}:
        raise BadInput(f"The Content-Type is application/json or text/csv, not {shown(content_type)}.")
    return mime_type


def _params(params: Any) -> Mapping[str, Any] | None:
    if params is not None and type(params) is not dict:
        raise BadInput("params is an object.")
    expressible(params)
    return params


def _split(form: Any) -> Payload:
    if type(form) is not dict or "data" not in form or not form.keys() <= {"data", "columns", "index"}:
        raise BadInput("dataframe_split is an object with data, and columns and index where there are some.")
    rows = _list(form["data"], "dataframe_split.data")
    names = form.get("columns")
    _check_index(form.get("index"), len(rows))
    if type(rows[0]) is not list:
        rows = [[value] for value in rows]
    if set(map(type, rows)) != {list} or len(widths := set(map(len, rows))) != 1:
        raise BadInput("The rows of dataframe_split.data are lists of the same length.")
    return _table(_column_names(names, widths.pop()), list(chain.from_iterable(rows)))


def _check_index(index: Any, rows: int) -> None:
    if index is not None and (type(index) is not list or len(index) != rows):
        raise BadInput(f"dataframe_split.index is a list with one entry for each of the {rows} rows.")


def _column_names(names: Any, width: int) -> Sequence[str]:
    if names is None:
        return [str(place) for place in range(width)]
    if type(names) is not list or not set(map(type, names)) <= {str, int}:
        raise BadInput("dataframe_split.columns is a list of names.")
    if len(names) != width:
        raise BadInput(f"dataframe_split has {len(names)} columns, but its rows have {width} values.")
    return [str(name) for name in names]


def _records(form: Any, what: str = "dataframe_records") -> Payload:
    records = _list(form, what)
    if set(map(type, records)) != {dict}:
        raise BadInput(f"{what} is a list of objects, one a row.")
    names = list(dict.fromkeys(chain.from_iterable(records)))
    cells = len(names) * len(records)
    if cells > MOST_CELLS and sum(map(len, records)) < cells:
        raise BadInput(
            f"{what} has {len(records)} rows with {len(names)} names between them; give every row every name."
        )
    return _table(names, [record.get(name) for record in records for name in names])


def _table(names: Sequence[str], flat: list[Any]) -> Payload:
    if not names:
        raise BadInput("The rows have no values; send at least one column.")
    return named(names, columns(flat, len(names)))


def _instances(form: Any) -> Payload:
    if type(form) is dict:
        return _named_lists(form, "instances")
    rows = _list(form, "instances")
    if type(rows[0]) is not dict:
        return tensor(nested_array(rows))
    if set(map(type, rows)) != {dict} or any(row.keys() != rows[0].keys() for row in rows):
        raise BadInput("instances has objects with different names; give every row every name.")
    return _named_lists({name: [row[name] for row in rows] for name in rows[0]}, "instances")


def _inputs(form: Any) -> Payload:
    if type(form) is dict:
        if form and not any(type(value) in {list, dict} for value in form.values()):
            return _records([form], "inputs")  # values that are no lists are one row
        return _named_lists(form, "inputs")
    rows = _list(form, "inputs")
    return _records(rows, "inputs") if set(map(type, rows)) == {dict} else tensor(nested_array(rows))


def _named_lists(form: Mapping[str, Any], what: str) -> Payload:
    if not form:
        raise BadInput(f"{what} has no names in it; send at least one input.")
    return named(list(form), [nested_array(_list(values, f"{what}.{shown(name)}")) for name, values in form.items()])


def _list(value: Any, what: str) -> list[Any]:
    if type(value) is not list:
        raise BadInput(f"{what} is a list, not {shown(value)}.")
    if not value:
        raise BadInput(f"{what} has no rows; send at least one.")
    return value


_READ = {"dataframe_split": _split, "dataframe_records": _records, "instances": _instances, "inputs": _inputs}


def _predictions(outputs: Payload) -> Any:
    if outputs.kind == "tensor":
        return outputs.arrays[0].tolist()
    lists = [array.tolist() for array in outputs.arrays]
    if outputs.kind == "tensors":
        return dict(zip(outputs.names, lists, strict=True))
    return [dict(zip(outputs.names, row, strict=True)) for row in zip(*lists, strict=True)]


def _is_plain(array: Array) -> bool:
    """Whether there is no number in it that orjson would write as null."""
    if array.dtype.kind == "f":
        return is_finite(array)
    return array.dtype.kind != "O" or set(map(type, array.flat)) <= {str, int, bool, bytes, type(None)}
