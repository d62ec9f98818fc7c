"""Recorded logs through the decision: harm, equals, broken assignment, shares that the log tells, and where it ends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.errors import UserError
from holdfast.pipeline.replaying import Asked, replay_log
from holdfast.release.canary.judgement import Decision
from holdfast.release.routing import Routing
from tests.traffic import write_traffic

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PROJECT = """\
model: ranker
data: {train: t.parquet, label: y}
release:
  canary: {steps: [{share: 0.2}], min_hours: 24, max_hours: 48, unit_window: 6h}
  guardrails: {click: {max_drop: 0.02, absent: zero, delay: 1m}, error: {max_rise: 0.01}, latency_p99_ms: {max_rise: 10}}
"""


def recorded(folder: Path, *, share: float = 0.2, hours: float = 30, **changes: Any) -> Asked:
    routing = Routing(model="ranker", epoch=3, champion="1", canary="2", share=share, release="r1")
    options = {"requests": 60_000, "users": 20_000, "clicks": (0.2, 0.2), **changes}
    requests, users = options.pop("requests"), options.pop("users")
    write_traffic(folder, BEGIN, hours * 3600, requests, users, routing=routing, **options)
    (folder / "holdfast.yaml").write_text(PROJECT)
    return Asked(log=folder / "predictions", outcomes=folder / "outcomes", plan_file=folder / "holdfast.yaml")


def ended(asked: Asked) -> tuple[Decision, str | None]:
    end = replay_log(asked).found.first.end
    return end.judgement.decision, end.judgement.metric


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clicks": (0.2, 0.1)}, (Decision.ROLL_BACK, "outcomes.click")),
        ({"faults": (0.001, 0.1)}, (Decision.ROLL_BACK, "breaker")),
        ({"latency": (30.0, 60.0)}, (Decision.ROLL_BACK, "builtin.latency_p99_ms")),
        ({}, (Decision.PROMOTE, None)),
        ({"share": 0.3}, (Decision.INVALID, "assignment")),
    ],
)
def test_what_the_policy_would_have_done(tmp_path: Path, changes: dict[str, Any], expected: Any) -> None:
    assert ended(recorded(tmp_path, **changes)) == expected


def test_the_log_ends_before_it_is_decided(tmp_path: Path) -> None:
    end = replay_log(recorded(tmp_path, hours=5)).found.first.end
    assert end.judgement.decision is Decision.UNDECIDED
    assert "the log ends after 5.00 h" in end.judgement.reason


def test_one_outcome_without_a_project(tmp_path: Path) -> None:
    asked = recorded(tmp_path, clicks=(0.2, 0.1))
    named = Asked(log=asked.log, outcomes=asked.outcomes, metric="click", max_drop=0.02, delay=1)
    replayed = replay_log(named)
    assert replayed.found.count(Decision.ROLL_BACK) == 1
    assert any("share was measured" in notice for notice in replayed.notices)


def test_equals_are_dealt_anew(tmp_path: Path) -> None:
    asked = recorded(tmp_path, clicks=(0.2, 0.1))
    replayed = replay_log(Asked(**{**vars(asked), "repeats": 8}))
    assert replayed.found.count(Decision.ROLL_BACK) == 1
    assert replayed.equals.count(Decision.ROLL_BACK) == 0


def test_a_log_that_tells_its_shares(tmp_path: Path) -> None:
    asked = recorded(tmp_path)
    part = next((tmp_path / "predictions").glob("*.parquet"))
    table = pq.read_table(part)
    shares = [0.2] * len(table)
    pq.write_table(table.append_column("share", pa.array(shares)), part)
    replayed = replay_log(asked)
    assert [step.share for step in replayed.plan.steps] == [0.2]
    assert any("tells its own shares" in notice for notice in replayed.notices)


def test_a_log_without_a_canary_cannot_be_replayed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no request whose variant is canary"):
        replay_log(recorded(tmp_path, share=0.0))


def test_a_log_needs_a_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = recorded(tmp_path / "log")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="needs a policy"):
        replay_log(Asked(log=asked.log, outcomes=asked.outcomes))
