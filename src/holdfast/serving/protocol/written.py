"""One array written as a tensor of the Open Inference Protocol, its data as JSON or as bytes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date, datetime, time
from types import NoneType
from typing import Any

import numpy as np
import orjson

from holdfast.serving.payload import is_finite
from holdfast.serving.protocol._json import shown
from holdfast.serving.protocol.arrays import Array, column, objects
from holdfast.serving.protocol.tensors import DTYPES
from holdfast.serving.served import BadInput, ModelFault

_DATATYPES = {dtype: name for name, dtype in DTYPES.items() if name != "BF16"}


@dataclass(slots=True)
class Written:
    """A tensor as a document, and its bytes where its data is not in the document."""

    document: dict[str, Any]
    data: bytes | None = None


def write(name: str, array: Array, *, binary: bool, strict: bool = False) -> Written:
    """An array as a tensor. Missing text has no binary form, so it is JSON then, which clients tell apart by tensor.

    NaN is a word in JSON, or null with `strict`. Raises BadInput where it cannot be expressed the way it was asked for,
    ModelFault where in none.
    """
    array, datatype = _typed(name, array)
    document: dict[str, Any] = {"name": name, "shape": array.shape, "datatype": datatype}
    kinds = set(map(type, array.flat)) if datatype == "BYTES" else set()
    parameters: dict[str, Any] = {"content_type": "np" if bytes in kinds else "str"} if kinds else {}
    if binary and NoneType not in kinds:
        data = _packed(array.ravel().tolist()) if datatype == "BYTES" else array.tobytes()
        document["parameters"] = parameters | {"binary_data_size": len(data)}
        return Written(document, data)
    if parameters:
        document["parameters"] = parameters
    document["data"] = _json_data(name, array, datatype, strict)
    return Written(document)


def _typed(name: str, array: Array) -> tuple[Array, str]:
    """The array in a type of the protocol, little-endian, and that type's name."""
    datatype = _DATATYPES.get(array.dtype)
    if datatype is not None and datatype != "BYTES":
        return array, datatype
    if array.dtype.kind in "fiu":  # another byte order, or wider than 64 bits
        dtype = np.dtype(f"<{array.dtype.kind}{min(array.dtype.itemsize, 8)}")
        return array.astype(dtype), _DATATYPES[dtype]
    if array.dtype.name == "bfloat16":
        return array, "BF16"
    return _typed_objects(name, array)


def _typed_objects(name: str, array: Array) -> tuple[Array, str]:
    if array.dtype.kind == "M":
        array = np.datetime_as_string(array)
    if array.dtype.kind not in "OUS":
        raise ModelFault(
            "nonsense", f"Tensor {shown(name)} is of the type {array.dtype}, which the protocol does not have."
        )
    values = [_plain(value) for value in array.ravel().tolist()]
    kinds = set(map(type, values))
    if kinds <= {str, bytes, NoneType}:
        return objects(values).reshape(array.shape), "BYTES"
    typed = column(values)
    if typed.dtype.kind == "O":
        raise BadInput(
            f"Tensor {shown(name)} holds objects, which the protocol cannot express; ask through /invocations."
        )
    return typed.reshape(array.shape), _DATATYPES[typed.dtype]


def _json_data(name: str, array: Array, datatype: str, strict: bool) -> Any:
    flat = array.ravel()
    if datatype == "BYTES":
        return _json_text(name, flat)
    if datatype in {"FP16", "BF16"}:
        flat = flat.astype(np.float32)
    if flat.dtype.kind == "f" and not is_finite(flat):
        if strict:
            return _with_nulls(name, flat)
        return orjson.Fragment(json.dumps(flat.tolist(), separators=(",", ":")))
    return flat


def _with_nulls(name: str, flat: Array) -> Array:
    if np.isinf(flat).any():
        raise BadInput(f"Tensor {shown(name)} holds an infinity, and the model's server reads strict JSON only.")
    return flat  # orjson writes NaN as null


def _json_text(name: str, flat: Array) -> list[str | None]:
    try:
        return [v.decode() if type(v) is bytes else v for v in flat]
    except UnicodeDecodeError:
        raise BadInput(f"Tensor {shown(name)} holds bytes that are no text; ask for it with binary_data.") from None


def _packed(values: list[Any]) -> bytes:
    parts: list[bytes] = []
    for value in values:
        data = value if type(value) is bytes else value.encode("utf-8", "surrogatepass")
        parts += (len(data).to_bytes(4, "little"), data)
    return b"".join(parts)


def _plain(value: Any) -> Any:
    """An element of an object array as str, bytes, number or None: a missing text of pandas is NaN."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return None if isinstance(value, float) and math.isnan(value) else value
