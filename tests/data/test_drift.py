from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from holdfast.data.drift import compare_profiles, drift_score
from holdfast.data.profile import Profile
from holdfast.verdict import CheckResult, Report, Verdict
from tests.data.test_profile import build, mixed

RNG = np.random.default_rng(11)


def compared(reference: dict[str, Any], current: dict[str, Any], **options: Any) -> dict[str, CheckResult]:
    """The drift checks of two tables by name, the reference read back from JSON as in use."""
    group = options.pop("group", None)
    known = Profile.from_json(build(pa.table(reference), [], group=group).to_json())
    return {c.name: c for c in compare_profiles(known, build(pa.table(current), [], known), **options)}


@pytest.mark.parametrize(
    ("before", "after", "drifts"),
    [
        (RNG.normal(size=3000), RNG.normal(size=2000), False),
        (RNG.normal(size=3000), RNG.normal(1, 1, 2000), True),
        (RNG.normal(size=3000), RNG.normal(0.05, 1, 2000), False),
        (np.full(3000, 2.0), np.full(2000, 2.0), False),
        (np.full(3000, 2.0), np.full(2000, 2.1), True),
        (np.full(3000, 2.0), RNG.normal(2, 0.1, 2000), True),
        (RNG.integers(0, 5, 3000), RNG.integers(0, 5, 2000), False),
        (RNG.integers(0, 5, 3000), RNG.integers(1, 6, 2000), True),
        (RNG.integers(0, 5, 3000), RNG.integers(0, 5, 2000) + 0.5, True),  # between all that there was
        (RNG.integers(0, 10**15, 3000), RNG.integers(0, 10**15, 2000), False),
        (np.zeros(3000), np.where(RNG.random(2000) < 0.5, 0.0, np.nan), True),
        (np.zeros(3000), np.where(RNG.random(2000) < 0.5, 0.0, np.inf), True),
        (pa.array([1.0] * 3000), pa.array([1.0, None] * 1000), True),
        (pa.array([1.0] * 3000), pa.nulls(2000, pa.float64()), True),
        (pa.array([1.0] * 3000), pa.nulls(2000), True),
        (pa.nulls(3000, pa.float64()), pa.array([1.0] * 2000), True),
        (pa.nulls(3000, pa.float64()), pa.nulls(2000, pa.float64()), False),
        (RNG.choice(["a", "b"], 3000).tolist(), RNG.choice(["a", "b"], 2000).tolist(), False),
        (RNG.choice(["a", "b"], 3000).tolist(), RNG.choice(["a", "c"], 2000).tolist(), True),
        (["a"] * 3000, ["a", None] * 1000, True),
        ((RNG.random(3000) < 0.5).tolist(), (RNG.random(2000) < 0.1).tolist(), True),
        ([[1] * 2] * 3000, [[1] * 9] * 2000, True),
        ([{"a": 1}] * 3000, [{"a": 1}, None] * 1000, True),
    ],
)
def test_a_shift_that_is_real_and_large_fails(before: Any, after: Any, *, drifts: bool) -> None:
    checks = compared({"x": before}, {"x": after})
    check = checks["x.drift"]
    assert (check.verdict is Verdict.FAIL) == drifts, check.message
    score = drift_score(checks.values())
    assert score is not None
    assert (score > 0.15) == drifts
    assert check.to_json()["series"]


def test_a_small_real_shift_is_reported_and_passes() -> None:
    rng = np.random.default_rng(0)
    checks = compared({"x": rng.normal(size=40_000)}, {"x": rng.normal(0.1, 1, 40_000)})
    check = checks["x.drift"]
    assert check.verdict is Verdict.PASS
    assert check.details["significant"] is True
    assert "a little" in check.message
    score = drift_score(checks.values())
    assert score is not None
    assert 0 < score < 0.15


def test_rows_of_one_user_are_not_independent() -> None:
    """40 users of 50 rows, a feature constant per user: by rows it always fires, by users it does not."""
    fired = {"rows": 0, "users": 0}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        tables = [
            {"x": np.repeat(rng.normal(size=40), 50), "user": [f"{side}{k // 50}" for k in range(2000)]}
            for side in ("a", "b")
        ]
        for kind, group in (("rows", None), ("users", "user")):
            checks = compared(*tables, group=group, ignore=["user"])
            fired[kind] += checks["x.drift"].verdict is Verdict.FAIL
    assert fired["rows"] >= 25
    assert fired["users"] <= 3


