from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import OutsideError
from holdfast.serving.log.encoding import outcomes_table_of
from holdfast.serving.outcomes import FIELDS, Outcome, OutcomeIntake, RecentEvents, checked, encoded

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
NOON = 1_803_902_400_000_000
GOOD = {"prediction_id": "p", "name": "click", "value": 1}


@pytest.mark.parametrize(
    ("entry", "outcome"),
    [
        (GOOD, Outcome("p", NOON, "click", 1.0)),
        (GOOD | {"value": True}, Outcome("p", NOON, "click", 1.0)),
        (GOOD | {"value": Decimal("2.5")}, Outcome("p", NOON, "click", 2.5)),
        (GOOD | {"value": -(10**30)}, Outcome("p", NOON, "click", -1e30)),
        (GOOD | {"time": None, "row": None, "event_id": None}, Outcome("p", NOON, "click", 1.0)),
        (GOOD | {"time": "2027-03-01T12:00:00Z"}, Outcome("p", NOON, "click", 1.0)),
        (GOOD | {"time": " 2027-03-01T13:00:00.000001+01:00"}, Outcome("p", NOON + 1, "click", 1.0)),
        (GOOD | {"time": "2027-03-01T12:00"}, Outcome("p", NOON, "click", 1.0)),
        (GOOD | {"time": NOW.astimezone(timezone(timedelta(hours=5)))}, Outcome("p", NOON, "click", 1.0)),
        (GOOD | {"row": 3}, Outcome("p", NOON, "click", 1.0, 3)),
        (GOOD | {"row": 3.0}, Outcome("p", NOON, "click", 1.0, 3)),
        (GOOD | {"event_id": "e", "prediction_id": 17}, Outcome("17", NOON, "click", 1.0, None, "e")),
        (GOOD | {"name": "ünï codé"}, Outcome("p", NOON, "ünï codé", 1.0)),
    ],
)
def test_what_is_taken(entry: dict[str, Any], outcome: Outcome) -> None:
    assert checked([entry], NOW) == ([outcome], [])


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (None, "expected an object with prediction_id, name and value, found nothing."),
        ([1], "expected an object with prediction_id, name and value, found list."),
        ({"name": "x", "value": 1}, "expected prediction_id to be text of 1 to 200 characters, found nothing."),
        (GOOD | {"prediction_id": ""}, "expected prediction_id to be text of 1 to 200 characters, found 0 characters."),
        (GOOD | {"prediction_id": "x" * 201}, "expected prediction_id to be text of 1 to 200 characters, found 201"),
        (GOOD | {"prediction_id": True}, "expected prediction_id to be text of 1 to 200 characters, found bool."),
        (GOOD | {"prediction_id": "a\nb"}, "expected prediction_id to be printable text, found 'a\\nb'."),
        (GOOD | {"prediction_id": "\ud800"}, "expected prediction_id to be printable text, found '\\ud800'."),
        (GOOD | {"name": 3}, "expected name to be text of 1 to 200 characters, found int."),
        (GOOD | {"event_id": 1.5}, "expected event_id to be text of 1 to 200 characters, found float."),
        (GOOD | {"value": None}, "expected value to be a number or a boolean, found nothing."),
        (GOOD | {"value": "1"}, "expected value to be a number or a boolean, found str."),
        (GOOD | {"value": float("nan")}, "expected value to be a finite number, found nan."),
        (GOOD | {"value": Decimal("Infinity")}, "expected value to be a finite number, found Infinity."),
        (GOOD | {"value": 10**400}, "expected value to be a finite number, found 1000"),
        (GOOD | {"time": "yesterday"}, "expected time in ISO 8601 such as 2027-03-01T12:00:00Z, found 'yesterday'."),
        (GOOD | {"time": 1.5e9}, "expected time in ISO 8601 such as 2027-03-01T12:00:00Z, found float."),
        (GOOD | {"time": "1970-01-01"}, "expected time to be between 2000 and 2099, found 1970-01-01."),
        (GOOD | {"time": "0001-01-01T00:00+14:00"}, "expected time to be between 2000 and 2099, found 0001-01-01"),
        (GOOD | {"row": -1}, "expected row to be the number of a row of the request, from 0, found '-1'."),
        (GOOD | {"row": True}, "expected row to be the number of a row of the request, from 0, found 'True'."),
        (
            GOOD | {"timestamp": 3},
            "expected the fields prediction_id, name, value, time, row, event_id, found 'timestamp'.",
        ),
    ],
)
def test_what_is_refused_says_why_in_one_sentence(entry: Any, said: str) -> None:
    outcomes, (refused,) = checked([entry], NOW, 7)
    assert outcomes == []
    assert refused.place == 7
    assert refused.reason.startswith(said.rstrip("."))
    assert refused.reason.endswith(".")
    assert "\n" not in refused.reason
    assert len(refused.reason) < 250


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": st.just("n")},
            optional=dict.fromkeys(("prediction_id", "value", "time", "row", "event_id"), ANYTHING),
        )
    )
)
def test_every_entry_is_taken_or_refused_and_what_is_taken_can_be_logged(entries: list[Any]) -> None:
    outcomes, refused = checked(entries, NOW)
    assert len(outcomes) + len(refused) == len(entries)
    json.dumps([entry.to_json() for entry in refused])
    table = outcomes_table_of([encoded(outcome) for outcome in outcomes])
    assert table.column("prediction_id").to_pylist() == [outcome.prediction_id for outcome in outcomes]
    assert table.column("value").to_pylist() == [outcome.value for outcome in outcomes]
    assert table.column("row").to_pylist() == [outcome.row for outcome in outcomes]
    assert table.column("event_id").to_pylist() == [outcome.event_id for outcome in outcomes]


