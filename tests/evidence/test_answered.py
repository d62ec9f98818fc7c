"""What a replica answered is cleaned as if it had come from the log."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.evidence.answered import Answered, answered_table
from holdfast.evidence.log import MemoryLog, unread
from holdfast.evidence.own import Mark, own_outcomes, own_predictions
from holdfast.evidence.rows import clean

NOW = 1_790_000_000_000_000
_TEXTS = st.one_of(st.none(), st.text(max_size=20).filter(lambda text: "\ud800" not in text))
ANSWERED = st.tuples(
    st.text(min_size=1, max_size=40),
    st.integers(0, 2**62),
    st.sampled_from(["champion", "canary", "shadow"]),
    _TEXTS,
    st.floats(width=32),
    st.sampled_from([None, "", "raised"]),
    st.booleans(),
    st.integers(0, 4),
    st.none(),
    st.just(0),
)


def as_logged(answered: list[Answered]) -> pa.Table:
    """Slowly: a dictionary for each row, and what is empty is null."""
    rows = [
        {
            "prediction_id": one[0].encode("utf-8", "replace").decode(),
            "time": one[1],
            "variant": one[2],
            "unit": one[3] and one[3].encode("utf-8", "replace").decode(),
            "latency_ms": one[4],
            "fault": one[5] or None,
            "override": one[6],
            "row": row,
        }
        for one in answered
        for row in range(one[7])
    ]
    kinds = [pa.string(), pa.timestamp("us", "UTC"), pa.string(), pa.string(), pa.float64(), pa.string(), pa.bool_()]
    names = ["prediction_id", "time", "variant", "unit", "latency_ms", "fault", "override"]
    schema = pa.schema([*zip(names, kinds, strict=True), ("row", pa.int32())])
    return pa.Table.from_pylist(rows, schema)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANSWERED, min_size=1, max_size=20), st.booleans())
def test_it_is_cleaned_as_the_log_is(answered: list[Answered], per_request: bool) -> None:
    ours, left_out = clean(answered_table(answered), per_request=per_request)
    theirs, lost = clean(as_logged(answered), per_request=per_request)
    assert left_out == lost
    for one, other in zip(ours.arrays(), theirs.arrays(), strict=True):
        if one is not None:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (Mark("ab"), [True, False, False, False, False]),
        (Mark("ab", 2), [False, True, False, False, False]),
        (Mark("éb", 1), [False, False, True, False, False]),
    ],
)
def test_a_mark_is_seen_where_it_is(mark: Mark, expected: list[bool]) -> None:
    ids = pa.array(["ab-1", "xxab", "xéb", "", None])
    assert mark.on(ids).tolist() == expected
    assert mark.on(ids.dictionary_encode()).tolist() == expected


def test_marks_stay_and_differ() -> None:
    assert Mark.of("host-1") == Mark.of("host-1") != Mark.of("host-2")
    assert len(Mark.of("x").text) == 8


def test_only_own_rows_of_the_step_and_own_outcomes_are_taken() -> None:
    rng = random.Random(0)
    names = ["prediction_id", "variant", "unit", "time", "release", "epoch"]
    rows = []
    for n in range(200):
        step = rng.choice(["r", "s", None]), rng.choice([1, 2])
        rows.append((f"{rng.choice('ab')}-{n}", "canary", "u", NOW + rng.choice([-1, 0, 1]), *step))
    table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    table = table.set_column(3, "time", table.column("time").cast(pa.timestamp("us", "UTC")))
    marks = pa.table(
        {
            "prediction_id": [row[0] for row in rows],
            "time": table.column("time"),
            "name": ["click"] * len(rows),
            "value": [1.0] * len(rows),
        }
    )
    predictions, outcomes, position = unread(MemoryLog(table, marks), None)
    found = [own_predictions(batch, Mark("a-"), "r", 2, NOW) for batch in predictions]
    expected = [row[0] for row in rows if row[0][0] == "a" and row[3] >= NOW and row[4:] == ("r", 2)]
    assert [name for batch in found for name in batch.column("prediction_id").to_pylist()] == expected
    taken = [own_outcomes(batch, Mark("a-")) for batch in outcomes]
    assert sum(batch.num_rows for batch in taken) == sum(row[0][0] == "a" for row in rows)
    later, _, _ = unread(MemoryLog(table, marks), position)
    assert not sum(batch.num_rows for batch in later)
    bare = table.select(["prediction_id", "time", "variant", "unit"]).to_batches()[0]
    assert own_predictions(bare, Mark("a-"), "r", 2, NOW).num_rows == sum(
        row[0][0] == "a" and row[3] >= NOW for row in rows
    )
