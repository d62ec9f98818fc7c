"""Boundaries of planned looks: published tables, and the chance to cross by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from holdfast.stats.group_sequential import crossing_probability, group_sequential_bounds

# Jennison and Turnbull (2000), tables 2.1 and 2.3: two-sided 5 %, so 2.5 % a side.
POCOCK = {2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413}
OBRIEN_FLEMING = {2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040}


@pytest.mark.parametrize("looks", [2, 3, 4, 5])
def test_published_boundaries_are_crossed_as_often_as_they_say(looks: int) -> None:
    information = list(range(1, looks + 1))
    assert crossing_probability(information, [POCOCK[looks]] * looks, 0.0)[-1] == pytest.approx(0.025, abs=1.5e-4)
    falling = [OBRIEN_FLEMING[looks] * np.sqrt(looks / k) for k in information]
    assert crossing_probability(information, falling, 0.0)[-1] == pytest.approx(0.025, abs=1.5e-4)


def test_spending_in_proportion_equals_the_published_boundary() -> None:
    """Lan and DeMets (1983) with α·t at three equal looks, 2.5 % a side."""
    assert group_sequential_bounds([1, 2, 3], 0.025) == pytest.approx([2.394, 2.294, 2.200], abs=1e-3)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("information", [[12, 36, 60], [5], [1, 2, 3, 4], [11.5, 35.5, 59.5, 83.5, 107.5]])
def test_what_is_spent_is_what_was_given(information: list[float], power: float) -> None:
    bounds = group_sequential_bounds(information, 0.04, power=power)
    spent = crossing_probability(information, bounds, 0.0)
    assert spent == pytest.approx([0.04 * (t / information[-1]) ** power for t in information], abs=1e-4)


def test_one_look_is_the_ordinary_test() -> None:
    assert group_sequential_bounds([7.0], 0.05) == pytest.approx([stats.norm.isf(0.05)])
    assert crossing_probability([7.0], [1.645], 2.5)[-1] == pytest.approx(stats.norm.sf(1.645 - 2.5), abs=1e-4)


@pytest.mark.parametrize("drift", [0.0, 2.0, 4.0])
def test_crossing_by_simulation(drift: float) -> None:
    information = np.array([12.0, 36.0, 60.0])
    bounds = group_sequential_bounds(information.tolist(), 0.05, power=2)
    t = information / information[-1]
    rng = np.random.default_rng(4)
    score = np.cumsum(rng.standard_normal((200_000, 3)) * np.sqrt(np.diff(t, prepend=0)), axis=1) + drift * t
    crossed = np.any(score / np.sqrt(t) >= bounds, axis=1).mean()
    assert crossing_probability(information.tolist(), bounds, drift)[-1] == pytest.approx(crossed, abs=4e-3)


@pytest.mark.parametrize("information", [[1, 1], [2, 1], [0, 1]])
def test_information_must_rise(information: list[float]) -> None:
    with pytest.raises(ValueError, match="rises"):
        group_sequential_bounds(information, 0.05)
