from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.serving.protocol.units import answer_headers, override_of, unit_of
from holdfast.serving.served import BadInput


def header(text: str) -> dict[str, str]:
    """As it comes off the wire: UTF-8 bytes, each a character."""
    return {"x-holdfast-unit": text.encode().decode("latin-1")}


@pytest.mark.parametrize(
    ("headers", "from_body", "unit"),
    [
        ({}, None, None),
        ({}, "", None),
        (header(""), None, None),
        (header("u-1"), None, "u-1"),
        (header(" u-1\t"), None, "u-1"),
        ({}, "u-1", "u-1"),
        (header(""), "u-1", "u-1"),
        (header("u-1"), "", "u-1"),
        (header("u-1"), "u-1", "u-1"),
        (header("Zoë 👩‍💻"), "Zoë 👩‍💻", "Zoë 👩‍💻"),
        (header("a" * 256), None, "a" * 256),
        (header("é" * 128), None, "é" * 128),
    ],
)
def test_the_unit_comes_from_header_or_body(headers: dict[str, str], from_body: str | None, unit: str | None) -> None:
    assert unit_of(headers, from_body) == unit


@pytest.mark.parametrize(
    ("headers", "from_body"),
    [
        (header("u-1"), "u-2"),
        (header("a" * 257), None),
        (header("é" * 129), None),
        ({}, "👩" * 65),
        (header("u\r\nx-admin: 1"), None),
        (header("u\x00"), None),
        (header("u\x7f"), None),
        (header("u\x85"), None),
        (header("u\u2028"), None),
        ({}, "\ud800"),
        ({"x-holdfast-unit": "\xff"}, None),  # no UTF-8
        ({"x-holdfast-unit": "\u20ac"}, None),  # no byte
    ],
)
def test_a_hostile_unit_is_refused(headers: dict[str, str], from_body: str | None) -> None:
    with pytest.raises(BadInput, match="unit"):
        unit_of(headers, from_body)


@given(st.text(st.characters(max_codepoint=255), max_size=300), st.none() | st.text(max_size=300))
def test_any_unit_is_taken_or_refused(value: str, from_body: str | None) -> None:
    try:
        unit = unit_of({"x-holdfast-unit": value}, from_body)
    except BadInput:
        return
    assert unit is None or 0 < len(unit.encode()) <= 256


@pytest.mark.parametrize(
    ("value", "variant"),
    [(None, None), ("", None), ("champion", "champion"), (" canary", "canary")],
)
def test_a_tester_asks_for_a_variant(value: str | None, variant: str | None) -> None:
    assert override_of({} if value is None else {"x-holdfast-variant": value}) == variant


@pytest.mark.parametrize("value", ["Canary", "canary,champion", "3", "\xff" * 500])
def test_another_variant_is_refused(value: str) -> None:
    with pytest.raises(BadInput, match="champion or canary"):
        override_of({"x-holdfast-variant": value})


@given(st.text(), st.text(), st.text())
def test_answer_headers_hold_one_line_each(prediction_id: str, variant: str, version: str) -> None:
    headers = answer_headers(prediction_id, variant, version)
    assert [name for name, _ in headers] == [b"x-holdfast-prediction-id", b"x-holdfast-variant", b"x-holdfast-version"]
    assert all(32 <= byte < 127 for _, value in headers for byte in value)


def test_answer_headers_are_what_was_given() -> None:
    assert dict(answer_headers("01-ab", "canary", "3")) == {
        b"x-holdfast-prediction-id": b"01-ab",
        b"x-holdfast-variant": b"canary",
        b"x-holdfast-version": b"3",
    }
