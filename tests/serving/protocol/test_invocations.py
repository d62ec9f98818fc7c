"""Beside the functions of MLflow's own scoring server, on the same bodies."""

from __future__ import annotations

import io
import json
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.serving.payload import Payload, tensor
from holdfast.serving.protocol import invocations
from holdfast.serving.served import BadInput, ModelFault
from tests.serving.protocol.payloads import is_same, payloads

with warnings.catch_warnings():  # it warns of its own type hints
    warnings.simplefilter("ignore")
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import scoring_server

JSON_TYPE = "application/json"


def by_mlflow(body: bytes) -> Any:
    """What a model without a signature is given by `mlflow models serve`."""
    data, _ = scoring_server._split_data_and_params(body)
    return scoring_server.infer_and_parse_data(data)


def _columns(given: Any) -> dict[str, list[Any]] | list[Any]:
    """MLflow's objects as what a payload is compared with: named columns, or one nested list."""
    if isinstance(given, pd.DataFrame):
        return {str(name): given[name].tolist() for name in given}
    if isinstance(given, dict):
        return {name: [_bare(v) for v in np.atleast_1d(value).tolist()] for name, value in given.items()}
    if isinstance(given, list):
        return _columns(pd.DataFrame([{k: v.tolist() for k, v in row.items()} for row in given]))
    return given.tolist()


def _bare(value: Any) -> Any:
    """MLflow leaves an array of no dimension in the place of a null in `instances`."""
    return value.item() if isinstance(value, np.ndarray) else value


