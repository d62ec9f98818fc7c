from __future__ import annotations

import datetime as dt
import enum
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from holdfast.models import worker
from holdfast.snapshots.calls import (
    NotComparable,
    attempted,
    by_column,
    by_rows,
    by_table,
    by_value,
    decode,
    encode,
    hashed,
    run,
)


@dataclass
class Point:
    x: float
    names: tuple[str, ...]


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 3


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, None),
        (True, True),
        (np.bool_(True), True),
        (7, 7),
        (np.int8(-7), -7),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (0.1, 0.1),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (math.nan, {"float": "nan"}),
        (np.float32("inf"), {"float": "inf"}),
        (-math.inf, {"float": "-inf"}),
        ("é", "é"),
        (np.str_("é"), "é"),
        (Colour.RED, "red"),
        (Level.LOW, 3),
        (b"\x00\xff", {"bytes": "00ff"}),
        ((1, "a"), [1, "a"]),
        ({1: (2,)}, {"dict": {"1": [2]}}),
        ({"b", "a"}, {"set": ["a", "b"]}),
        (frozenset({1, "a", None}), {"set": ["a", 1, None]}),
        (np.array([[1.5, np.nan]]), [[1.5, {"float": "nan"}]]),
        (np.array(3), 3),
        (np.array(["a", None], dtype=object), ["a", None]),
        (pd.NA, None),
        (pd.NaT, None),
        (pd.Timestamp("2024-02-29T01:02:03"), {"time": "2024-02-29T01:02:03"}),
        (dt.date(2024, 2, 29), {"time": "2024-02-29"}),
        (dt.datetime(2024, 2, 29, tzinfo=dt.UTC), {"time": "2024-02-29T00:00:00+00:00"}),
        (dt.timedelta(seconds=1), {"timedelta": "0:00:01"}),
        (pd.Timedelta(seconds=1), {"timedelta": "0 days 00:00:01"}),
        (Decimal("1.10"), {"decimal": "1.10"}),
        (Fraction(1, 3), {"fraction": "1/3"}),
        (UUID(int=5), {"uuid": "00000000-0000-0000-0000-000000000005"}),
        (Point(1.5, ("a",)), {"dict": {"x": 1.5, "names": ["a"]}}),
        (pd.Series([1, None]), [1.0, {"float": "nan"}]),
        (pd.Series(["a", pd.NA], dtype="string"), ["a", None]),
        (pd.DataFrame({"a": [1, 2]}), {"dict": {"a": [1, 2]}}),
        (pa.array([1, None]), [1, None]),
        (pa.scalar(5), 5),
        (scipy.sparse.csr_matrix([[0, 1]]), [[0, 1]]),
    ],
)
def test_values_become_json_and_stay_themselves(value: Any, encoded: Any) -> None:
    found = encode(value)
    assert found == encoded
    assert type(found) is type(encoded)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    "value",
    [
        object(),
        lambda: 1,
        (number for number in range(3)),
        threading.Lock(),
        range,
        1 + 2j,
        {}.items(),
        np.clongdouble(1),
        [1, {"a": object()}],
        np.array([object()]),
        pd.Series([len]),
    ],
)
def test_what_cannot_be_compared_is_refused(value: Any) -> None:
    with pytest.raises(NotComparable, match="cannot be compared: expected numbers"):
        encode(value)
    with pytest.raises(NotComparable):
        attempted(lambda: value, [])


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


def restored(value: Any) -> Any:
    """What was encoded, for the plain types."""
    if isinstance(value, list):
        return [restored(item) for item in value]
    if isinstance(value, dict):
        return decode(value) if "float" in value else {key: restored(item) for key, item in value["dict"].items()}
    return value


@given(PLAIN)
def test_plain_values_come_back_exactly(value: Any) -> None:
    assert repr(restored(json.loads(json.dumps(encode(value))))) == repr(value)


@pytest.mark.parametrize(
    ("given_", "value"),
    [
        ({"time": "2024-02-29T00:00:00+00:00"}, dt.datetime(2024, 2, 29, tzinfo=dt.UTC)),
        ({"float": "-inf"}, -math.inf),
        ("a", "a"),
        (None, None),
    ],
)
def test_inputs_are_decoded(given_: Any, value: Any) -> None:
    assert decode(given_) == value


@given(st.sets(st.one_of(st.text(max_size=3), st.integers())))
def test_sets_are_in_one_order(value: set[Any]) -> None:
    otherwise = sorted(value, key=repr)
    assert encode(value) == encode(set(otherwise)) == encode(frozenset(otherwise))


# --- hashes


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [
        (1.0, 1.0 + 1e-9, True),
        (1.0, 1.001, False),
        (1, 2, False),
        (1, True, False),
        ({"dict": {"a": 1.0, "b": 2}}, {"dict": {"b": 2, "a": 1.0 + 1e-9}}, True),
        ({"raises": "KeyError", "message": "a"}, {"raises": "KeyError", "message": "b"}, True),
        ({"raises": "KeyError", "message": "a"}, {"raises": "ValueError", "message": "a"}, False),
        ({"dict": {"raises": 1, "b": 2}}, {"dict": {"raises": 1, "b": 3}}, False),
    ],
)
def test_hashes_are_of_rounded_values(one: Any, two: Any, *, equal: bool) -> None:
    assert (hashed(one) == hashed(two)) is equal
    assert len(hashed(one)) == 16


# --- ways of calling


def request_for(folder: Path, values: dict[str, list[Any]]) -> dict[str, Any]:
    path = folder / "inputs.parquet"
    pq.write_table(pa.table(values), path)
    return {"inputs": str(path), "columns": list(values)}


def length_or_raise(text: str) -> int:
    if "—" in text:
        raise ValueError("an  em dash\nhere")
    return len(text)


