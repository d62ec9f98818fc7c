from __future__ import annotations

import itertools
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import UserError
from holdfast.evidence.contributions import contribution, fates, final_at
from holdfast.evidence.firsts import NEVER, First
from holdfast.evidence.measures import Measure
from holdfast.evidence.outcomes import Marks, Outcomes, clean_outcomes, join, raw
from holdfast.evidence.rows import Rows, clean
from tests.evidence import reference
from tests.evidence.logs import BEGIN, MEASURES, make, outcomes_table, predictions_table
from tests.evidence.reference import US

CLICK = Measure(name="click", source="outcome", outcome="click", delay=30.0)
NAN, INF = math.nan, math.inf


def outcomes(values: Any, **columns: Any) -> pa.Table:
    count = len(values)
    good = {
        "prediction_id": [f"p{k}" for k in range(count)],
        "time": pa.array([BEGIN] * count, pa.timestamp("us")),
        "name": ["click"] * count,
        "value": values,
    }
    return pa.table({name: column for name, column in (good | columns).items() if column is not None})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, None, INF], [0.5, NAN, INF]),
        ([True, False, None], [1, 0, NAN]),
        ([3, -1], [3, -1]),
        ([Decimal("1.25"), None], [1.25, NAN]),
        (["1", "0.5", "-2e1"], [1, 0.5, -20]),
        (
            ["1", "true", "False", " 2 ", "much", "", None, "inf", "nan", "1_0"],
            [1, 1, 0, 2, NAN, NAN, NAN, INF, NAN, NAN],
        ),
        (pa.array(["1", None, "x"]).dictionary_encode(), [1, NAN, NAN]),
        (pa.array([1, None], pa.int8()), [1, NAN]),
        (pa.array([1.5], pa.float16()), [1.5]),
        (pa.nulls(2), [NAN, NAN]),
    ],
)
def test_values_of_every_type(values: Any, expected: list[float]) -> None:
    found, left_out = clean_outcomes(outcomes(values))
    np.testing.assert_array_equal(found.of("click").value, expected)
    assert not left_out


def test_only_what_can_be_joined_and_is_asked_for_is_taken() -> None:
    table = outcomes(
        [1.0, 2.0, 3.0, 4.0, 5.0],
        prediction_id=["a", None, "c", "d", None],
        time=["2026-01-01T00:00:00", "2026-01-01T00:00:00", None, "1999-01-01T00:00:00", None],
        name=["click", "click", "click", "click", "other"],
    )
    found, left_out = clean_outcomes(table, ["spend", "click"])
    assert (
        found.of("click").value.tolist() == [1.0] and len(found.of("spend")) == 0 and list(found.by_name) == ["click"]
    )
    assert dict(left_out) == {
        "outcome_no_id": (0, 0, 1),
        "outcome_no_time": (0, 0, 1),
        "outcome_absurd_time": (0, 0, 1),
    }
    assert len(clean_outcomes(table, ["nothing"])[0]) == 0
    several, _ = clean_outcomes(outcomes([1.0, 2.0, 3.0], name=pa.array(["a", "b", "a"]).dictionary_encode()))
    assert several.of("a").value.tolist() == [1.0, 3.0] and several.of("b").value.tolist() == [2.0]
    assert several.take({"a": slice(1, None)}).of("a").value.tolist() == [3.0]
    assert Outcomes.joined([several, found]).of("click").value.tolist() == [1.0]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"value": None}, "The outcome log has no column 'value': expected prediction_id, time, name, value"),
        ({"value": [[1.0]]}, "'value' holds list<item: double>: expected numbers"),
        ({"name": [1]}, "'name' holds int64: expected text such as 'click'"),
    ],
)
def test_a_log_that_cannot_be_used_is_said_in_one_sentence(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match="expected") as raised:
        clean_outcomes(outcomes([1.0], **columns), ["click"])
    assert said in raised.value.message


