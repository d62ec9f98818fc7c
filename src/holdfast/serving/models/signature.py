"""What a saved model says of its inputs and outputs, and inputs brought into that form. Pure.

JSON knows one kind of number and the V2 protocol no columns, so what clients send is fitted to the signature as MLflow's
own server does it: numbers get the declared type where nothing is lost by kind, tensors of one axis become columns.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.serving.payload import Payload
from holdfast.serving.served import BadInput, ModelSpec, TensorSpec

Array = npt.NDArray[Any]
_COLUMN_TYPES: dict[str, tuple[str, str | None]] = {  # MLflow's name: (V2's name, numpy's)
    "boolean": ("BOOL", "bool"),
    "integer": ("INT32", "int32"),
    "long": ("INT64", "int64"),
    "float": ("FP32", "float32"),
    "double": ("FP64", "float64"),
}
_TENSOR_TYPES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"} | {
    f"{sign}{bits}": f"{sign.upper()}{bits}" for sign in ("int", "uint") for bits in (8, 16, 32, 64)
}


@dataclass(frozen=True, slots=True)
class Field:
    """One input or output: `dtype` is numpy's name or None, `mlflow` the name of a column's type, "" for a tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str | None
    mlflow: str = ""

    @property
    def spec(self) -> TensorSpec:
        """The field in the words of the V2 protocol."""
        if self.mlflow:
            return TensorSpec(self.name, _COLUMN_TYPES.get(self.mlflow, ("BYTES", None))[0], self.shape)
        return TensorSpec(self.name, _TENSOR_TYPES.get(self.dtype or "", "BYTES"), self.shape)


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's declared inputs and outputs; empty where it declares none."""

    inputs: tuple[Field, ...] = ()
    outputs: tuple[Field, ...] = ()

    @property
    def has_columns(self) -> bool:
        return bool(self.inputs) and bool(self.inputs[0].mlflow)

    def spec(self) -> ModelSpec:
        """What clients are told."""
        return ModelSpec("mlflow", tuple(f.spec for f in self.inputs), tuple(f.spec for f in self.outputs))


def read_signature(mlmodel: Mapping[str, Any], method: str = "predict") -> Signature:
    """The signature in an MLmodel document. The outputs are those of `predict`, so another method has none."""
    document = mlmodel.get("signature")
    if not isinstance(document, Mapping):
        return Signature()
    return Signature(_fields(document.get("inputs")), _fields(document.get("outputs")) if method == "predict" else ())


def _fields(text: Any) -> tuple[Field, ...]:
    """Nothing where the text is not MLflow's list: then nothing is promised, and MLflow itself will complain."""
    try:
        return tuple(_field(entry) for entry in json.loads(text)) if text else ()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _field(entry: Mapping[str, Any]) -> Field:
    name = str(entry.get("name") or "")
    if entry["type"] == "tensor":
        spec = entry["tensor-spec"]
        dtype = str(np.dtype(spec["dtype"]))
        return Field(name, tuple(int(n) for n in spec["shape"]), dtype if dtype in _TENSOR_TYPES else None)
    kind = str(entry["type"])
    return Field(name, (-1,), _COLUMN_TYPES.get(kind, ("", None))[1], kind)


def fitted(payload: Payload, signature: Signature) -> Payload:
    """`payload` as the model wants it. What cannot be fitted stays as it is, for MLflow to refuse by name.

    BadInput only for text that is not what its column says (UTF-8, base64).
    """
    if not signature.inputs:
        return payload
    found = _fitted(payload, signature)
    if payload.params is not None:
        found.params = payload.params
    return found


def _fitted(payload: Payload, signature: Signature) -> Payload:
    if not signature.has_columns:
        fields = _matching(payload, signature)
        return _with_arrays(payload, [_as_tensor(a, f) for a, f in zip(payload.arrays, fields, strict=True)])
    payload = _as_frame(payload, signature)
    if payload.kind != "frame":
        return payload
    columns = {field.name: field for field in signature.inputs}
    arrays = [
        _as_column(array, columns[name]) if name in columns else array
        for name, array in zip(payload.names, payload.arrays, strict=True)
    ]
    return _with_arrays(payload, arrays)


def _with_arrays(payload: Payload, arrays: list[Array]) -> Payload:
    if all(new is old for new, old in zip(arrays, payload.arrays, strict=False)):
        return payload
    return Payload(payload.kind, payload.names, tuple(arrays))


