"""Records and outcomes through bytes into tables: what goes in comes out, whatever it is; and what of it is kept."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import Damaged, UserError
from holdfast.evidence.outcomes import clean_outcomes
from holdfast.serving.log import packed
from holdfast.serving.log.encoding import (
    OUTCOMES,
    PREDICTIONS,
    encode,
    encode_outcome,
    json_text,
    outcomes_table_of,
    table_of,
)
from holdfast.serving.log.kept import kept_inputs, kept_unit, unit_key
from holdfast.serving.log.messages import messages_of
from holdfast.serving.payload import Payload, tensor
from holdfast.serving.records import Record

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = Record(
    prediction_id="p1",
    time=1_760_000_000_123_456,
    model="ranker",
    version="17",
    variant="canary",
    served_by="16",
    unit="user-1",
    latency_ms=1.25,
    fault="raised",
    outputs=[0.5],
    release="ranker-18",
    epoch=12,
    share=0.05,
    override=True,
)

name = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(name, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    rows = draw(st.integers(0, 4))
    column = st.lists(values, min_size=rows, max_size=rows)
    return Record(
        prediction_id=draw(name),
        time=draw(st.integers(0, 4_000_000_000_000_000)),
        model=draw(name),
        version=draw(name),
        variant=draw(st.sampled_from(["champion", "canary"])),
        served_by=draw(name),
        unit=draw(st.none() | name),
        latency_ms=draw(st.floats(0, 1e6)),
        fault=draw(st.none() | st.sampled_from(["raised", "died"])),
        outputs=draw(column),
        release=draw(st.none() | name),
        epoch=draw(st.integers(0, 2**40)),
        share=draw(st.floats(0, 1)),
        override=draw(st.booleans()),
        inputs=draw(st.none() | column),
    )


def rows_of(record: Record) -> list[dict[str, Any]]:
    """What the table should say, in plain Python."""
    plain = dataclasses.asdict(record)
    outputs, inputs = plain.pop("outputs"), plain.pop("inputs")
    plain["time"] = EPOCH + timedelta(microseconds=record.time)
    kept = inputs if inputs is not None else [None] * len(outputs)
    return [
        {**plain, "row": row, "output": output, "inputs": entry}
        for row, (output, entry) in enumerate(zip(outputs, kept, strict=True))
    ]


def parsed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {key: None if row[key] is None else json.loads(row[key]) for key in ("output", "inputs")}


def test_one_record_in_full() -> None:
    table = table_of([encode(FIRST)])
    assert table.schema.equals(PREDICTIONS)
    assert [parsed(row) for row in table.to_pylist()] == rows_of(FIRST)
    assert table.column("output").to_pylist() == ["0.5"]


@settings(max_examples=60, deadline=None)
@given(st.lists(records(), max_size=6), st.sampled_from([1, 300, 4 << 20]))
def test_what_goes_in_comes_out(given_records: list[Record], batch: int) -> None:
    before, packed.BATCH_BYTES = packed.BATCH_BYTES, batch
    try:
        table = table_of([encode(record) for record in given_records])
    finally:
        packed.BATCH_BYTES = before
    table.validate(full=True)
    assert table.schema.equals(PREDICTIONS)
    assert [parsed(row) for row in table.to_pylist()] == [row for record in given_records for row in rows_of(record)]


outcome = st.tuples(name, name, st.integers(0, 4 * 10**15), name, st.floats(), st.none() | st.integers(0, 2**31 - 1))


@settings(max_examples=40, deadline=None)
@given(st.lists(outcome, max_size=6))
def test_outcomes_come_out(given_outcomes: list[tuple[Any, ...]]) -> None:
    table = outcomes_table_of([encode_outcome(*each) for each in given_outcomes])
    table.validate(full=True)
    assert table.schema.equals(OUTCOMES)
    found = [tuple((row | {"time": row["time"].astimezone(UTC)}).values()) for row in table.to_pylist()]
    expected = [
        (pid, EPOCH + timedelta(microseconds=at), what, v, row, eid) for eid, pid, at, what, v, row in given_outcomes
    ]
    assert repr(found) == repr(expected)  # NaN is itself
    clean_outcomes(table)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "null"),
        (np.float32(0.5), "0.5"),
        (np.arange(6).reshape(2, 3), "[[0,1,2],[3,4,5]]"),
        (np.arange(6).reshape(2, 3).T, "[[0,3],[1,4],[2,5]]"),
        (np.array(["a", None], dtype=object), '["a",null]'),
        (np.str_("é"), '"é"'),
        (b"text", '"text"'),
        (b"\xff\x00", '"/wA="'),
        ({1: "a"}, '{"1":"a"}'),
        (2**70, "1180591620717411303424"),
        ("half \ud800 pair", '"half ? pair"'),
        ({"\udfff": [math.inf, "\ud800", b"x", (1,)]}, '{"?":[null,"?","x",[1]]}'),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00+00:00"'),
        (3 + 4j, '"(3+4j)"'),
    ],
)
def test_whatever_a_model_answers_is_json(value: Any, text: str) -> None:
    assert json_text(value).decode() == text
    json.loads(text)


@given(st.lists(st.floats() | st.integers(-(2**70), 2**70) | st.booleans() | st.none(), min_size=16, max_size=40))
def test_many_numbers_are_written_as_each_would_be(values: list[Any]) -> None:
    for chosen in (values, [value for value in values if value is not None]):
        found = table_of([encode(dataclasses.replace(FIRST, outputs=chosen))]).column("output").to_pylist()
        assert found == [None if value is None else json_text(value).decode() for value in chosen]


def test_nesting_without_end_is_told_and_not_raised() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert json_text(deep) == b'"nested too deeply"'


def test_hostile_texts() -> None:
    unit = "\ud800'; drop\0table \U0001f600"
    (row,) = table_of([encode(dataclasses.replace(FIRST, unit=unit, outputs=["\ud800"]))]).to_pylist()
    assert row["unit"] == "?'; drop\0table \U0001f600"
    assert row["output"] == '"?"'
    with pytest.raises(UserError, match=r"at most 65535 bytes, found 70000\."):
        encode(dataclasses.replace(FIRST, unit="u" * 70_000))
    with pytest.raises(UserError, match=r"at most 65535 bytes, found 140000\."):
        encode_outcome("e", "p", 0, "é" * 70_000, 1.0)
    with pytest.raises(ValueError, match="64-bit"):
        encode_outcome("e", "p", 2**63, "click", 1.0)
    with pytest.raises(ValueError, match="expected an input for each of 1 rows, found 2"):
        encode(dataclasses.replace(FIRST, inputs=[1, 2]))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"P1" + encode(FIRST)[2:], r"expected records of the kind b'P2', found b'P1'\."),
        (encode_outcome("e", "p", 0, "click", 1.0) + b"." * 40, "expected records of the kind b'P2', found b'O1'"),
        (encode(FIRST)[:-1], "found another length"),
        (encode(FIRST) + b"x", "found another length"),
        (encode(FIRST)[:58] + b"\x07" + encode(FIRST)[59:], "found another length"),  # of the model's name
        (b"P1", "found another length"),
    ],
)
def test_other_payloads_are_damage(payload: bytes, message: str) -> None:
    with pytest.raises(Damaged, match=message):
        table_of([encode(FIRST), payload])
    with pytest.raises(Damaged):
        outcomes_table_of([payload[:50]])


def test_messages_hold_the_columns() -> None:
    record = dataclasses.replace(FIRST, outputs=[[1, "é"], None], inputs=[{"a": 1}, None])
    (key, value), (_, second) = messages_of(table_of([encode(record)]))
    assert key == "p1"
    assert list(json.loads(value)) == PREDICTIONS.names
    assert json.loads(value)["output"] == [1, "é"]
    assert json.loads(value)["inputs"] == {"a": 1}
    assert json.loads(value)["time"] == "2025-10-09T08:53:20.123456Z"
    assert json.loads(second)["output"] is None
    (_, mark), *_ = messages_of(outcomes_table_of([encode_outcome("e", "p", 1, "click", 1.0)]))
    assert json.loads(mark) == {
        "prediction_id": "p",
        "time": "1970-01-01T00:00:00.000001Z",
        "name": "click",
        "value": 1.0,
        "row": None,
        "event_id": "e",
    }


FRAME = Payload("frame", ("a", "b"), (np.array([1, 2]), np.array(["x", None], dtype=object)))
TENSORS = Payload("tensors", ("u", "v"), (np.array([[1.5, math.nan]]), np.array([True])))


@pytest.mark.parametrize(
    ("payload", "setting", "expected"),
    [
        (FRAME, "none", None),
        (FRAME, "all", [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        (FRAME, ["b"], [{"b": "x"}, {"b": None}]),
        (FRAME, ["b", "missing"], [{"b": "x", "missing": None}, {"b": None, "missing": None}]),
        (TENSORS, ["v"], [{"v": True}]),
        (tensor([[1, 2], [3, 4]]), "all", [[1, 2], [3, 4]]),
        (tensor([[1, 2], [3, 4]]), ["a"], [{"a": None}, {"a": None}]),
        (tensor([1, 2], "a"), "all", [{"a": 1}, {"a": 2}]),
        (Payload("frame", (), ()), "all", []),
    ],
)
def test_what_is_kept_of_inputs(payload: Payload, setting: Any, expected: Any) -> None:
    assert kept_inputs(payload, setting) == expected


def test_hashes_of_inputs_say_which_are_equal() -> None:
    turned = Payload("frame", FRAME.names[::-1], FRAME.arrays[::-1])
    first, second = kept_inputs(FRAME, "hash") or []
    assert kept_inputs(turned, "hash") == [first, second]
    assert first != second and len(first) == 32
    assert len(set(kept_inputs(tensor([[1, 2], [1, 2], [2, 1]]), "hash") or [])) == 2


def test_units_are_hashed_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept_unit("user-1", None) == "user-1"
    assert kept_unit(None, b"key") is None
    found = {kept_unit(unit, key) for unit in ("user-1", "user-2", "\ud800") for key in (b"key", b"k" * 64, b"k" * 65)}
    assert len(found) == 9 and all(len(each or "") == 32 for each in found)
    assert kept_unit("user-1", b"key") == kept_unit("user-1", b"key")
    assert unit_key(None) is None
    monkeypatch.setenv("UNIT_SECRET", "s3cret")
    assert unit_key("UNIT_SECRET") == b"s3cret"
    monkeypatch.delenv("UNIT_SECRET")
    with pytest.raises(UserError, match=r"UNIT_SECRET, and it is not set\. Set UNIT_SECRET"):
        unit_key("UNIT_SECRET")
