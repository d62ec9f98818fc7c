"""One tensor of the Open Inference Protocol read to an array: its datatype, its shape, and its data as JSON or bytes.

FP16, FP32, FP64, INT8…64, UINT8…64 and BOOL are numpy's types; BF16 is read as float32, which holds it exactly. BYTES are str
where they come as JSON and bytes where they come as bytes, unless the tensor's `content_type` says `str`, `base64` or, of
MLServer, `pd_json`: each is the text of a JSON value.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, NoneType
from typing import Any

import numpy as np

from holdfast.serving.protocol._json import loads, shown
from holdfast.serving.protocol.arrays import MOST_AXES, Array, column, flattened, objects
from holdfast.serving.served import BadInput

DTYPES = {
    "BOOL": np.dtype("?"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    "BF16": np.dtype("<u2"),  # its bits
    "BYTES": np.dtype(object),
}
_SCALARS = {str, int, float, bool, NoneType}
_INT = {int}
_NONE: Mapping[str, Any] = MappingProxyType({})
_CONTENT_TYPES = {None, "np", "pd", "str", "base64", "pd_json"}


@dataclass(slots=True)
class Tail:
    """What follows the JSON of a body: the bytes of its tensors, in the order in which it lists them."""

    body: bytes
    at: int

    def take(self, size: int) -> int:
        """Where the next `size` bytes begin."""
        begin = self.at
        if size > len(self.body) - begin:
            raise BadInput("the body ends before the binary data that it announces.")
        self.at += size
        return begin


def read(
    tensor: Any, tail: Tail | None, content_type: str | None = None, *, is_answer: bool = False
) -> tuple[str, Array]:
    """Name and array of a tensor; `content_type` is the request's, the tensor's own goes before. Raises BadInput.

    What an answer's unknown content types mean is between that model and its clients: its BYTES stay as they are.
    """
    if type(tensor) is not dict:
        raise BadInput("Every tensor is an object with name, shape, datatype and data.")
    name, datatype = tensor.get("name"), tensor.get("datatype")
    if type(name) is not str or not name:
        raise BadInput("Every tensor needs a name that is not empty.")
    if type(datatype) is not str or datatype not in DTYPES:
        raise BadInput(f"Tensor {shown(name)} has the datatype {shown(datatype)}; expected one of {', '.join(DTYPES)}.")
    parameters = parameters_of(tensor, "tensor", name)
    shape = _shape(tensor.get("shape"), name)
    try:
        array = _data(tensor, parameters, tail, datatype, shape)
    except BadInput as error:
        raise BadInput(f"Tensor {shown(name)}: {error}") from None
    if datatype == "BYTES":
        array = _converted(array, _content_type(parameters, content_type, name, is_answer), name)
    return name, array


def parameters_of(document: Mapping[str, Any], what: str, name: str = "") -> Mapping[str, Any]:
    """The `parameters` of something: text, numbers and booleans under names. Raises BadInput, which says what it is of."""
    parameters = document.get("parameters")
    if parameters is None:
        return _NONE
    if type(parameters) is not dict:
        raise BadInput(f"The parameters of {what} {shown(name)} are an object.")
    if not set(map(type, parameters.values())) <= _SCALARS:
        raise BadInput(f"The parameters of {what} {shown(name)} are text, numbers and booleans.")
    if "shared_memory_region" in parameters:
        raise BadInput("Shared memory is not offered here; send the data in the request.")
    return parameters


def as_text(array: Array, name: str) -> Array:
    """bytes of a BYTES array as str. Raises BadInput where they are not UTF-8."""
    try:
        return objects([v.decode() if type(v) is bytes else v for v in array.flat]).reshape(array.shape)
    except UnicodeDecodeError:
        raise BadInput(
            f"Tensor {shown(name)} is no UTF-8; give it the parameter content_type np where it is no text."
        ) from None


def _shape(shape: Any, name: str) -> tuple[int, ...]:
    if type(shape) is not list or not shape or len(shape) > MOST_AXES or set(map(type, shape)) != _INT:
        raise BadInput(f"Tensor {shown(name)}: shape is a list of 1 to {MOST_AXES} whole numbers, the rows first.")
    if min(shape) < 1 or max(shape) >= 2**31:
        raise BadInput(f"Tensor {shown(name)} has the shape {shown(shape)}; an axis has a length from 1 to 2**31 - 1.")
    return tuple(shape)


def _data(
    tensor: Mapping[str, Any], parameters: Mapping[str, Any], tail: Tail | None, datatype: str, shape: tuple[int, ...]
) -> Array:
    data, size = tensor.get("data"), parameters.get("binary_data_size")
    if (data is None) is (size is None):
        raise BadInput("expected either data or the parameter binary_data_size.")
    if size is None:
        return _from_json(data, datatype, shape)
    if type(size) is not int or size < 0:
        raise BadInput("binary_data_size is the number of bytes.")
    if tail is None:
        raise BadInput("binary_data_size without the header Inference-Header-Content-Length.")
    return _from_bytes(tail.body, tail.take(size), size, datatype, shape)


def _from_json(data: Any, datatype: str, shape: tuple[int, ...]) -> Array:
    if type(data) is not list:
        raise BadInput("data is a list.")
    flat, given = flattened(data)
    if len(flat) != math.prod(shape) or (len(given) > 1 and given != shape):
        raise BadInput(f"the shape {shown(list(shape))} does not fit the data, which is {shown(list(given))}.")
    return _typed_values(flat, datatype).reshape(shape)


def _typed_values(flat: list[Any], datatype: str) -> Array:
    kinds, dtype = set(map(type, flat)), DTYPES[datatype]
    if datatype == "BYTES" and kinds <= {str, NoneType}:
        return objects(flat)
    if datatype == "BOOL" and kinds == {bool}:
        return np.array(flat, bool)
    if datatype == "BF16":
        raise BadInput("BF16 is sent as binary data only.")
    try:
        if dtype.kind == "f" and kinds <= {float, int, NoneType}:
            return _floats(flat, dtype)
        if dtype.kind in "iu" and kinds == {int}:
            return _integers(flat, dtype)
    except OverflowError:
        raise BadInput(f"a number is out of the range of {datatype}.") from None
    raise BadInput(f"the data is not {datatype}: it has {', '.join(sorted(_kind(kind) for kind in kinds))} in it.")


def _floats(flat: list[Any], dtype: np.dtype[Any]) -> Array:
    wide = np.array(flat, np.float64)
    if dtype.itemsize == 8:
        return wide
    with np.errstate(over="ignore"):
        narrow = wide.astype(dtype)
    if np.count_nonzero(np.isinf(narrow)) != np.count_nonzero(np.isinf(wide)):
        raise OverflowError
    return narrow


def _integers(flat: list[int], dtype: np.dtype[Any]) -> Array:
    bounds = np.iinfo(dtype)
    if min(flat) < bounds.min or max(flat) > bounds.max:
        raise OverflowError
    return np.array(flat, dtype)


def _kind(kind: type) -> str:
    names = {dict: "objects", list: "uneven lists", NoneType: "nulls", bool: "booleans", int: "whole numbers"}
    return names.get(kind, {float: "fractions", str: "text"}.get(kind, kind.__name__))


def _from_bytes(body: bytes, begin: int, size: int, datatype: str, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    if datatype == "BYTES":
        return objects(_unpacked(body, begin, begin + size, count)).reshape(shape)
    dtype = DTYPES[datatype]
    if count * dtype.itemsize != size:
        raise BadInput(
            f"the shape {shown(list(shape))} needs {count * dtype.itemsize} bytes, binary_data_size is {size}."
        )
    if datatype == "BF16":
        return (np.frombuffer(body, dtype, count, begin).astype("<u4") << 16).view("<f4").reshape(shape)
    if datatype == "BOOL" and np.frombuffer(body, np.uint8, count, begin).max() > 1:
        raise BadInput("a BOOL is a byte of 0 or 1.")
    return np.frombuffer(body, dtype, count, begin).copy().reshape(shape)  # aligned and writable, as models expect


def _unpacked(body: bytes, at: int, end: int, count: int) -> list[bytes]:
    if count > (end - at) // 4:
        raise BadInput("the shape has more elements than the binary data.")
    values = []
    for _ in range(count):
        if at + 4 > end:
            break
        begin = at + 4
        at = begin + int.from_bytes(body[at:begin], "little")
        values.append(body[begin:at])
        if at > end:
            break
    if at != end or len(values) != count:
        raise BadInput("the lengths within the BYTES do not add up to binary_data_size.")
    return values


def _content_type(parameters: Mapping[str, Any], of_request: str | None, name: str, is_answer: bool) -> str | None:
    content_type = parameters.get("content_type", of_request)
    if content_type not in _CONTENT_TYPES:
        if is_answer:
            return None
        raise BadInput(
            f"Tensor {shown(name)} has the content_type {shown(content_type)}; known are np, pd, str, base64 and pd_json."
        )
    return None if content_type is None else str(content_type)


def _converted(array: Array, content_type: str | None, name: str) -> Array:
    if content_type in {"str", "pd"}:
        return as_text(array, name)
    if content_type == "base64":
        try:
            values = [v if v is None else base64.b64decode(v, validate=True) for v in array.flat]
            return objects(values).reshape(array.shape)
        except (binascii.Error, ValueError):
            raise BadInput(f"Tensor {shown(name)} is base64 by its content type, but its data is not.") from None
    return _from_json_texts(array, name) if content_type == "pd_json" else array


def _from_json_texts(array: Array, name: str) -> Array:
    try:
        values = [None if v is None else loads(v if type(v) is bytes else v.encode()) for v in array.flat]
    except BadInput:
        raise BadInput(f"Tensor {shown(name)} is pd_json by its content type, but its data is no JSON.") from None
    return column(values).reshape(array.shape)