RAISED = {"raises": "ValueError", "message": "an em dash here"}


def test_each_row_is_called_with_its_values_and_may_raise(tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text(json.dumps([["ab", 1], ["a—b", 2], ["", {"float": "inf"}]]), encoding="utf-8")
    request = {"inputs": str(tmp_path / "inputs.json"), "progress": str(tmp_path / "progress")}
    kinds, outputs = by_value(lambda text, number: [length_or_raise(text), number], request, worker)
    assert kinds == {}
    assert outputs == [[2, 1], RAISED, [0, {"float": "inf"}]]
    assert int((tmp_path / "progress").read_text(encoding="ascii")) == 2


def as_series(table: pd.DataFrame) -> pd.Series:
    return table["t"].map(length_or_raise)


def as_frame(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"n": as_series(table), "double": as_series(table) * 2.0})


def as_list(table: pd.DataFrame) -> list[int]:
    return as_series(table).tolist()


def as_array(table: pd.DataFrame) -> np.ndarray:
    return as_series(table).to_numpy()


def in_place(table: pd.DataFrame) -> pd.Series:
    """Works on the table that it is given, as much feature code does, before it raises."""
    table["t"] = table["t"] + "!"
    return as_series(table) - 1


ROWS: list[tuple[Callable[[pd.DataFrame], Any], Any, Any]] = [
    (as_series, [2, 3], {"": "int64"}),
    (
        as_frame,
        [{"dict": {"n": 2, "double": 4.0}}, {"dict": {"n": 3, "double": 6.0}}],
        {"n": "int64", "double": "float64"},
    ),
    (as_list, [2, 3], {}),
    (as_array, [2, 3], {"": "int64"}),
    (in_place, [2, 3], {"": "int64"}),
]


@pytest.mark.parametrize(("function", "outputs", "kinds"), ROWS)
def test_a_table_is_called_once(tmp_path: Path, function: Any, outputs: Any, kinds: Any) -> None:
    assert by_table(function, request_for(tmp_path, {"t": ["ab", "abc"]}), worker) == (kinds, outputs)


@pytest.mark.parametrize(("function", "outputs", "kinds"), ROWS)
def test_where_a_row_raises_the_table_is_called_row_by_row(
    tmp_path: Path, function: Any, outputs: Any, kinds: Any
) -> None:
    request = request_for(tmp_path, {"t": ["ab", "a—b", "abc"]})
    assert by_table(function, request, worker) == ({}, [outputs[0], RAISED, outputs[1]])


def test_a_column_is_called_once_and_falls_back_too(tmp_path: Path) -> None:
    calls: list[int] = []

    def lengths(column: pd.Series) -> pd.Series:
        calls.append(len(column))
        return column.map(length_or_raise)

    assert by_column(lengths, request_for(tmp_path, {"t": ["ab", "abc"]}), worker) == ({"": "int64"}, [2, 3])
    assert calls == [2]
    assert by_column(lengths, request_for(tmp_path, {"t": ["ab", "a—b"]}), worker) == ({}, [2, RAISED])
    assert calls == [2, 2, 1, 1]


def grows_in_place(table: pd.DataFrame) -> list[str]:
    table.loc[len(table)] = "one more"
    return table["t"].tolist()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda table: table["t"].tolist()[:1], "gives 1 outputs for 2 rows"),
        (grows_in_place, "gives 3 outputs for 2 rows"),
        (lambda table: len(table), "gives a int, expected one output a row"),
        (lambda table: [object()] * len(table), "gives a object, which cannot be compared"),
    ],
)
def test_a_table_needs_one_output_a_row(tmp_path: Path, function: Any, said: str) -> None:
    with pytest.raises(NotComparable, match=said):
        by_table(function, request_for(tmp_path, {"t": ["ab", "abc"]}), worker)


def test_outputs_by_row_of_other_tables() -> None:
    assert by_rows(pa.table({"a": [1, 2]}), 2) == ({"a": "int64"}, [{"dict": {"a": 1}}, {"dict": {"a": 2}}])
    assert by_rows(pa.chunked_array([[1], [None]]), 2)[1] == [1, None]
    assert by_rows(scipy.sparse.csr_matrix([[0, 1], [2, 0]]), 2)[1] == [[0, 1], [2, 0]]


def test_a_run_writes_what_was_given(tmp_path: Path) -> None:
    """Through the file that the worker loads: a function, a method of an instance, a static one, a class's own."""
    (tmp_path / "given_features.py").write_text(
        "class Cleaner:\n"
        "    def __init__(self):\n        self.more = '!'\n"
        "    def clean(self, text):\n        return text.lower() + self.more\n"
        "    @staticmethod\n    def plain(text):\n        return text.lower()\n"
        "    @classmethod\n    def named(cls, text):\n        return cls.__name__ + text\n"
        "def strange(text):\n    return object()\n",
        encoding="utf-8",
    )
    (tmp_path / "inputs.json").write_text('[["A"]]', encoding="utf-8")
    base = {
        "root": str(tmp_path),
        "module": "given_features",
        "call": "value",
        "columns": ["t"],
        "inputs": str(tmp_path / "inputs.json"),
        "out": str(tmp_path / "out.json"),
        "progress": str(tmp_path / "progress"),
        "hashes": False,
    }
    for name, output in [("Cleaner.clean", "a!"), ("Cleaner.plain", "a"), ("Cleaner.named", "CleanerA")]:
        assert run({**base, "function": name}, worker) == {"rows": 1}
        written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        assert written == {"kinds": {}, "outputs": [output]}
    run({**base, "function": "Cleaner.plain", "hashes": True}, worker)
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["outputs"] == [hashed("a")]
    with pytest.raises(worker.BadRequest, match="gives a object"):
        run({**base, "function": "strange"}, worker)
