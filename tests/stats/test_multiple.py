from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from holdfast.stats.multiple import holm


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([], []),
        ([0.05], [True]),
        ([0.0501], [False]),
        ([0.01, 0.02, 0.03, 0.04], [True, False, False, False]),
        ([0.04, 0.001, 0.02], [True, True, True]),
        ([0.03, 0.03], [False, False]),
        ([0.2, 0.02, 0.2], [False, False, False]),
        ([0.2, 0.016, 0.2], [False, True, False]),
    ],
)
def test_table(p_values: list[float], expected: list[bool]) -> None:
    assert holm(p_values, 0.05) == expected


@given(st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.0126, 0.02, 0.03, 0.2, 0.9]), min_size=1, max_size=6))
def test_it_is_the_closed_bonferroni_test(p_values: list[float]) -> None:
    """A hypothesis falls when Bonferroni rejects every set of hypotheses that contains it."""
    everything = range(len(p_values))
    sets = [s for size in range(1, len(p_values) + 1) for s in combinations(everything, size)]
    fallen = {s for s in sets if min(p_values[i] for i in s) <= 0.05 / len(s)}
    assert holm(p_values, 0.05) == [all(s in fallen for s in sets if i in s) for i in everything]


@pytest.mark.parametrize("wrong", [[float("nan")], [-0.1], [1.1]])
def test_what_is_no_probability_is_an_error(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(wrong, 0.05)


def test_family_wise_error_with_dependent_tests() -> None:
    rng = np.random.default_rng(11)
    shared, own = rng.standard_normal((4000, 1)), rng.standard_normal((4000, 20))
    p_values = norm.sf(np.sqrt(0.5) * shared + np.sqrt(0.5) * own)
    assert np.mean([any(holm(list(row), 0.05)) for row in p_values]) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
