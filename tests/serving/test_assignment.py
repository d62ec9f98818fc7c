"""Who is asked, and what is evidence: the table of cases, and that the choice is blind to the variant."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.serving.assignment import Assigned, Variant, assign
from holdfast.serving.table import RoutingTable
from tests.serving.gateways import FunctionModel, table_with

TABLE = table_with(FunctionModel("1"), FunctionModel("2"), share=0.5)
ALONE = table_with(FunctionModel("1"))
AWAY = replace(TABLE, canary=None)  # breaker open, lease over, or not loaded yet
CANARY = next(f"u{n}" for n in range(100) if TABLE.is_canary(f"u{n}"))
CHAMPION = next(f"u{n}" for n in range(100) if not TABLE.is_canary(f"u{n}"))

CASES: list[tuple[str, RoutingTable, str | None, Variant | None, dict[str, object], Assigned]] = [
    ("the champion's unit", TABLE, CHAMPION, None, {}, Assigned("champion", CHAMPION)),
    ("the canary's unit", TABLE, CANARY, None, {}, Assigned("canary", CANARY, asked=True)),
    ("no unit", TABLE, None, None, {}, Assigned("champion", None)),
    ("no unit, drawn", TABLE, None, None, {"each": CANARY}, Assigned("canary", CANARY, asked=True)),
    ("a unit is not drawn", TABLE, CHAMPION, None, {"each": CANARY}, Assigned("champion", CHAMPION)),
    ("no release", ALONE, CANARY, None, {}, Assigned("champion", CANARY)),
    ("no release, tester", ALONE, CANARY, "canary", {}, Assigned("champion", CANARY, override=True)),
    ("tester", TABLE, CHAMPION, "canary", {}, Assigned("canary", CHAMPION, asked=True, override=True)),
    ("tester", TABLE, CANARY, "champion", {}, Assigned("champion", CANARY, override=True)),
    ("tester, canary away", AWAY, CANARY, "canary", {}, Assigned("champion", CANARY, override=True)),
    ("tester, pressed", TABLE, None, "canary", {"pressed": True}, Assigned("champion", None, override=True)),
    ("away", AWAY, CANARY, None, {}, Assigned("canary", CANARY, override=True, withheld="withheld")),
    ("away", AWAY, CHAMPION, None, {}, Assigned("champion", CHAMPION, override=True)),
    (
        "pressed",
        TABLE,
        CANARY,
        None,
        {"pressed": True},
        Assigned("canary", CANARY, override=True, withheld="overloaded"),
    ),
    ("pressed", TABLE, CHAMPION, None, {"pressed": True}, Assigned("champion", CHAMPION, override=True)),
    ("pressed, no release", ALONE, CANARY, None, {"pressed": True}, Assigned("champion", CANARY)),
    ("shadow", TABLE, CANARY, None, {"shadow": True}, Assigned("champion", CANARY, shadow=True, override=True)),
    ("shadow", TABLE, CHAMPION, None, {"shadow": True}, Assigned("champion", CHAMPION, override=True)),
    (
        "shadow, pressed",
        TABLE,
        CANARY,
        None,
        {"shadow": True, "pressed": True},
        Assigned("champion", CANARY, override=True),
    ),
]


@pytest.mark.parametrize(("what", "table", "unit", "wish", "how", "expected"), CASES)
def test_cases(
    what: str, table: RoutingTable, unit: str | None, wish: Variant | None, how: dict[str, bool], expected: Assigned
) -> None:
    assert assign(table, unit, wish, **how) == expected, what  # type: ignore[arg-type]


@given(st.text(max_size=20), st.text(max_size=20), st.booleans(), st.booleans(), st.booleans())
def test_evidence_is_the_same_question_for_both_variants(
    one: str, other: str, pressed: bool, away: bool, shadow: bool
) -> None:
    table = AWAY if away else TABLE
    found = [assign(table, unit, None, pressed=pressed, shadow=shadow) for unit in (one, other, CANARY, CHAMPION)]
    assert len({assigned.override for assigned in found}) == 1


@given(st.text(max_size=20))
def test_assigned_is_what_the_routing_says(unit: str) -> None:
    assert assign(TABLE, unit, None).variant == TABLE.routing.variant_of(unit)