def _matching(payload: Payload, signature: Signature) -> list[Field]:
    """The field of each array, by name where it has one, else by place."""
    by_name = {field.name: field for field in signature.inputs}
    spare = Field("", (), None)
    places = [*signature.inputs, *[spare] * len(payload.names)]
    return [by_name.get(name, places[place]) for place, name in enumerate(payload.names)]


def _as_frame(payload: Payload, signature: Signature) -> Payload:
    """Tensors of one axis as columns; one tensor (n, columns) as the columns of the signature, in its order."""
    wanted = tuple(field.name for field in signature.inputs)
    if payload.kind == "tensor":
        array = payload.arrays[0]
        if len(wanted) == 1 and array.ndim == 1:
            return Payload("frame", wanted, (array,))
        if array.ndim == 2 and array.shape[1] == len(wanted) and all(wanted):
            return Payload("frame", wanted, tuple(array[:, place] for place in range(len(wanted))))
    if payload.kind == "tensors":
        columns = [a[:, 0] if a.ndim == 2 and a.shape[1] == 1 else a for a in payload.arrays]
        if all(column.ndim == 1 for column in columns):
            return Payload("frame", payload.names, tuple(columns))
    return payload


def _as_tensor(array: Array, field: Field) -> Array:
    """Integers as the declared integers or floats, floats as the declared floats."""
    wanted = np.dtype(field.dtype) if field.dtype else array.dtype
    if array.dtype == wanted or array.dtype.kind not in "iuf" or wanted.kind not in "iuf":
        return array
    if array.dtype.kind == "f" and wanted.kind != "f":
        return array
    return array.astype(wanted) if wanted.kind == "f" or _holds(array, wanted) else array


def _holds(array: Array, wanted: np.dtype[Any]) -> bool:
    """Whether every integer of `array` is one of `wanted`."""
    limits = np.iinfo(wanted)
    return array.size == 0 or (int(array.min()) >= limits.min and int(array.max()) <= limits.max)


def _as_column(array: Array, field: Field) -> Array:
    if field.mlflow == "string":
        return _texts(array, field.name)
    if field.mlflow == "binary":
        return _binaries(array, field.name)
    if array.dtype == object and field.dtype in ("float32", "float64"):
        return _with_missing(array, field.dtype)
    return _as_tensor(array, field)


def _with_missing(array: Array, dtype: str) -> Array:
    """Numbers and None as floats and NaN."""
    plain = all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in array)
    return array.astype(dtype) if plain else array


def _texts(array: Array, name: str) -> Array:
    if array.dtype != object or not any(isinstance(value, bytes) for value in array):
        return array
    try:
        return _objects([value.decode() if isinstance(value, bytes) else value for value in array])
    except UnicodeDecodeError:
        raise BadInput(f"the column {name!r} is text, and what was sent is no UTF-8") from None


def _binaries(array: Array, name: str) -> Array:
    if array.dtype != object or not any(isinstance(value, str) for value in array):
        return array
    try:
        return _objects([base64.b64decode(v, validate=True) if isinstance(v, str) else v for v in array])
    except (binascii.Error, ValueError):
        raise BadInput(f"the column {name!r} is binary: its text must be base64") from None


def _objects(values: list[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def example(signature: Signature) -> Payload | None:
    """One row of zeros, empty texts and free axes of length 1; None without a signature or with nested columns."""
    if not signature.inputs:
        return None
    if signature.has_columns:
        columns = [_example_column(field) for field in signature.inputs]
        named = all(field.name for field in signature.inputs)
        if not named or any(column is None for column in columns):
            return None
        return Payload("frame", tuple(f.name for f in signature.inputs), tuple(c for c in columns if c is not None))
    if any(field.dtype is None for field in signature.inputs):
        return None
    arrays = tuple(np.zeros([max(n, 1) if n != -1 else 1 for n in f.shape], f.dtype) for f in signature.inputs)
    return Payload("tensor" if len(arrays) == 1 else "tensors", tuple(f.name for f in signature.inputs), arrays)


def _example_column(field: Field) -> Array | None:
    if field.dtype is not None:
        return np.zeros(1, field.dtype)
    if field.mlflow == "datetime":
        return np.zeros(1, "datetime64[ns]")
    blank = {"string": "", "binary": b""}.get(field.mlflow)
    return None if blank is None else _objects([blank])
