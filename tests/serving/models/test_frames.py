"""What goes through the socket comes out as it went in, whatever it is."""

from __future__ import annotations

import ast
import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from holdfast.serving.models import child

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(st.characters()),  # lone surrogates too
    st.binary(max_size=20),
    st.datetimes(timezones=st.sampled_from([None, dt.UTC])),
    st.dates(),
    st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)),
)


def through(*sent: Any) -> list[Any]:
    frame = child.pack({"id": 1}, sent)
    head, body = child.LENGTHS.unpack_from(frame)
    assert len(frame) == child.LENGTHS.size + head + body
    document = json.loads(frame[child.LENGTHS.size : child.LENGTHS.size + head])
    return child.unpack(document, bytearray(frame[child.LENGTHS.size + head :]))


@given(
    arrays.arrays(
        st.one_of(
            arrays.boolean_dtypes(),
            arrays.integer_dtypes(),
            arrays.unsigned_integer_dtypes(),
            arrays.floating_dtypes(endianness="?"),
            arrays.complex_number_dtypes(),
            arrays.datetime64_dtypes(endianness="<"),
        ),
        arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
    )
)
def test_numbers_of_every_type_and_shape(array: np.ndarray[Any, Any]) -> None:
    before, (found,) = array, through(array)
    assert found.dtype == before.dtype.newbyteorder("<") and found.shape == before.shape
    assert found.tobytes() == before.astype(found.dtype).tobytes()
    assert found.flags.writeable and found.flags.aligned


@settings(max_examples=60)
@given(st.lists(VALUES, max_size=6))
def test_values_of_every_kind(values: list[Any]) -> None:
    (found,) = through(child.objects(values, [len(values)]))
    assert [(type(v), v) for v in found] == [(type(v), v) for v in values]


def test_several_arrays_stay_apart_and_objects_keep_their_shape() -> None:
    words = np.array([["a", None], ["b", "c"]], dtype=object)
    sent = [np.arange(3, dtype=np.int8), words, np.arange(6.0).reshape(2, 3), child.objects([[1, 2], [3, 4]], [2])]
    found = through(*sent)
    assert [array.tolist() for array in found] == [array.tolist() for array in sent]
    assert [array.shape for array in found] == [(3,), (2, 2), (2, 3), (2,)]


def test_what_json_cannot_hold_is_an_error() -> None:
    with pytest.raises(TypeError):
        child.pack({}, [child.objects([object()], [1])])


def test_without_numpy_numbers_are_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "numpy", lambda: None)
    sent = [np.array([[1.5, 2.0]]), np.array([True, False]), np.array([-3])]
    assert through(*sent) == [[[1.5, 2.0]], [True, False], [-3]]
    assert through(["a", None]) == [["a", None]]


def test_the_child_can_be_read_by_python_3_9() -> None:
    ast.parse(Path(child.__file__).read_text("utf-8"), feature_version=(3, 9))
