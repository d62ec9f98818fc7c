from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.retraining import (
    CodeChangeRetrainingPolicy,
    DataDriftRetrainingPolicy,
    RetrainingPolicy,
    RetrainingTrigger,
    ScheduledRetrainingPolicy,
)

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("threshold", "value", "expected"),
    [(0.15, 0.16, True), (0.15, 0.15, False), (0.15, 0.1, False), (0, 0, False), (0.15, float("nan"), False)],
)
def test_a_trigger_fires_above_its_threshold(threshold: float, value: float, expected: bool) -> None:
    assert RetrainingTrigger("drift", threshold, value).should_trigger is expected


def test_a_policy_must_answer() -> None:
    with pytest.raises(TypeError, match="abstract"):
        RetrainingPolicy()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("score", "expected", "reason"),
    [
        (0.23, True, "The drift score of ranker is 0.23, above the limit of 0.15."),
        (0.15, False, "The drift score of ranker is 0.15, not above the limit of 0.15."),
        (0.0, False, "The drift score of ranker is 0, not above the limit of 0.15."),
        (0.15000001, True, "The drift score of ranker is 0.15000001, above the limit of 0.15."),
        (None, False, "The drift score of ranker is unknown, so it is not compared with 0.15."),
        (float("nan"), False, "The drift score of ranker is unknown, so it is not compared with 0.15."),
    ],
)
@pytest.mark.parametrize("stored", [True, False])
def test_drift(score: float | None, expected: bool, reason: str, stored: bool) -> None:
    policy = DataDriftRetrainingPolicy(drift_score=score if stored else lambda _: score)
    assert policy.should_retrain("ranker") == (expected, reason)


def test_drift_is_asked_of_the_model_and_against_the_declared_threshold() -> None:
    policy = DataDriftRetrainingPolicy(0.5, drift_score={"a": 0.6, "b": 0.4}.get)
    assert [policy.should_retrain(name)[0] for name in "abc"] == [True, False, False]


@pytest.mark.parametrize(
    ("age", "expected", "reason"),
    [
        (timedelta(days=8, hours=6), True, "The last training of ranker was 8.25 days ago, above the limit of 7."),
        (timedelta(days=7), False, "The last training of ranker was 7 days ago, not above the limit of 7."),
        (timedelta(hours=12), False, "The last training of ranker was 0.5 days ago, not above the limit of 7."),
        (timedelta(minutes=-5), False, "The last training of ranker was 0 days ago, not above the limit of 7."),
        (None, True, "No training of ranker is recorded, and it is due every 7 days."),
    ],
)
@pytest.mark.parametrize("stored", [True, False])
def test_schedule(age: timedelta | None, expected: bool, reason: str, stored: bool) -> None:
    last = None if age is None else NOW - age
    policy = ScheduledRetrainingPolicy(last_training=last if stored else lambda _: last, clock=lambda: NOW)
    assert policy.should_retrain("ranker") == (expected, reason)


def test_schedule_counts_moments_not_wall_clocks() -> None:
    last = (NOW - timedelta(days=1)).astimezone(timezone(timedelta(hours=9)))
    policy = ScheduledRetrainingPolicy(1, last_training=last, clock=lambda: NOW + timedelta(seconds=1))
    assert policy.should_retrain("ranker")[0]


def test_the_default_clock_is_now() -> None:
    assert ScheduledRetrainingPolicy(last_training=datetime.now(UTC) - timedelta(days=8)).should_retrain("m")[0]
    assert not ScheduledRetrainingPolicy(last_training=datetime.now(UTC) - timedelta(days=6)).should_retrain("m")[0]


def test_a_time_without_a_zone_is_an_error() -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(UserError, match="with a time zone, found 2026-05-20T12:00:00"):
        ScheduledRetrainingPolicy(last_training=naive)
    with pytest.raises(UserError, match="time zone"):
        ScheduledRetrainingPolicy(last_training=lambda _: naive, clock=lambda: NOW).should_retrain("m")
    with pytest.raises(UserError, match="time zone"):
        ScheduledRetrainingPolicy(last_training=NOW, clock=lambda: naive).should_retrain("m")


def test_a_training_in_the_future_is_no_answer() -> None:
    policy = ScheduledRetrainingPolicy(last_training=NOW + timedelta(days=2), clock=lambda: NOW)
    with pytest.raises(OutsideError, match="in the future"):
        policy.should_retrain("m")


def test_code_change_names_counts_and_files() -> None:
    changed = ["README.md", "src/a.py", "src/deep/b.py"]
    policy = CodeChangeRetrainingPolicy(
        ["src/**", "train.py"], last_commit="0123456789abcdef", changed_files=lambda _: changed
    )
    expected = "2 of 3 files changed since 0123456789ab match src/** or train.py: src/a.py, src/deep/b.py."
    assert policy.should_retrain("m") == (True, expected)


def test_code_change_without_a_match() -> None:
    policy = CodeChangeRetrainingPolicy(["src/**"], last_commit=lambda _: "0123456", changed_files=lambda _: ["a", "b"])
    assert policy.should_retrain("m") == (False, "0 of 2 files changed since 0123456 match src/**.")


def test_code_change_names_few_of_many_files() -> None:
    policy = CodeChangeRetrainingPolicy(
        ["*"], last_commit="0123456", changed_files=lambda _: [f"f{i}" for i in range(9)]
    )
    assert policy.should_retrain("m")[1].endswith("f0, f1, f2, f3, f4, ….")


def test_code_change_without_a_known_commit_is_unknown() -> None:
    def never(_: str) -> list[str]:
        raise AssertionError

    retrain, reason = CodeChangeRetrainingPolicy(["src"], changed_files=never).should_retrain("m")
    assert not retrain
    assert "unknown" in reason


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataDriftRetrainingPolicy(-0.1),
        lambda: DataDriftRetrainingPolicy(float("nan")),
        lambda: ScheduledRetrainingPolicy(float("inf")),
        lambda: CodeChangeRetrainingPolicy([]),
        lambda: CodeChangeRetrainingPolicy("src/**"),
    ],
)
def test_what_cannot_be_a_policy_is_an_error(make: object) -> None:
    with pytest.raises(UserError, match="Expected"):
        make()  # type: ignore[operator]
