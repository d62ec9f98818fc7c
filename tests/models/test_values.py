"""Which answers are predictions, and which are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import OutsideError, UserError
from holdfast.models.values import check_values, positive_score, values_digest


@pytest.mark.parametrize(
    ("values", "kind", "shape"),
    [
        ([1, 2, 3], "i", (3,)),
        ([1, 2.5, True], "f", (3,)),
        ([True, False, True], "b", (3,)),
        (["a", "b", "c"], "O", (3,)),
        ([[0.1, 0.9]] * 3, "f", (3, 2)),
        ([[1]] * 3, "f", (3,)),
        (np.array([1, 2, 3], dtype=np.int8), "i", (3,)),
        (np.array([1, 2, 3], dtype=np.float32), "f", (3,)),
        (np.array([1, 2, 3], dtype=np.uint64), "f", (3,)),
        (np.array(["a", "b", "c"]), "O", (3,)),
        (np.array([1, 2.5, 3], dtype=object), "f", (3,)),
        (np.ones((3, 1)), "f", (3,)),
        (np.ones((3, 4), dtype=">f4"), "f", (3, 4)),
    ],
)
def test_what_counts(values: Any, kind: str, shape: tuple[int, ...]) -> None:
    checked = check_values(values, 3, "the model m")
    assert (checked.dtype.kind, checked.shape) == (kind, shape)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([1, 2], "the model m gave 2 predictions for 3 rows."),
        (
            [1.0, float("nan"), float("inf")],
            "the model m gave NaN or infinite predictions for 2 of 3 rows (rows 1, 2).",
        ),
        ([1.0, None, 2.0], "the model m gave NaN or infinite predictions for 1 of 3 rows (rows 1)."),
        (["a", None, "b"], "the model m gave missing predictions for 1 of 3 rows (rows 1)."),
        (
            [[0.1, 0.2], [0.1, float("nan")], [0.1, 0.2]],
            "the model m gave NaN or infinite predictions for 1 of 3 rows (rows 1).",
        ),
        (
            [[0.1, 0.2], [0.1], [0.1, 0.2]],
            "the model m gave a list of list, expected one number or label for each row.",
        ),
        (["a", 1, "b"], "the model m gave a list of int and str, expected one number or label for each row."),
        ({"a": 1}, "the model m gave a dict, expected one number or label for each row."),
        (None, "the model m gave a NoneType, expected one number or label for each row."),
        (np.ones((3, 2, 2)), "the model m gave predictions of shape (3, 2, 2), expected one for each of 3 rows."),
        (np.array(1.0), "the model m gave predictions of shape (), expected one for each of 3 rows."),
        (
            np.ones(3, dtype=complex),
            "the model m gave an array of complex128, expected one number or label for each row.",
        ),
    ],
)
def test_what_does_not(values: Any, sentence: str) -> None:
    with pytest.raises(OutsideError) as caught:
        check_values(values, 3, "the model m")
    assert caught.value.message == sentence
    assert caught.value.reason_code == "bad_predictions"


def test_the_positive_class() -> None:
    values = np.array([[0.1, 0.9], [0.6, 0.4]])
    assert positive_score(values, ["no", "yes"], "no", "m").tolist() == [0.1, 0.6]
    assert positive_score(values, [0, 1], 1, "m").tolist() == [0.9, 0.4]
    assert positive_score(values, None, 1, "m").tolist() == [0.9, 0.4]
    assert positive_score(np.ones((2, 3)), [0, 1, 2], 1, "m").shape == (2, 3)
    with pytest.raises(UserError, match=r"knows the classes 'no' and 'yes', and model\.positive is 1"):
        positive_score(values, ["no", "yes"], 1, "m")


numbers = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8)
text = st.lists(st.text(max_size=4), min_size=1, max_size=8)


@given(numbers | text, numbers | text)
def test_the_digest_tells_predictions_apart(a: list[Any], b: list[Any]) -> None:
    first, second = (check_values(values, len(values), "m") for values in (a, b))
    same = [repr(x) for x in a] == [repr(x) for x in b]
    assert (values_digest(first) == values_digest(second)) == same
    assert values_digest(first) == values_digest(first.copy())
