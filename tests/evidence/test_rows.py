from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import UserError
from holdfast.evidence.firsts import NEVER
from holdfast.evidence.outcomes import clean_outcomes, join
from holdfast.evidence.rows import Rows, clean
from holdfast.evidence.sums import BUCKETS
from tests.evidence import reference
from tests.evidence.logs import make, predictions_table

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MICROS = int(NOON.timestamp()) * 1_000_000


def log(**columns: Any) -> pa.Table:
    """A log of two good rows; `columns` replace theirs, and set the number of rows. None takes a column away."""
    count = max([2, *(len(column) for column in columns.values() if column is not None)])
    good = {
        "prediction_id": [f"p{k}" for k in range(count)],
        "time": pa.array([NOON + timedelta(seconds=k) for k in range(count)], pa.timestamp("us", "UTC")),
        "variant": ["champion"] * count,
        "unit": [f"u{k}" for k in range(count)],
    }
    return pa.table({name: column for name, column in (good | columns).items() if column is not None})


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**9))
def test_rows_are_those_of_the_reference_in_its_order(seed: int) -> None:
    predictions, _ = make(seed)
    rows, left_out = clean(predictions_table(predictions))
    expected = reference.clean_rows(predictions)
    assert rows.id.tolist() == [reference.hashed(row["prediction_id"]) for row in expected]
    assert rows.micros.tolist() == [row["time"] for row in expected]
    assert rows.arm.tolist() == [reference.ARM[row["variant"]] for row in expected]
    assert rows.bucket.tolist() == [reference.hashed(row["unit"]) % BUCKETS for row in expected]
    assert rows.fault.tolist() == [row["fault"] is not None for row in expected]
    assert [None if np.isnan(ms) else ms for ms in rows.latency.tolist()] == [row["latency_ms"] for row in expected]
    assert len(rows) + sum(sum(counts) for counts in left_out.values()) == len(predictions)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"variant": ["canary", "shadow"]}, {"unknown_variant": (0, 0, 1)}),
        ({"variant": ["canary", None]}, {"unknown_variant": (0, 0, 1)}),
        ({"variant": pa.array(["canary", "Canary"]).dictionary_encode()}, {"unknown_variant": (0, 0, 1)}),
        ({"unit": [None, ""], "variant": ["canary", "champion"]}, {"no_unit": (1, 1, 0)}),
        ({"unit": pa.array([None, "a"]).dictionary_encode()}, {"no_unit": (1, 0, 0)}),
        ({"unit": pa.array(["", "a"]).dictionary_encode()}, {"no_unit": (1, 0, 0)}),
        ({"unit": [float("nan"), 7.0]}, {"no_unit": (1, 0, 0)}),
        ({"unit": pa.nulls(2)}, {"no_unit": (2, 0, 0)}),
        ({"prediction_id": [None, "p"]}, {"no_id": (1, 0, 0)}),
        ({"prediction_id": ["p", "p"]}, {"duplicate": (1, 0, 0)}),
        ({"time": ["2026-05-01T12:00:00", "yesterday"]}, {"no_time": (1, 0, 0)}),
        ({"time": [None, "2026-05-01T12:00:00Z"]}, {"no_time": (1, 0, 0)}),
        ({"time": ["1969-12-31T12:00:00", "2100-01-01T00:00:00"]}, {"absurd_time": (2, 0, 0)}),
        ({"time": pa.array([2**62, 1_777_636_800], pa.timestamp("s"))}, {"absurd_time": (1, 0, 0)}),
        ({"override": [True, None]}, {"override": (1, 0, 0)}),
        ({"override": ["FALSE", "canary"]}, {"override": (1, 0, 0)}),
        ({"override": [0, 1], "unit": [None, None]}, {"no_unit": (2, 0, 0)}),
        ({"override": pa.nulls(2), "fault": pa.nulls(2)}, {}),
    ],
)
def test_what_is_no_evidence_is_counted_under_one_reason(columns: dict[str, Any], expected: dict[str, Any]) -> None:
    rows, left_out = clean(log(**columns))
    assert dict(left_out) == expected
    assert len(rows) == 2 - sum(sum(counts) for counts in expected.values())


SHIFTED = NOON.astimezone(timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    "time",
    [
        pa.array([NOON], pa.timestamp("s", "UTC")),
        pa.array([NOON], pa.timestamp("ms", "Europe/Paris")),
        pa.array([NOON], pa.timestamp("us")),
        pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")),
        pa.array([MICROS * 1000 + 999], pa.timestamp("ns", "UTC")),
        pa.array([NOON], pa.timestamp("us", "UTC")).dictionary_encode(),
        ["2026-05-01T12:00:00"],
        ["2026-05-01 12:00:00.000000"],
        ["2026-05-01T12:00:00Z"],
        ["2026-05-01T14:00:00+02:00"],
        pa.array(["2026-05-01T12:00:00.000000999Z"]),
        pa.array(["2026-05-01T12:00:00"], pa.large_string()),
        pa.array(["2026-05-01T12:00:00Z"]).dictionary_encode(),
    ],
)
def test_times_of_every_kind_are_utc_microseconds(time: Any) -> None:
    rows, _ = clean(log(time=time, prediction_id=["p"], variant=["canary"], unit=["u"]))
    assert rows.micros.tolist() == [MICROS]


