"""The champion's recent traffic, from a real log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from holdfast.config.schema import ReleaseConfig
from holdfast.evidence.log import FileLog, Taken, take
from holdfast.release.canary.baseline import baseline_of, recent_latency, recent_rate
from holdfast.release.canary.planning import canary_plan
from tests.traffic import write_traffic

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PLAN = canary_plan(
    ReleaseConfig.model_validate(
        {
            "canary": {"steps": [{"share": 0.1}], "max_hours": 72, "unit_window": "2h"},
            "guardrails": {"click": {"max_drop": 0.02, "absent": "zero", "delay": "1m"}, "error": {"max_rise": 0.01}},
        }
    )
)


def log(folder: Path, hours: float, requests: int = 40_000, users: int = 4_000, **changes: object) -> Taken:
    write_traffic(folder, BEGIN, hours * 3600, requests, users, **changes)
    return take(FileLog(folder / "predictions", folder / "outcomes"), None, ["click"])


def test_rate_latency_and_users(tmp_path: Path) -> None:
    taken = log(tmp_path, 30, latency=(30.0, 30.0))
    assert recent_rate(taken.rows) == pytest.approx(40_000 / (30 * 3600), rel=0.01)
    latency = recent_latency(taken.rows)
    assert latency.share_slower(latency.p99_ms) == pytest.approx(0.01, abs=1e-3)
    found = baseline_of(taken, PLAN)
    assert found.hours == pytest.approx(30, rel=0.01)
    assert found.means["outcomes.click"] == pytest.approx(0.1, abs=0.01)
    assert found.units[0] == pytest.approx(4_000, rel=0.02)
    assert found.units[1] > found.units[0]  # beyond the log's length: in proportion
    assert found.variances["builtin.error"] > 0  # no fault was seen, which is not no variance


def test_variance_is_of_users_not_of_requests(tmp_path: Path) -> None:
    """Users of about three requests inside their window: a third of the variance of one request."""
    found = baseline_of(log(tmp_path, 30), PLAN)
    per_unit = found.variances["outcomes.click"]
    assert 0.1 * 0.9 / 5 < per_unit < 0.1 * 0.9


@pytest.mark.parametrize("hours", [0.5, 2.0])
def test_too_short_a_log_says_nothing(tmp_path: Path, hours: float) -> None:
    assert baseline_of(log(tmp_path, hours, 500, 100), PLAN) is None


def test_too_few_latencies_have_no_p99(tmp_path: Path) -> None:
    assert recent_latency(log(tmp_path, 5, 900, 100).rows) is None
    assert np.isfinite(recent_latency(log(tmp_path, 5, 1_100, 100, seed=1).rows).p99_ms)