def _is_close(left: Any, right: Any) -> bool:
    """The same values; None and NaN are one, as pandas has them."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_close, left, right))
    if left is None or (isinstance(left, float) and math.isnan(left)):
        return right is None or (isinstance(right, float) and math.isnan(right))
    return type(left) is type(right) and bool(left == right)


def assert_same(payload: Payload, given: Any) -> None:
    columns = _columns(given)
    if isinstance(columns, dict):
        assert payload.kind in {"frame", "tensors"} and list(columns) == list(payload.names)
        for array, values in zip(payload.arrays, columns.values(), strict=True):
            assert _is_close(array.tolist(), values), (array, values)
    else:
        assert payload.kind == "tensor" and _is_close(payload.arrays[0].tolist(), columns)


def both(body: bytes) -> None:
    assert_same(invocations.parse(body, JSON_TYPE), by_mlflow(body))


def split(data: Any, **others: Any) -> dict[str, Any]:
    return {"dataframe_split": {"data": data, **others}}


@pytest.mark.parametrize(
    "document",
    [
        split([[1, 2.5, "a"], [3, 4, "b"]], columns=["a", "b", "c"]),
        split([[1, 2.5], [3, 4.5]], columns=["a", "b"], index=[7, 8]),
        split([[1.5, 2.5]], columns=["a", "b"], index=None),
        split([[1, 2], [3, 4]]),
        split([[1, 2]], columns=[0, 1]),
        split([1, 2, 3], columns=["a"]),
        split([1, 2, 3]),
        split([[True, None, None, "x"], [False, 1, None, None]], columns=["a", "b", "c", "d"]),
        split([[[1, 2], {"k": 1}], [[3, 4], {"k": 2}]], columns=["a", "b"]),
        split([[2**63, 2**63], [1, -1]], columns=["a", "b"]),
        split([[2**70, 2**70 + 1, -(2**63) - 1], [1, None, 1.5]], columns=["a", "b", "c"]),
        split([[2**53 + 1], [None]], columns=["a"]),
        split([[True], [1]], columns=["a"]),
        split([[float("nan")], [float("inf")]], columns=["a"]),
        split([["👩‍💻"], ["\u2028"]], columns=["ü"]),
        {"dataframe_records": [{"a": 1, "b": "x"}, {"b": "y", "a": 2}]},
        {"dataframe_records": [{"a": 1}, {"b": "y"}, {"a": 2, "c": None}]},
        {"dataframe_records": [{"a": None}]},
        {"dataframe_records": [{"a": [1, 2]}, {"a": [3]}]},
        {"instances": [1, 2, 3]},
        {"instances": [[1, 2], [3, 4.5]]},
        {"instances": [[[1], [2]], [[3], [4]]]},
        {"instances": ["a", "b"]},
        {"instances": [["a", "b"], ["c", "d"]]},
        {"instances": [1, "a", 2.5, True]},
        {"instances": [2**70, "a", True]},
        {"instances": [1, True]},
        {"instances": [1, None]},
        {"instances": ["a", None]},
        {"instances": [2**63, 1]},
        {"instances": [2**64, 1]},
        {"instances": [float("nan"), 1]},
        {"instances": [{"a": 1, "b": [1, 2]}, {"b": [3, 4], "a": 2}]},
        {"instances": [{"a": 1}, {"a": "x"}]},
        {"instances": {"a": [1, 2], "b": [[1.5], [2.5]]}},
        {"inputs": [[1, 2], [3, 4]]},
        {"inputs": [1.5]},
        {"inputs": ["a"]},
        {"inputs": {"a": [1, 2], "b": ["x", "y"]}},
        {"inputs": {"a": [[1, 2], [3, 4]], "b": [[1], [2]]}},
        {"inputs": {"a": 1, "b": "x", "c": None}},
        {"inputs": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]},
        {"inputs": [[1, 2]], "params": {"k": 5, "names": ["a"]}, "other": 7},
    ],
    ids=json.dumps,
)
def test_bodies_are_read_as_mlflow_reads_them(document: Any) -> None:
    both(json.dumps(document).encode())


def test_params_are_given_on() -> None:
    body = b'{"inputs": [1], "params": {"k": [1, 2]}}'
    assert invocations.parse(body, JSON_TYPE).params == {"k": [1, 2]}
    assert invocations.parse(b'{"inputs": [1], "params": null}', JSON_TYPE).params is None


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        [{"inputs": [1]}],
        "inputs",
        None,
        {"a": [1]},
        {"inputs": [1], "instances": [1]},
        {"dataframe_split": [1]},
        {"dataframe_split": {}},
        {"dataframe_split": {"columns": ["a"]}},
        split([[1]], columns=["a"], extra=1),
        split([[1, 2]], columns=["a"]),
        split([[1]], columns=["a", "b"]),
        split([[1]], columns="ab"),
        split([[1], [2]], columns=["a"], index=[1, 2, 3]),
        split(7, columns=["a"]),
        {"dataframe_records": {"a": 1}},
        {"dataframe_records": 7},
        {"instances": [[1, 2], [3]]},
        {"instances": [[1, 2], 3]},
        {"instances": [1, [2]]},
        {"instances": [{"a": 1}, {"a": 1, "b": 1}]},
        {"instances": [{"a": 1}, 2]},
        {"instances": {"a": [1], "b": [1, 2]}},
        {"inputs": {"a": [[1], [2, 3]]}},
    ],
    ids=json.dumps,
)
def test_what_mlflow_refuses_is_refused(document: Any) -> None:
    body = json.dumps(document).encode()
    with pytest.raises((MlflowException, TypeError)):
        by_mlflow(body)
    with pytest.raises(BadInput) as refused:
        invocations.parse(body, JSON_TYPE)
    assert str(refused.value).endswith(".") and len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"inputs": []}', "no rows"),
        (b'{"dataframe_records": []}', "no rows"),
        (b'{"dataframe_split": {"data": [], "columns": ["a"]}}', "no rows"),
        (b'{"dataframe_records": [{}]}', "no values"),
        (b'{"dataframe_split": {"data": [[]]}}', "no values"),
        (b'{"inputs": {}}', "no names"),
        (b'{"inputs": [[]]}', "no values"),
        (b'{"instances": [{"a": 1}, {"b": 2}]}', "different names"),
        (b'{"dataframe_split": {"data": [[1]], "columns": ["a"], "index": [1, 2]}}', "one entry for each"),
        (b'{"inputs": 7}', "is a list"),
        (b'{"instances": "a"}', "is a list"),
        (b'{"dataframe_split": {"data": [[1, 2]], "columns": ["a", "a"]}}', "'a' is there twice"),
        (b'{"dataframe_split": {"data": [[1, 2]], "columns": ["a", null]}}', "list of names"),
        (b'{"dataframe_split": {"data": [[1, 2], [3]], "columns": ["a", "b"]}}', "the same length"),
        (b'{"dataframe_split": {"data": [[1], {"a": 1}], "columns": ["a"]}}', "the same length"),
        (b'{"dataframe_records": [{"a": 1}, [1]]}', "list of objects"),
        (b'{"inputs": {"a": [1, 2], "b": [1]}}', "'b' has 1 rows where 'a' has 2"),
        (b'{"inputs": ["\\ud800"]}', "not JSON"),
        (b'{"inputs": [1e999]}', "not JSON"),
        (b'{"inputs": [NaN, 1e999]}', "beyond the range"),
        (b'{"inputs": [' + b"9" * 5000 + b"]}", "not JSON"),
        (b'{"inputs": ' + b"[" * 40 + b"1" + b"]" * 40 + b"}", "more than 32 deep"),
        (b'{"inputs": ' + b"[" * 100_000, "not JSON"),
        (b'{"inputs": [1], "params": [1]}', "params is an object"),
        (b'{"inputs": [1], "params": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}", "out of bounds"),
        (b'{"dataframe_records": [{"a": ' + b"[" * 500 + b"]" * 500 + b"}]}", "out of bounds"),
        (b'{"messages": []}', "found none"),
        (b"\xff", "not JSON"),
    ],
)
def test_what_numpy_or_pandas_take_by_accident_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(BadInput, match=why) as refused:
        invocations.parse(body, JSON_TYPE)
    assert len(str(refused.value)) < 400


def test_bombs_of_text_and_of_holes_stay_small() -> None:
    wide = json.dumps({"instances": ["a" * 2**20, *["b"] * 100_000]}).encode()
    assert invocations.parse(wide, JSON_TYPE).rows == 100_001
    sparse = json.dumps({"dataframe_records": [{f"c{place}": 1} for place in range(20_000)]}).encode()
    with pytest.raises(BadInput, match="give every row every name"):
        invocations.parse(sparse, JSON_TYPE)


def test_ten_thousand_columns() -> None:
    names = [f"c{place}" for place in range(10_000)]
    payload = invocations.parse(json.dumps(split([list(range(10_000))] * 2, columns=names)).encode(), JSON_TYPE)
    assert payload.names == tuple(names) and payload.rows == 2


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json;",
    ],
)
def test_content_types_that_are_taken(content_type: str) -> None:
    assert invocations.parse(b'{"inputs": [1]}', content_type).rows == 1


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/json; x=1",
        "json",
    ],
)
def test_content_types_that_are_refused(content_type: str | None) -> None:
    with pytest.raises(BadInput, match="Content-Type"):
        invocations.parse(b'{"inputs": [1]}', content_type)


# Answers


def by_mlflow_written(predictions: Any) -> Any:
    written = io.StringIO()
    scoring_server.predictions_to_json(predictions, written)
    return json.loads(written.getvalue())


@pytest.mark.parametrize(
    ("outputs", "predictions"),
    [
        (tensor(np.array([0.25, 1.0])), np.array([0.25, 1.0])),
        (tensor(np.array([[1, 2], [3, 4]], np.int32)), np.array([[1, 2], [3, 4]], np.int32)),
        (tensor(np.array([0.1], np.float32)), np.array([0.1], np.float32)),
        (tensor(np.array([np.nan, np.inf, -np.inf])), np.array([np.nan, np.inf, -np.inf])),
        (tensor(np.array(["a", "b"], dtype=object)), np.array(["a", "b"], dtype=object)),
        (tensor(np.array([b"\xff" * 80], dtype=object)), np.array([b"\xff" * 80], dtype=object)),
        (tensor(np.array([True, False])), np.array([True, False])),
        (tensor(np.array([{"a": [1, None]}], dtype=object)), np.array([{"a": [1, None]}], dtype=object)),
        (tensor(np.array([2**70, 1], dtype=object)), np.array([2**70, 1], dtype=object)),
        (tensor(np.array([math.nan, "a"], dtype=object)), np.array([math.nan, "a"], dtype=object)),
        (
            tensor(np.array(["2026-01-02T03:04:05.000006"], "M8[us]")),
            np.array(["2026-01-02T03:04:05.000006"], "M8[us]"),
        ),
        (
            Payload("frame", ("a", "b"), (np.array([1, 2]), np.array(["x", None], dtype=object))),
            pd.DataFrame({"a": [1, 2], "b": pd.Series(["x", None], dtype=object)}),
        ),
        (
            Payload("tensors", ("a", "b"), (np.array([[1.5], [2.5]]), np.array([1, 2]))),
            {"a": np.array([[1.5], [2.5]]), "b": np.array([1, 2])},
        ),
    ],
)
def test_answers_are_mlflows(outputs: Payload, predictions: Any) -> None:
    answered, expected = json.loads(invocations.answer(outputs)), by_mlflow_written(predictions)
    assert repr(answered) == repr(expected)


def test_an_answer_that_json_cannot_hold_is_a_fault_of_the_model() -> None:
    with pytest.raises(ModelFault, match="cannot be expressed in JSON"):
        invocations.answer(tensor(np.array([{1, 2}], dtype=object)))


def test_an_error_is_as_mlflow_writes_one() -> None:
    ours, theirs = (
        json.loads(invocations.error("no")),
        json.loads(MlflowException("no", error_code=3).serialize_as_json()),
    )
    assert ours.keys() == theirs.keys() and ours == {"error_code": "BAD_REQUEST", "message": "no"}


# Properties

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3
)  # numpy cuts NUL off the end
SCALARS = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_infinity=False) | TEXT
NUMBERS = st.sampled_from([st.integers(-9, 9), st.floats(width=32), st.booleans(), st.text("ab", max_size=2), SCALARS])


@st.composite
def forms(draw: st.DrawFn) -> Any:
    """A body in one of the forms, whose columns are each of one kind or mixed."""
    rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    cells = [draw(st.lists(draw(NUMBERS), min_size=rows, max_size=rows)) for _ in range(width)]
    names = draw(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=3), min_size=width, max_size=width, unique=True
        )
    )
    records = [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]
    form = draw(st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "columns", "flat"]))
    if form == "dataframe_split":
        return split([list(row) for row in zip(*cells, strict=True)], columns=names)
    if form == "columns":
        return {"inputs": dict(zip(names, cells, strict=True))}
    return {"inputs": cells[0]} if form == "flat" else {form: records}


@settings(max_examples=300)
@given(forms())
def test_any_form_is_read_as_mlflow_reads_it(document: Any) -> None:
    body = json.dumps(document).encode()
    assert_same(invocations.parse(body, JSON_TYPE), by_mlflow(body))


ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300)
@given(st.sampled_from([*invocations.FORMS, "x"]), ANY, ANY)
def test_any_json_is_read_or_refused(form: str, value: Any, params: Any) -> None:
    only_bad_input(json.dumps({form: value, "params": params}).encode(), JSON_TYPE)


@given(ANY, ANY, ANY)
def test_any_split_is_read_or_refused(data: Any, columns: Any, index: Any) -> None:
    only_bad_input(json.dumps(split(data, columns=columns, index=index)).encode(), JSON_TYPE)


@given(st.binary(max_size=100), st.none() | st.text(max_size=5) | st.sampled_from([JSON_TYPE, "text/csv"]))
def test_any_bytes_are_read_or_refused(body: bytes, content_type: str | None) -> None:
    only_bad_input(body, content_type)


def only_bad_input(body: bytes, content_type: str | None) -> None:
    try:
        request = invocations.parse(body, content_type)
    except BadInput as error:
        assert str(error).endswith(".") and len(str(error)) < 400
        return
    assert request.rows >= 1
    assert {len(array) for array in request.arrays} == {request.rows}
    assert json.loads(invocations.answer(request)).keys() == {"predictions"}


@given(payloads())
def test_any_answer_can_be_read(outputs: Payload) -> None:
    predictions = json.loads(invocations.answer(outputs))["predictions"]
    if outputs.kind == "tensor" and outputs.arrays[0].dtype.kind in "iufb":
        assert is_same(np.array(predictions, outputs.arrays[0].dtype), outputs.arrays[0])
    assert len(predictions) == (len(outputs.names) if outputs.kind == "tensors" else outputs.rows)
