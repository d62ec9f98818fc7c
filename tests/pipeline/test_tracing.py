"""Predictions as reports show them, of every kind that a model may give."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.pipeline.tracing import shown_prediction


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.array([0.123456789]), "0.123457"),
        (np.array([3]), "3"),
        (np.array(["late"], dtype=object), "late"),
        (np.array([True]), "true"),
        (np.array([[0.25, 0.75]]), "[0.25 0.75]"),
    ],
)
def test_one_prediction(values: np.ndarray, shown: str) -> None:
    assert shown_prediction(values, 0) == shown
