"""The course of a guardrail as a picture: geometry, and the page that shows it."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.reports import render_html
from holdfast.reports.course import HEIGHT, WIDTH, course_of
from holdfast.verdict import CheckResult, Report, Verdict


def check(points: list[dict[str, Any]], harm: str = "drop", **changes: Any) -> CheckResult:
    fields: dict[str, Any] = {
        "name": "outcomes.click",
        "kind": "guardrail",
        "verdict": Verdict.FAIL,
        "message": "worse",
        "estimate": -0.02,
        "low": -0.03,
        "high": -0.01,
        "threshold": -0.005,
        "direction": "higher",
        "series": tuple(points),
        "details": {"margin": 0.005, "harm": harm},
    }
    return CheckResult(**{**fields, **changes})


def points(count: int = 10, begin: float = 0.0) -> list[dict[str, Any]]:
    return [
        {
            "hours": begin + n,
            "estimate": -0.02,
            "low": -0.02 - 1 / (n + 1),
            "high": -0.02 + 1 / (n + 1),
            "step": int(n >= 5),
            "units": 100 * n,
        }
        for n in range(count)
    ]


def test_everything_lies_inside_the_picture() -> None:
    found = course_of(check(points()))
    numbers = [tuple(map(float, pair.split(","))) for pair in f"{found.band} {found.line}".split()]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in numbers)
    assert found.end == numbers[-1]
    assert len(found.steps) == 1
    assert found.hours[0][1] == "0 h"


@pytest.mark.parametrize(("harm", "limits"), [("drop", 1), ("rise", 1), ("both", 2)])
def test_limits_and_the_side_that_harms(harm: str, limits: int) -> None:
    found = course_of(check(points(), harm))
    assert len(found.limits) == len(found.bad) == limits
    tops = [top for top, _ in found.bad]
    assert (found.top in tops) is (harm != "drop")  # what harms lies above the limit where a rise does


@pytest.mark.parametrize(
    "series", [[], points(1), [{**p, "low": None} for p in points()], [{**p, "estimate": None} for p in points()]]
)
def test_nothing_to_draw(series: list[dict[str, Any]]) -> None:
    assert course_of(check(series)) is None


def test_other_checks_have_no_course() -> None:
    assert course_of(check(points(), details={})) is None


def test_a_course_whose_beginning_is_not_known_starts_where_it_is() -> None:
    assert course_of(check(points(begin=20.0))).hours[0][1] != "0 h"


def test_constant_points_can_be_drawn() -> None:
    flat = [{"hours": float(n), "estimate": 0.0, "low": 0.0, "high": 0.0, "step": 0} for n in range(3)]
    assert course_of(check(flat, details={"margin": 0.0, "harm": "drop"})) is not None


def test_the_page_draws_it() -> None:
    page = render_html(Report(title="Canary", checks=(check(points()),), created="2026-01-01T00:00:00Z"))
    assert "<polyline" in page
    assert "the band its confidence sequence" in page
    plain = render_html(Report(title="Canary", checks=(check([]),), created="2026-01-01T00:00:00Z"))
    assert "<polyline" not in plain