def test_text_with_zones_and_without_may_be_mixed() -> None:
    times = ["2026-05-01T12:00:00", "2026-05-01T12:00:01Z", "2026-05-01T14:00:02+02:00", "soon", None]
    rows, left_out = clean(log(time=times))
    assert rows.micros.tolist() == [MICROS, MICROS + 1_000_000, MICROS + 2_000_000]
    assert dict(left_out) == {"no_time": (2, 0, 0)}


IDENTITY = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([17], "17"),
        (pa.array([17], pa.uint8()), "17"),
        ([17.0], "17"),
        (["17"], "17"),
        (pa.array(["17"], pa.large_string()), "17"),
        (pa.array(["17"], pa.string_view()), "17"),
        (pa.array(["17"]).dictionary_encode(), "17"),
        (pa.array([b"17"], pa.binary()), "17"),
        (pa.array([IDENTITY.bytes], pa.uuid()), str(IDENTITY)),
    ],
)
def test_an_id_is_the_same_in_whatever_type_it_comes(ids: Any, text: str) -> None:
    rows, _ = clean(log(prediction_id=ids, unit=ids, time=["2026-05-01T12:00:00"], variant=["canary"]))
    assert rows.id.tolist() == rows.unit.tolist() == [reference.hashed(text)]


def test_of_a_repeated_id_the_first_by_time_stays_and_of_the_same_moment_the_first_in_the_log() -> None:
    later, same = NOON + timedelta(seconds=1), [NOON, NOON]
    rows, left_out = clean(
        log(prediction_id=["a", "a", "b", "b"], time=[later, NOON, *same], unit=["1", "2", "3", "4"])
    )
    assert rows.unit.tolist() == [reference.hashed("2"), reference.hashed("3")]
    assert left_out.total("duplicate") == 2


def test_a_request_with_several_rows_is_one_request() -> None:
    rows, left_out = clean(log(prediction_id=["a", "a", "a", "b", "b"], row=[0, 1, 2, None, 0]))
    assert len(rows) == 2 and dict(left_out) == {"duplicate": (1, 0, 0)}
    alone, _ = clean(log(prediction_id=["a", "b"]))
    assert rows.id.tolist() == alone.id.tolist()


def test_an_outcome_of_a_row_is_one_of_its_request() -> None:
    rows, _ = clean(log(prediction_id=["a", "a", "b"], row=[0, 1, 0]))
    table = pa.table(
        {"prediction_id": ["a", "a"], "time": [NOON, NOON], "name": ["x", "x"], "value": [1, 1], "row": [1, 0]}
    )
    first, unknown = join(rows, clean_outcomes(table)[0].of("x"))
    assert (len(unknown), (first.when != NEVER).tolist(), len(first.others.at)) == (0, [True, False], 1)


def test_faults_latency_and_what_belongs_to_the_release() -> None:
    table = log(
        fault=["timeout", "", None, "x"],
        latency_ms=["1.5", None, "fast", "2"],
        release=["r1", None, "r1", "r2"],
        epoch=[3, None, 4, 4],
        share=[0.01, None, 0.05, 0.05],
    )
    rows, _ = clean(table)
    assert rows.fault.tolist() == [True, False, False, True]
    np.testing.assert_array_equal(rows.latency, np.array([1.5, np.nan, np.nan, 2], np.float32))
    assert rows.release is not None and rows.release[0] == rows.release[2] == reference.hashed("r1")
    assert rows.epoch is not None and rows.epoch.tolist() == [3, -1, 4, 4]
    np.testing.assert_array_equal(rows.share, [0.01, np.nan, 0.05, 0.05])
    assert clean(log(fault=[True, False]))[0].fault.tolist() == [True, False]
    assert clean(log(fault=[1, None]))[0].fault.tolist() == [True, False]
    plain, _ = clean(log(prediction_id=["x", "y"]))
    assert plain.release is None and plain.core() is plain and rows.core().epoch is None
    both = Rows.joined([plain, rows])
    assert both.epoch is not None and both.epoch.tolist() == [-1, -1, 3, -1, 4, 4]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"variant": None},
            "has no column 'variant': expected prediction_id, time, variant, unit, found prediction_id",
        ),
        ({"time": [1, 2]}, "'time' holds int64: expected a timestamp or ISO 8601 text"),
        ({"time": [date(2026, 1, 1)] * 2}, "'time' holds date32[day]: expected a timestamp"),
        ({"variant": [0, 1]}, "'variant' holds int64: expected text such as 'champion'"),
        ({"unit": [["a"], ["b"]]}, "'unit' holds list<item: string>: expected text"),
        ({"unit": [1.5, 2.0]}, "'unit' holds double: expected text or whole numbers"),
        ({"latency_ms": [NOON, NOON]}, "'latency_ms' holds timestamp[us, tz=UTC]: expected numbers"),
        ({"override": [1.5, 2.0]}, "'override' holds double: expected true or false"),
    ],
)
def test_a_log_that_cannot_be_used_is_said_in_one_sentence(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as raised:
        clean(log(**columns))
    assert said in raised.value.message and raised.value.hint and raised.value.reason_code == "bad_log"


def test_an_empty_log_has_no_rows() -> None:
    rows, left_out = clean(log().slice(0, 0))
    assert len(rows) == len(rows.bucket) == 0 and not left_out
