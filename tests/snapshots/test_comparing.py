from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.config.schema import SnapshotFunction, Tolerance
from holdfast.snapshots.comparing import changed_rows, same, same_output

EXACT = Tolerance(relative=0, absolute=0)
USUAL = Tolerance()
HUGE = 10**309  # beyond all floats
NAN, INFINITE = {"float": "nan"}, {"float": "inf"}


def function(**options: Any) -> SnapshotFunction:
    return SnapshotFunction(function="m:f", input=["x"], **options)


@pytest.mark.parametrize(
    ("before", "after", "tolerance", "agree"),
    [
        (1.0, 1.0, EXACT, True),
        (0.0, -0.0, EXACT, True),
        (1.0, 1.0 + 1e-7, EXACT, False),
        (1.0, 1.0 + 1e-7, USUAL, True),
        (1.0, 1.0 + 1e-5, USUAL, False),
        (0.0, 1e-13, USUAL, True),
        (0.0, 1e-9, USUAL, False),
        (100.0, 101.0, Tolerance(relative=0.01), True),
        (100.0, 101.1, Tolerance(relative=0.01), False),
        (100.0, 103.0, Tolerance(absolute=3), True),
        (1.7e308, -1.7e308, USUAL, False),
        (5, 5, EXACT, True),
        (1_000_000_000, 1_000_000_001, Tolerance(relative=0.5, absolute=10), False),  # ints are exact
        (HUGE, HUGE, USUAL, True),
        (HUGE, HUGE + 1, USUAL, False),
        (HUGE, 1.0, USUAL, False),
        (5, 5.0, USUAL, True),
        (5, 5.0000001, USUAL, True),
        (True, 1, USUAL, False),
        (False, 0.0, USUAL, False),
        (True, True, USUAL, True),
        ([1], [True], USUAL, False),
        ({"dict": {"a": [0]}}, {"dict": {"a": [False]}}, USUAL, False),
        (NAN, NAN, EXACT, True),
        (NAN, INFINITE, USUAL, False),
        (INFINITE, {"float": "-inf"}, USUAL, False),
        (NAN, 0.0, Tolerance(absolute=1e9), False),
        (NAN, None, USUAL, False),
        (None, None, USUAL, True),
        (None, 0, USUAL, False),
        ("a", "a", USUAL, True),
        ("café", "cafe\u0301", USUAL, False),
        ("1", 1, USUAL, False),
        ([1.0, "a"], [1.0 + 1e-8, "a"], USUAL, True),
        ([1.0, "a"], [1.0, "a", None], USUAL, False),
        (["a", "b"], ["b", "a"], USUAL, False),
        ({"set": ["a"]}, {"set": ["a"]}, USUAL, True),
        ({"set": ["a"]}, ["a"], USUAL, False),
        ({"time": "2024-01-01"}, {"time": "2024-01-02"}, USUAL, False),
        ({"raises": "KeyError", "message": "a"}, {"raises": "KeyError", "message": "b"}, USUAL, True),
        ({"raises": "KeyError", "message": "a"}, {"raises": "ValueError", "message": "a"}, USUAL, False),
        ({"raises": "KeyError", "message": "a"}, {"dict": {"x": 1}}, USUAL, False),
        ({"raises": "KeyError", "message": "a"}, None, USUAL, False),
        ({"dict": {"raises": 1, "b": 2}}, {"dict": {"raises": 1, "b": 3}}, USUAL, False),  # only a name of the user's
        ([{"dict": {"raises": 1, "b": 2}}], [{"dict": {"raises": 1, "b": 3}}], USUAL, False),
        ({"dict": {"a": 1}}, {"dict": {"a": 1, "b": None}}, USUAL, False),
    ],
)
def test_what_is_the_same(before: Any, after: Any, tolerance: Tolerance, *, agree: bool) -> None:
    assert same(before, after, tolerance) is agree
    assert same(after, before, tolerance) is agree
    assert same_output(before, after, function(tolerance=tolerance)) is agree
    assert same_output(after, before, function(tolerance=tolerance)) is agree


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from([NAN, INFINITE, {"time": "2024-01-01"}, {"raises": "KeyError", "message": "x"}]),
)
ENCODED = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "raises"]), inner, max_size=3).map(lambda held: {"dict": held}),
    ),
    max_leaves=6,
)
TOLERANCES = st.builds(Tolerance, relative=st.floats(0, 2), absolute=st.floats(0, 1e9))


@given(value=ENCODED, tolerance=TOLERANCES)
def test_everything_is_the_same_as_itself(value: Any, tolerance: Tolerance) -> None:
    assert same(value, value, tolerance)
    assert changed_rows([value], [value], function(tolerance=tolerance)) == []


@given(one=ENCODED, two=ENCODED, tolerance=TOLERANCES)
def test_the_sides_may_be_exchanged(one: Any, two: Any, tolerance: Tolerance) -> None:
    assert same(one, two, tolerance) is same(two, one, tolerance)
    assert changed_rows([one], [two], function()) == changed_rows([two], [one], function())


@given(one=st.floats(-1e100, 1e100), two=st.floats(-1e100, 1e100), tolerance=TOLERANCES, more=st.floats(0, 1e9))
def test_a_wider_tolerance_never_finds_more(one: float, two: float, tolerance: Tolerance, more: float) -> None:
    wider = Tolerance(relative=tolerance.relative, absolute=tolerance.absolute + more)
    assert same(one, two, wider) or not same(one, two, tolerance)
    assert same(one, two, tolerance) is (
        abs(one - two) <= tolerance.absolute + tolerance.relative * max(abs(one), abs(two))
    )


@given(one=st.integers(), two=st.integers(), tolerance=TOLERANCES)
def test_ints_are_exact_whatever_the_tolerance(one: int, two: int, tolerance: Tolerance) -> None:
    assert same(one, two, tolerance) is (one == two)


def test_an_output_by_name_has_its_own_tolerance() -> None:
    declared = function(outputs={"rough": Tolerance(absolute=1)})
    before = [{"dict": {"rough": 1.0, "fine": 1.0}}] * 3
    after = [{"dict": {"rough": 1.9, "fine": 1.0}}, {"dict": {"rough": 1.0, "fine": 1.9}}, {"dict": {"rough": 1.0}}]
    assert changed_rows(before, after, declared) == [1, 2]


def test_rows_are_compared_in_their_places() -> None:
    assert changed_rows([1, 2, 3], [1, 3, 3], function()) == [1]
    with pytest.raises(ValueError, match="longer"):
        changed_rows([1], [1, 2], function())


def test_infinities_as_such_are_the_same_too() -> None:
    """They come by name from a worker, but nothing keeps them from being given as floats."""
    assert same(math.inf, math.inf, USUAL)
    assert not same(math.inf, -math.inf, USUAL)
    assert not same(math.inf, 1.0, USUAL)
