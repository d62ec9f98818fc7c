"""What clients send, brought into the form that a model declares; what cannot be is left for MLflow to refuse."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from holdfast.serving.models.signature import Signature, example, fitted, read_signature
from holdfast.serving.payload import Payload, tensor
from holdfast.serving.served import BadInput, TensorSpec


def columns(**types: str) -> Signature:
    fields = [{"name": name, "type": kind, "required": True} for name, kind in types.items()]
    return read_signature({"signature": {"inputs": json.dumps(fields), "outputs": None}})


def tensors(*specs: tuple[str, str, list[int]]) -> Signature:
    fields = [{"name": n, "type": "tensor", "tensor-spec": {"dtype": d, "shape": s}} for n, d, s in specs]
    return read_signature({"signature": {"inputs": json.dumps(fields)}})


def objects(*values: Any) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("kind", "given", "dtype", "values"),
    [
        ("double", np.array([1, 2]), "float64", [1.0, 2.0]),
        ("float", np.array([1.5]), "float32", [1.5]),
        ("double", objects(1, None, 2.5), "float64", [1.0, np.nan, 2.5]),
        ("double", objects("1.5"), "object", ["1.5"]),
        ("double", objects(True), "object", [True]),
        ("double", np.array([True]), "bool", [True]),
        ("long", np.array([1], dtype=np.int8), "int64", [1]),
        ("integer", np.array([1, -1]), "int32", [1, -1]),
        ("integer", np.array([2**40]), "int64", [2**40]),
        ("long", np.array([2**63], dtype=np.uint64), "uint64", [2**63]),
        ("long", np.array([1.0]), "float64", [1.0]),
        ("boolean", np.array([1]), "int64", [1]),
        ("string", objects("a", b"\xc3\xbc", None), "object", ["a", "ü", None]),
        ("binary", objects("AP8=", b"raw"), "object", [b"\x00\xff", b"raw"]),
        ("datetime", objects("2024-01-01"), "object", ["2024-01-01"]),
    ],
)
def test_a_column(kind: str, given: Any, dtype: str, values: list[Any]) -> None:
    found = fitted(Payload("frame", ("x",), (given,)), columns(x=kind)).arrays[0]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.array(values, dtype=found.dtype))


@pytest.mark.parametrize(("kind", "value"), [("string", b"\xff"), ("binary", "not base64!")])
def test_text_that_is_not_what_its_column_says(kind: str, value: Any) -> None:
    with pytest.raises(BadInput, match="the column 'x' is"):
        fitted(Payload("frame", ("x",), (objects(value),)), columns(x=kind))


def test_tensors_as_columns() -> None:
    signature = columns(a="double", b="long")
    for given in (
        Payload("tensors", ("b", "a"), (np.array([[2], [4]]), np.array([1, 3]))),
        Payload("frame", ("b", "a"), (np.array([2, 4]), np.array([1, 3]))),
        tensor(np.array([[1, 2], [3, 4]])),
    ):
        found = fitted(given, signature)
        by_name = dict(zip(found.names, found.arrays, strict=True))
        assert found.kind == "frame" and by_name["a"].tolist() == [1.0, 3.0] and by_name["b"].tolist() == [2, 4]
        assert by_name["a"].dtype == np.float64
    for given in (tensor(np.ones((2, 3))), Payload("tensors", ("a", "b"), (np.ones((2, 2)), np.ones(2)))):
        assert fitted(given, signature) is given
    assert fitted(tensor(np.ones(3)), columns(only="double")).names == ("only",)


def test_tensors_by_name_and_by_place() -> None:
    signature = tensors(("x", "float32", [-1, 2]), ("y", "int64", [-1]))
    found = fitted(Payload("tensors", ("y", "x"), (np.array([1], dtype=np.int16), np.ones((1, 2)))), signature)
    assert [array.dtype for array in found.arrays] == [np.int64, np.float32]
    assert fitted(tensor(np.ones((1, 2))), signature).arrays[0].dtype == np.float32
    assert signature.spec().inputs == (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("y", "INT64", (-1,)))


def test_without_a_signature_nothing_is_touched() -> None:
    given = tensor(np.ones(2))
    assert fitted(given, Signature()) is given
    for document in ({}, {"signature": None}, {"signature": {"inputs": "no json"}}, {"signature": {"inputs": "[3]"}}):
        assert read_signature(document) == Signature()


def test_examples() -> None:
    made = example(columns(a="double", w="string", t="datetime", flag="boolean"))
    assert made is not None and made.rows == 1 and made.kind == "frame"
    assert [array.tolist()[0] for array in made.arrays[:2]] == [0.0, ""]
    made = example(tensors(("x", "float32", [-1, 3, 4])))
    assert made is not None and made.arrays[0].shape == (1, 3, 4)
    assert example(Signature()) is None
    assert example(columns(a="array")) is None