def test_an_event_counts_once_while_it_is_remembered() -> None:
    recent = RecentEvents(most=2)
    a, b, c = (Outcome("p", 1, "click", 1.0, event_id=name) for name in "abc")
    nameless = Outcome("p", 1, "click", 1.0)
    assert recent.new([a, a, nameless, nameless, b]) == [a, nameless, nameless, b]
    assert recent.new([a]) == [a]  # what was not logged is new
    recent.add([a, b, nameless])
    assert recent.new([a, b, c]) == [c]
    recent.add([c])
    assert recent.new([a, b, c]) == [a]


def test_the_intake_logs_what_is_new_and_says_what_became_of_each() -> None:
    logged: list[bytes] = []

    async def append(payload: bytes) -> None:
        await asyncio.sleep(0)
        logged.append(payload)

    async def run() -> None:
        intake = OutcomeIntake(append, lambda: NOW)
        first = GOOD | {"event_id": "e1"}
        assert await intake([first, GOOD, {"x": 1}]) == {
            "accepted": 2,
            "repeated": 0,
            "refused": 1,
            "reasons": [{"place": 2, "reason": f"expected the fields {', '.join(FIELDS)}, found 'x'."}],
        }
        found = await intake([first, GOOD])
        assert (found["accepted"], found["repeated"], found["refused"]) == (1, 1, 0)

    asyncio.run(run())
    assert outcomes_table_of(logged).column("event_id").to_pylist() == ["e1", None, None]


def test_what_could_not_be_logged_may_be_sent_again() -> None:
    fails = [True]
    logged: list[bytes] = []

    async def append(payload: bytes) -> None:
        if fails.pop() if fails else False:
            raise OutsideError("the disk is full.")
        logged.append(payload)

    async def run() -> None:
        intake = OutcomeIntake(append, lambda: NOW)
        with pytest.raises(OutsideError):
            await intake([GOOD | {"event_id": "e"}])
        assert (await intake([GOOD | {"event_id": "e"}]))["accepted"] == 1

    asyncio.run(run())
    assert len(logged) == 1
