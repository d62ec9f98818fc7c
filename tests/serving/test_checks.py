"""What may be given as an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from holdfast.serving.checks import layout_of, nonsense
from holdfast.serving.payload import Payload, tensor
from holdfast.serving.served import ModelSpec, TensorSpec

NONE = ModelSpec()
COLUMN = ModelSpec(outputs=(TensorSpec("y", "FP64", (-1, 1)),))
VECTOR = ModelSpec(outputs=(TensorSpec("y", "FP64", (-1,)),))
THREE = ModelSpec(outputs=(TensorSpec("y", "FP64", (-1, 3)),))
TWO = Payload("tensors", ("a", "b"), (np.zeros(2), np.zeros((2, 3))))


@pytest.mark.parametrize(
    ("outputs", "spec", "says"),
    [
        (tensor(np.zeros(2)), NONE, None),
        (tensor(np.zeros((2, 5))), NONE, None),
        (tensor(np.array([1, 2])), NONE, None),
        (tensor(np.array(["a", None], dtype=object)), NONE, None),
        (TWO, NONE, None),
        (tensor(np.zeros(3)), NONE, "3 rows for 2"),
        (tensor(np.float64(1.0)), NONE, "no rows for 2"),
        (Payload("tensors", (), ()), NONE, "no output"),
        (tensor(np.array([0.0, np.nan]), "y"), NONE, "'y' is not finite"),
        (tensor(np.array([[0.0], [np.inf]])), NONE, "not finite"),
        (tensor(np.full(100, np.nan)[:2]), NONE, "not finite"),
        (tensor(np.array([0.0, np.nan], dtype=np.float32)), NONE, "not finite"),
        (tensor(np.array([0j, complex("nan")])), NONE, "not finite"),
        (tensor(np.zeros(2), "y"), VECTOR, None),
        (tensor(np.zeros(2), "y"), COLUMN, None),
        (tensor(np.zeros((2, 1)), "y"), COLUMN, None),
        (tensor(np.zeros((2, 1)), "y"), VECTOR, None),
        (tensor(np.zeros((2, 2)), "y"), VECTOR, "its signature says"),
        (tensor(np.zeros((2, 2)), "y"), COLUMN, "its signature says"),
        (tensor(np.zeros((2, 3)), "other"), THREE, None),
        (tensor(np.zeros((2, 4)), "y"), THREE, "(2, 4)"),
        (TWO, THREE, "2 outputs, its signature has 1"),
    ],
)
def test_cases(outputs: Payload, spec: ModelSpec, says: str | None) -> None:
    found = nonsense(outputs, 2, spec)
    assert found is None if says is None else says in str(found)


def test_many_rows_are_looked_at_too() -> None:
    values = np.zeros(100_000)
    assert nonsense(tensor(values), 100_000, NONE) is None
    values[77_777] = np.nan
    assert nonsense(tensor(values), 100_000, NONE) is not None


@pytest.mark.parametrize(
    ("array", "fits"),
    [
        (np.zeros(2), True),
        (np.zeros(2, np.float32), True),
        (np.zeros((2, 2)), False),
        (np.array(["a", "b"], object), False),
    ],
)
def test_without_a_signature_the_layout_must_stay_as_clients_know_it(array: Any, fits: bool) -> None:
    known = layout_of(tensor(np.zeros(5)))
    assert (nonsense(tensor(array), 2, NONE, known) is None) is fits
