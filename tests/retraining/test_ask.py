from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.config.schema import RetrainingConfig
from holdfast.errors import OutsideError, UserError
from holdfast.ledger import Ledger
from holdfast.retraining import (
    DataDriftRetrainingPolicy,
    Decision,
    LocalTrigger,
    RetrainingPolicy,
    ScheduledRetrainingPolicy,
    ask,
    fire,
    policies_from,
)
from holdfast.store import open_store

START = datetime(2026, 5, 20, 12, tzinfo=UTC)
COOLDOWN = timedelta(hours=12)
YES = DataDriftRetrainingPolicy(drift_score=0.3)
NO = DataDriftRetrainingPolicy(drift_score=0.1)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class Broken(RetrainingPolicy):
    name = "broken"

    def should_retrain(self, model_name: str) -> tuple[bool, str]:
        raise OutsideError("The store is away.")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger(open_store(tmp_path), clock=clock)


def asked(ledger: Ledger, clock: Clock, *policies: RetrainingPolicy) -> Decision:
    return ask(policies, "m", ledger, clock=clock, cooldown=COOLDOWN)


def fired(decision: Decision, ledger: Ledger, clock: Clock, run: Callable[[], int] = lambda: 0) -> str | None:
    return fire(decision, LocalTrigger(run), ledger, clock=clock, cooldown=COOLDOWN)


def types(ledger: Ledger) -> list[str]:
    return [event.type for event in ledger.read("retraining/m")]


def test_every_answer_stands_in_the_ledger_with_its_reason(ledger: Ledger, clock: Clock) -> None:
    decision = asked(ledger, clock, NO, Broken(), YES)
    assert [event.payload for event in ledger.read("retraining/m")] == [
        {"policy": "drift", "retrain": False, "reason": "The drift score of m is 0.1, not above the limit of 0.15."},
        {"policy": "broken", "retrain": None, "reason": "The store is away."},
        {"policy": "drift", "retrain": True, "reason": "The drift score of m is 0.3, above the limit of 0.15."},
    ]
    assert types(ledger) == ["answered"] * 3
    assert decision.should_start
    assert decision.reason == "The drift score of m is 0.3, above the limit of 0.15."


def test_a_no_says_why_and_starts_nothing(ledger: Ledger, clock: Clock) -> None:
    decision = asked(ledger, clock, NO)
    assert not decision.should_start
    assert decision.reason == "The drift score of m is 0.1, not above the limit of 0.15."
    assert fired(decision, ledger, clock) is None
    assert types(ledger) == ["answered"]
    assert asked(ledger, clock).reason == "No policy was asked."


def test_a_users_mistake_is_raised(ledger: Ledger, clock: Clock) -> None:
    with pytest.raises(UserError, match="time zone"):
        asked(ledger, clock, ScheduledRetrainingPolicy(last_training=lambda _: datetime(2026, 1, 1), clock=clock))  # noqa: DTZ001


def test_the_intent_is_recorded_before_the_start(ledger: Ledger, clock: Clock) -> None:
    seen: list[list[str]] = []
    said = fired(asked(ledger, clock, YES), ledger, clock, lambda: seen.append(types(ledger)) or 0)
    assert seen == [["answered", "triggered"]]
    assert types(ledger) == ["answered", "triggered", "started"]
    triggered, started = ledger.read("retraining/m")[1:]
    assert triggered.payload["reason"] == "The drift score of m is 0.3, above the limit of 0.15."
    assert started.payload == {"trigger": "local", "summary": said}


def test_within_the_cooldown_nothing_starts(ledger: Ledger, clock: Clock) -> None:
    assert fired(asked(ledger, clock, YES), ledger, clock) is not None
    clock.now = START + COOLDOWN - timedelta(seconds=1)
    decision = asked(ledger, clock, YES)
    assert decision.wanted
    assert not decision.should_start
    assert decision.reason.endswith("The cooldown of the last start lasts until 2026-05-21T00:00:00Z.")
    assert fired(decision, ledger, clock) is None
    clock.now = START + COOLDOWN
    assert fired(asked(ledger, clock, YES), ledger, clock) is not None
    assert types(ledger).count("triggered") == 2


def test_the_cooldown_is_the_models_own(ledger: Ledger, clock: Clock) -> None:
    fired(asked(ledger, clock, YES), ledger, clock)
    assert ask([YES], "other", ledger, clock=clock, cooldown=COOLDOWN).should_start


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (4, OutsideError, "The run for m failed with exit status 4."),
        (None, KeyboardInterrupt, "interrupted by KeyboardInterrupt"),
    ],
)
def test_a_failed_start_is_recorded_raised_and_cooled_down(
    ledger: Ledger, clock: Clock, status: int | None, error: type[BaseException], reason: str
) -> None:
    def run() -> int:
        if status is None:
            raise KeyboardInterrupt
        return status

    with pytest.raises(error):
        fired(asked(ledger, clock, YES), ledger, clock, run)
    assert ledger.read("retraining/m")[-1].payload == {"trigger": "local", "reason": reason}
    assert types(ledger) == ["answered", "triggered", "failed"]
    assert not asked(ledger, clock, YES).should_start


def test_a_crash_right_after_the_intent_starts_nothing_twice(ledger: Ledger, clock: Clock, tmp_path: Path) -> None:
    """As a kill leaves it: `triggered` is the last event, and nobody knows whether the run began."""
    decision = asked(ledger, clock, YES)
    ledger.append("retraining/m", "triggered", {}, expected=1)
    assert fired(decision, Ledger(open_store(tmp_path), clock=clock), clock) is None
    assert types(ledger) == ["answered", "triggered"]


def test_of_many_at_once_one_starts(ledger: Ledger, clock: Clock, tmp_path: Path) -> None:
    starts: list[int] = []
    gate = threading.Barrier(6)

    def one() -> None:
        mine = Ledger(open_store(tmp_path), clock=clock)
        decision = asked(mine, clock, YES)
        gate.wait()
        fired(decision, mine, clock, lambda: starts.append(1) or 0)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert starts == [1]
    assert types(ledger).count("triggered") == 1


def test_a_policy_for_each_declaration(clock: Clock) -> None:
    def built(**declared: object) -> list[str]:
        config = RetrainingConfig.model_validate(declared)
        policies = policies_from(
            config,
            drift_score=lambda _: 0.2,
            last_training=lambda _: START,
            last_commit=lambda _: "0123456",
            changed_files=lambda _: ["src/a.py"],
            clock=clock,
        )
        return [policy.should_retrain("m")[1] for policy in policies]

    assert built() == []
    assert built(drift=0.25, every_days=3, on_change=["src"]) == [
        "The drift score of m is 0.2, not above the limit of 0.25.",
        "The last training of m was 0 days ago, not above the limit of 3.",
        "1 of 1 files changed since 0123456 match src: src/a.py.",
    ]
