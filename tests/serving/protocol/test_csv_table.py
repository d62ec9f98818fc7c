from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.serving.protocol import csv_table
from holdfast.serving.protocol.invocations import parse
from holdfast.serving.served import BadInput


def same(text: str) -> None:
    """As pandas reads it (which `mlflow models serve` asks), but for the last digit of a float, which pandas rounds faster."""
    payload, frame = csv_table.parse(text.encode()), pd.read_csv(io.StringIO(text))
    assert (payload.kind, payload.names) == ("frame", tuple(frame.columns))
    for name, array in zip(payload.names, payload.arrays, strict=True):
        column = frame[name]
        if array.dtype == object:
            assert column.dtype.kind == "O" and list(map(_plain, array)) == list(map(_plain, column)), name
        else:
            assert array.dtype == column.dtype, name
            np.testing.assert_allclose(array, column.to_numpy(), rtol=1e-15)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


@pytest.mark.parametrize(
    "text",
    [
        "a,b,c\n1,2.5,x\n3,4,y\n",
        "a,b\r\n1,2\r\n",
        "a,b\n1,2",
        '"a,b","c""d"\n"1","x\ny"\n',
        ",a\n0,1\n1,2\n",  # the index of DataFrame.to_csv()
        "a,b\n1\n2,3\n",
        "a\n1\n\n  \n2\n",
        "a,b\n,\n1,2\n",
        "a,b,c,d\nNA,null,True,\n1,x,False,\n",
        "a\nTrue\nfalse\n",
        "a\nTrue\nNA\n",
        "a\nTrue\n1\n",
        "a\n True\n",
        "a,b,c,d\n 1,2 ,+3,\t4\n",
        "a,b,c,d\n1.,.5,1e5,-1E-5\n",
        "a,b,c\ninf,-Infinity,1e400\n",
        "a,b,c,d\n1_0,0x10,१,1e\n",
        "a\n9223372036854775807\n",
        "a\n9223372036854775808\n1\n",
        "a\n99999999999999999999999\n1\n",
        "a\n99999999999999999999\nNA\n",
        "a\n2026-01-01\n",
        "\ufeffa\n1\n",
        "ü\n👩‍💻\n",
    ],
)
def test_csv_is_read_as_pandas_reads_it(text: str) -> None:
    same(text)


def test_to_csv_of_pandas() -> None:
    frame = pd.DataFrame({"n": [1, 2], "x": [0.1, None], "t": ["a, b", 'c "d"'], "b": [True, False]})
    payload = parse(frame.to_csv(index=False).encode(), "text/csv; charset=utf-8")
    assert [array.dtype.kind for array in payload.arrays] == ["i", "f", "O", "b"]
    assert payload.arrays[2].tolist() == ["a, b", 'c "d"']


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "a header and at least one row"),
        (b"a,b\n", "a header and at least one row"),
        (b"a\n\xff\n", "not CSV in UTF-8"),
        (b'a\n"x\n', "not CSV in UTF-8"),
        (b"a\n" + b"x" * 200_000, "not CSV in UTF-8"),
        (b"a,b\n1,2,3\n", "more values than"),
        (b"a,a\n1,2\n", "'a' is there twice"),
        (b"a" + b"," * 2000 + b"\n" + b"1\n" * 2000, "give every row every value"),
    ],
)
def test_what_is_no_table_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        csv_table.parse(body)


CELLS = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
    st.sampled_from(["", "NA", "nan", "None", "True", "false", "x", "1 ", "é", "-", "+1", "1e5"]),
)


@settings(max_examples=150)
@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=5))
def test_any_cells_are_read_as_pandas_reads_them(rows: list[list[str]]) -> None:
    same("a,b\n" + "".join(",".join(row) + "\n" for row in rows))


@given(st.text(st.sampled_from('a1,.\n\r" \tN"'), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        payload = csv_table.parse(text.encode())
    except BadInput:
        return
    assert payload.rows >= 1
