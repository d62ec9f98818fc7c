"""Verdicts combine by the worst; reports fail closed and survive JSON."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.verdict import CheckResult, Report, Verdict, utc_text, worst

verdicts = st.sampled_from(list(Verdict))


def check(verdict: Verdict, **extra: object) -> CheckResult:
    return CheckResult(name="c", kind="data", verdict=verdict, message="m", **extra)


@given(st.lists(verdicts, min_size=1))
def test_worst_is_the_most_severe_whatever_the_order(found: list[Verdict]) -> None:
    assert worst(found) == worst(reversed(found))
    assert worst(found).severity == max(v.severity for v in found)


def test_no_verdict_at_all_is_an_error() -> None:
    assert worst([]) is Verdict.ERROR
    assert Report(checks=()).verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("fail", Verdict.FAIL), ("hold", Verdict.INCONCLUSIVE), ("report", Verdict.PASS)],
)
def test_an_open_check_decides_as_its_policy_says(rule: str, expected: Verdict) -> None:
    report = Report(checks=(check(Verdict.PASS), check(Verdict.INCONCLUSIVE, on_inconclusive=rule)))
    assert report.verdict is expected
    assert report.checks[1].verdict is Verdict.INCONCLUSIVE


def test_checks_that_only_inform_are_no_pass_by_themselves() -> None:
    open_only = Report(checks=(check(Verdict.INCONCLUSIVE, on_inconclusive="report"),))
    notices_only = Report(checks=(check(Verdict.PASS, level="notice"),))
    assert open_only.verdict is Verdict.ERROR
    assert notices_only.verdict is Verdict.ERROR


def test_a_notice_never_stops_a_release() -> None:
    report = Report(checks=(check(Verdict.PASS), check(Verdict.FAIL, level="notice")))
    assert report.verdict is Verdict.PASS
    assert report.failed == ()


def test_failed_lists_the_worst_first() -> None:
    report = Report(checks=(check(Verdict.FAIL), check(Verdict.PASS), check(Verdict.ERROR)))
    assert [c.verdict for c in report.failed] == [Verdict.ERROR, Verdict.FAIL]


@pytest.mark.parametrize(("verdict", "status"), [("pass", 0), ("fail", 1), ("inconclusive", 3), ("error", 4)])
def test_exit_statuses(verdict: str, status: int) -> None:
    assert Verdict(verdict).exit_status == status


def test_json_holds_no_nan_and_no_numpy() -> None:
    made = check(
        Verdict.PASS,
        estimate=np.float64(0.5),
        low=-math.inf,
        high=math.nan,
        n=np.int64(3),
        details={"rows": np.array([1, 2]), "nested": {"bad": float("inf")}},
    )
    document = json.loads(json.dumps(Report(checks=(made,)).to_json(), allow_nan=False))
    stored = document["checks"][0]
    assert (stored["estimate"], stored["low"], stored["high"], stored["n"]) == (0.5, None, None, 3)
    assert stored["details"] == {"rows": [1, 2], "nested": {"bad": None}}


@given(st.lists(verdicts), st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_reports_survive_json(found: list[Verdict], text: str, number: float) -> None:
    checks = tuple(check(v, details={"text": text}, estimate=number, threshold=number) for v in found)
    report = Report(checks=checks, model="m", notices=(text,), inputs={"holdout": None})
    document = json.loads(json.dumps(report.to_json()))
    document["a field of a later version"] = 1
    again = Report.from_json(document)
    assert again == report
    assert document["verdict"] == again.verdict.value


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        utc_text(datetime(2026, 1, 1))  # noqa: DTZ001 - the case itself
    assert utc_text(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00Z"