@pytest.mark.parametrize(
    ("came", "zero", "missing", "counts"),
    [
        # (seconds after the request, value) in the order of arrival -> (value, mass) where absent is zero, and is missing
        ([], (0, 1), (0, 0), {}),
        ([(5, 1.0)], (1, 1), (1, 1), {}),
        ([(30, 1.0)], (1, 1), (1, 1), {}),
        ([(30.000001, 1.0)], (0, 1), (0, 0), {"late": 1}),
        ([(9, 2.0), (5, 1.0)], (1, 1), (1, 1), {"contradictory": 1}),
        ([(5, 1.0), (5, 2.0)], (1, 1), (1, 1), {"contradictory": 1}),
        ([(5, 2.0), (5, 1.0), (6, 2.0)], (2, 1), (2, 1), {"contradictory": 1, "duplicate": 1}),
        ([(40, 1.0), (50, 1.0)], (0, 1), (0, 0), {"late": 2}),
        ([(40, 0.0), (5, 1.0)], (1, 1), (1, 1), {"late": 1}),
        ([(-3, 1.0)], (1, 1), (1, 1), {"early": 1}),
        ([(5, NAN)], (0, 0), (0, 0), {"unusable": 1}),
        ([(5, INF), (6, 1.0)], (0, 0), (0, 0), {"unusable": 1, "contradictory": 1}),
        ([(5, NAN), (6, NAN)], (0, 0), (0, 0), {"unusable": 1, "duplicate": 1}),
        ([(5, 1.0), (6, NAN)], (1, 1), (1, 1), {"contradictory": 1}),
        ([(40, NAN)], (0, 1), (0, 0), {"late": 1}),
        ([(5, 100.0)], (10, 1), (10, 1), {}),
        ([(5, -100.0)], (-100, 1), (-100, 1), {}),
    ],
)
def test_the_first_outcome_by_time_counts_if_it_came_in_time(
    came: list[tuple[float, float]],
    zero: tuple[float, float],
    missing: tuple[float, float],
    counts: dict[str, int],
) -> None:
    rows = Rows(
        np.array([7], np.uint64),
        np.array([BEGIN]),
        np.ones(1, np.int8),
        np.zeros(1, np.uint64),
        np.zeros(1, np.bool_),
        np.zeros(1, np.float32),
    )
    micros = np.array([BEGIN + round(after * US) for after, _ in came], np.int64)
    marks = Marks(np.full(len(came), 7, np.uint64), micros, np.array([value for _, value in came]))
    first, unknown = join(rows, marks)
    assert len(unknown) == 0
    for absent, expected in (("zero", zero), ("missing", missing)):
        measure = Measure(name="m", source="outcome", outcome="click", delay=30.0, cap=10.0, absent=absent)  # type: ignore[arg-type]
        given = contribution(measure, rows, first)
        assert (given.value.tolist(), given.mass.tolist()) == ([expected[0]], [expected[1]])
        assert given.missing is not None and given.missing.tolist() == [expected[1] == 0]
        assert {key: sum(n) for key, n in fates(measure, rows, first).items()} == {
            f"{k}:m": n for k, n in counts.items()
        }
        assert final_at(measure, rows).tolist() == [BEGIN + 30 * US]


@pytest.mark.parametrize(
    ("fault", "latency", "error", "slow", "slow_mass"),
    [
        (None, 99.0, 0, 0, 1),
        (None, 100.0, 0, 0, 1),
        (None, 101.0, 0, 1, 1),
        (None, None, 0, 0, 0),
        ("x", None, 1, 1, 1),
        ("x", 5.0, 1, 0, 1),
    ],
)
def test_errors_latency_and_requests_are_final_at_once(
    fault: str | None, latency: float | None, error: int, slow: int, slow_mass: int
) -> None:
    table = pa.table({"prediction_id": ["a"], "time": ["2026-01-01T00:00:00"], "variant": ["canary"], "unit": ["u"]})
    table = table.append_column("fault", pa.array([fault], pa.string()))
    rows, _ = clean(table.append_column("latency_ms", pa.array([latency], pa.float64())))
    found = {name: contribution(MEASURES[name], rows) for name in ("error", "slow", "requests")}
    assert found["error"].value.tolist() == [error] and found["error"].mass.tolist() == [1]
    assert found["slow"].value.tolist() == [slow] and found["slow"].mass.tolist() == [slow_mass]
    assert found["requests"].value.tolist() == found["requests"].mass.tolist() == [1]
    for name in found:
        assert final_at(MEASURES[name], rows).tolist() == rows.micros.tolist()


def test_a_measure_that_says_too_little_is_refused() -> None:
    from holdfast.evidence.frame import Frame

    for measure, said in (
        (Measure(name="m", source="outcome"), "expected the name of one"),
        (Measure(name="m", source="latency"), "expected the milliseconds"),
    ):
        with pytest.raises(UserError, match=said):
            Frame(measures={"m": measure}, share=0.1, begin_micros=BEGIN)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.lists(st.integers(0, 300), max_size=4))
def test_joining_does_not_depend_on_the_pieces_in_which_outcomes_arrive(seed: int, cuts: list[int]) -> None:
    predictions, log = make(seed, 60)
    rows, _ = clean(predictions_table(predictions))
    marks = clean_outcomes(outcomes_table(log), ["click"])[0].of("click")
    whole, unknown = join(rows, marks)
    pieces, missed = First.none(len(rows)), 0
    ends = [0, *sorted(cut % (len(marks) + 1) for cut in cuts), len(marks)]
    for begin, end in itertools.pairwise(ends):
        some = marks.take(slice(begin, end))
        places = rows.index.find(some.id)
        known = places >= 0
        missed += int((~known).sum())
        if begin % 2:
            pieces.add(places[known], some.micros[known], some.value[known])
        else:
            before = pieces.take(np.unique(places[known]))
            touched, had, has = pieces.changed(places[known], some.micros[known], some.value[known])
            assert had is None or (had.when == before.when).all()
            np.testing.assert_array_equal(has.when, pieces.when[touched])
    again, _ = join(rows, raw(rows, whole))
    for found in (pieces, again):
        np.testing.assert_array_equal(found.when, whole.when)
        np.testing.assert_array_equal(found.value, whole.value)
        assert fates(CLICK, rows, found) == fates(CLICK, rows, whole)
    assert missed == len(unknown)
    by_request = reference.firsts(log, "click")
    for row, when, value in zip(
        reference.clean_rows(predictions), whole.when.tolist(), whole.value.tolist(), strict=True
    ):
        came = by_request.get(row["prediction_id"], [])
        assert (when == NEVER and not came) or (when == came[0]["time"])
        assert not came or value == came[0]["value"] or (math.isnan(value) and math.isnan(came[0]["value"]))