def test_thirty_columns_without_drift_rarely_alarm() -> None:
    alarms = significant = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        tables = [{f"x{k}": rng.normal(size=400) for k in range(30)} for _ in range(2)]
        checks = compared(*tables)
        significant += any(check.details["significant"] for check in checks.values())
        alarms += any(check.verdict is Verdict.FAIL for check in checks.values())
    assert significant <= 7  # 5 % of 40 is 2; 8 or more have probability 0.1 %
    assert alarms <= significant


def test_a_thousand_categories_in_few_rows_do_not_drift() -> None:
    rng = np.random.default_rng(4)
    names = np.array([f"v{k}" for k in range(1000)])
    check = compared({"c": rng.choice(names, 10_000).tolist()}, {"c": rng.choice(names, 10_000).tolist()})["c.drift"]
    assert check.verdict is Verdict.PASS
    assert check.estimate is not None
    assert check.estimate < 0.01


def test_a_sampled_reference_does_not_make_chance_significant() -> None:
    rows = 150_000  # more than are kept; the sample's own error must not count as drift
    significant = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        words = np.array([f"w{k}" for k in range(6000)])
        tables = [
            {
                "x": rng.normal(size=rows),
                "z": rng.exponential(size=rows),
                "w": words[np.minimum(rng.exponential(300, rows).astype(int), 5999)].tolist(),
                "u": [f"{side}{k}" for k in range(rows)],
            }
            for side in ("a", "b")
        ]
        checks = compared(*tables)
        significant += sum(bool(check.details["significant"]) for check in checks.values())
    assert significant <= 2


def test_columns_that_come_go_or_change_type_are_named() -> None:
    checks = compared(
        {"gone": [1.0, 2.0], "other": [1, 2], "same": [1, 2], "when": pa.array([1, 2], pa.timestamp("us"))},
        {"other": ["a", "b"], "same": [1, 2], "new": [1, 2], "when": pa.array([5, 6], pa.timestamp("us"))},
    )
    assert (checks["gone.drift"].verdict, checks["gone.drift"].reason_code) == (Verdict.FAIL, "missing_column")
    assert (checks["other.drift"].verdict, checks["other.drift"].reason_code) == (Verdict.FAIL, "type_changed")
    assert checks["same.drift"].verdict is Verdict.PASS
    assert (checks["columns.new"].level, checks["columns.new"].details["columns"]) == ("notice", ["new"])
    assert "when.drift" not in checks  # times move on
    assert "gone.drift" not in compared({"gone": [1], "x": [1]}, {"x": [1]}, ignore=["gone"])


@pytest.mark.parametrize("case", ["no reference", "no current", "empty reference", "empty current", "not counted"])
def test_what_is_not_measured_is_unknown_and_no_pass(case: str) -> None:
    full, empty = build(mixed(50), []), build(mixed(0), [])
    reference = {"no reference": None, "empty reference": empty}.get(case, full)
    current = {"no current": None, "empty current": empty}.get(case, build(mixed(50), []))
    checks = compare_profiles(reference, current, ignore=["none", "struct"])
    assert drift_score(checks) is None
    assert Report(checks=tuple(checks)).verdict is Verdict.INCONCLUSIVE
    assert drift_score([]) is None


def test_limits_of_single_columns_and_order_of_the_report() -> None:
    rng = np.random.default_rng(0)
    checks = compared(
        {"a": rng.normal(size=4000), "b": rng.normal(size=4000), "c": rng.normal(size=4000)},
        {"a": rng.normal(size=4000), "b": rng.normal(0.3, 1, 4000), "c": rng.normal(2, 1, 4000)},
        limits={"b": 0.02},
    )
    assert list(checks) == ["c.drift", "b.drift", "a.drift"]
    assert checks["b.drift"].verdict is Verdict.FAIL
    assert checks["b.drift"].threshold == 0.02
