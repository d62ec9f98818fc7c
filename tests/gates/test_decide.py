"""From an interval and a limit to a verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gates.decide import Question, against, answer, no_answer
from holdfast.stats import Estimate
from holdfast.verdict import Verdict

PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def made(low: float | None, high: float | None, shortage: str | None = None) -> Estimate:
    value = ((low if low is not None else high or 0) + (high if high is not None else low or 0)) / 2
    return Estimate(
        value=value, low=low, high=high, confidence=0.95, method="m", unit="query", n=100, shortage=shortage
    )


@pytest.mark.parametrize(
    ("low", "high", "threshold", "direction", "verdict"),
    [
        (-0.01, 0.03, -0.02, "higher", PASS),
        (-0.02, 0.03, -0.02, "higher", PASS),  # the bound itself is still tolerated
        (-0.05, -0.021, -0.02, "higher", FAIL),
        (-0.05, -0.02, -0.02, "higher", OPEN),
        (-0.05, 0.01, -0.02, "higher", OPEN),
        (0.01, 0.10, 0.10, "lower", PASS),
        (0.11, 0.20, 0.10, "lower", FAIL),
        (0.10, 0.20, 0.10, "lower", OPEN),
        (None, 0.5, -0.02, "higher", OPEN),
        (None, -0.5, -0.02, "higher", FAIL),
        (0.5, None, -0.02, "higher", PASS),
        (None, None, -0.02, "higher", OPEN),
        (5.0, None, 3.0, "lower", FAIL),
        (None, 2.0, 3.0, "lower", PASS),
    ],
)
def test_against(low: float | None, high: float | None, threshold: float, direction: str, verdict: Verdict) -> None:
    assert against(made(low, high), threshold, direction) is verdict


def test_a_shortage_is_never_a_verdict() -> None:
    assert against(made(10, 11, "too few."), 0.0, "higher") is OPEN


@given(
    st.floats(-1, 1),
    st.floats(0, 1),
    st.floats(-1, 1),
)
def test_both_directions_mirror_each_other(low: float, width: float, threshold: float) -> None:
    up = against(made(low, low + width), threshold, "higher")
    down = against(made(-(low + width), -low), -threshold, "lower")
    assert up is down


QUESTION = Question(
    name="ndcg@10.regression",
    kind="regression",
    metric="ndcg@10",
    threshold=-0.02,
    direction="higher",
    subject="the candidate against the champion",
    limit="the margin",
    sign=True,
)


@pytest.mark.parametrize(
    ("estimate", "words", "reason"),
    [
        (made(-0.01, 0.01), "keeps the margin of −0.02 (100 queries).", None),
        (made(-0.14, -0.05), "is beyond the margin of −0.02 (100 queries).", "beyond_limit"),
        (made(-0.05, 0.03), "neither keeps nor breaks the margin of −0.02 on 100 queries", "interval_spans_limit"),
        (made(None, None, "3 units are too few."), "cannot be judged", "scarce_evidence"),
    ],
)
def test_the_sentence_says_what_was_found_and_expected(estimate: Estimate, words: str, reason: str | None) -> None:
    check = answer(QUESTION, estimate)
    assert words in check.message
    assert check.reason_code == reason


def test_an_open_answer_says_how_many_would_settle_it() -> None:
    check = answer(QUESTION, made(-0.05, 0.03))
    assert check.needed_n is not None
    assert f"about {check.needed_n:,} queries would settle it" in check.message


def test_a_question_that_was_not_asked_is_no_pass() -> None:
    check = no_answer(QUESTION, "nothing is recorded.", "no_recorded_predictions")
    assert (check.verdict, check.estimate, check.threshold) == (OPEN, None, -0.02)
