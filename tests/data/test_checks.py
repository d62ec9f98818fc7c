from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.config.schema import DataConfig
from holdfast.data import _uniqueness
from holdfast.data.checks import check_data
from holdfast.data.profile import Profile
from holdfast.data.tables import open_table
from holdfast.verdict import CheckResult, Verdict

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)
LABEL = {"label": [0, 1] * 50}


def checked(
    tmp_path: Path, now: dict[str, Any], before: dict[str, Any] | None = None, **config: Any
) -> dict[str, CheckResult]:
    """The checks of the table `now` (with a sound label where there is none) by name."""
    known = None
    if before is not None:
        known = Profile.from_json(_check(tmp_path / "before.parquet", before, None, config)[1].to_json())
    checks, _ = _check(tmp_path / "now.parquet", now, known, config)
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.kind == "data" for check in checks)
    json.dumps([check.to_json() for check in checks], allow_nan=False)
    return {check.name: check for check in checks}


def _check(
    path: Path, columns: dict[str, Any], known: Profile | None, config: dict[str, Any]
) -> tuple[list[CheckResult], Profile]:
    rows = len(next(iter(columns.values())))
    label = {} if "label" in columns else {"label": [k % 2 for k in range(rows)]}
    pq.write_table(pa.table(columns | label), path, row_group_size=37)
    data = DataConfig.model_validate({"train": str(path), "label": "label", **config})
    return check_data(open_table(path), data, reference=known, now=NOW)


def one(column: str, **declared: Any) -> dict[str, Any]:
    return {"columns": {column: declared}}


NOT_ALLOWED = "value_not_allowed"
BALANCE = "class_balance"
AGES = {"x": [float(k) for k in range(98)] + [-3.0, 500.0]}


@pytest.mark.parametrize(
    ("columns", "config", "name", "reason", "said"),
    [
        (AGES, one("x", min=0, max=120), "x.range", "out_of_range", "rows (found -3 to 500), first -3.0 in row 98"),
        ({"x": [1.0] * 99 + [np.inf]}, one("x", max=5), "x.range", "out_of_range", "first 'inf' in row 99"),
        ({"x": [1.0] * 99 + [-np.inf]}, one("x"), "x.finite", "infinite", "first '-inf' in row 99"),
        ({"x": ["a"] * 100}, one("x", min=0), "x.range", "wrong_type", "a range needs numbers"),
        ({"x": ["a"] * 100}, one("x", type="float"), "x.type", "wrong_type", "x is string, expected float"),
        ({"x": [1.5] * 100}, one("x", type="int"), "x.type", "wrong_type", "x is float, expected int"),
        ({"x": [1.0] * 80 + [None] * 20}, one("x", max_null_share=0.1), "x.nulls", "nulls", "20 of 100 rows (20.00%)"),
        ({"x": [1.0] * 80 + [np.nan] * 20}, one("x", max_null_share=0.1), "x.nulls", "nulls", "in row 80"),
        ({"x": ["a"] * 80 + [None] * 20}, one("x", max_null_share=0), "x.nulls", "nulls", "none expected"),
        ({"x": ["a"] * 97 + ["c", None, "b"]}, one("x", values=["a", "b"]), "x.values", NOT_ALLOWED, "'c' in row 97"),
        ({"x": [1] * 97 + [3, None, 2]}, one("x", values=[1, 2]), "x.values", NOT_ALLOWED, "3 in row 97"),
        ({"x": [True, False] * 50}, one("x", values=[True]), "x.values", NOT_ALLOWED, "False in row 1"),
        ({"x": [*range(99), 7]}, one("x", unique=True), "x.unique", "duplicates", "7 in rows 7, 99"),
        ({"x": [*range(98), None, None]}, one("x", unique=True), "x.unique", "duplicates", "None in rows 98, 99"),
        ({"a": [1, 2] * 50, "b": list(range(50)) * 2}, {"key": ["a", "b"]}, "key.unique", "duplicates", "(a, b)"),
        ({"x": [1] * 100}, {"min_rows": 101}, "rows.min", "too_few_rows", "100 rows, expected at least 101"),
        ({"x": [1] * 100}, one("y"), "y.present", "missing_column", "y (declared) is missing"),
        ({"x": [1] * 100}, {"key": "k"}, "k.present", "missing_column", "part of the key"),
        ({"x": [1] * 100}, {"extra_columns": "fail"}, "columns.extra", "extra_columns", "not declared: x"),
        ({"label": [1] * 100}, {}, "label.label_classes", "one_class", "only the value 1"),
        ({"label": ["a"] * 100}, {}, "label.label_classes", "one_class", "only the value 'a'"),
        ({"label": [None] * 100}, {}, "label.label_nulls", "label_nulls", "null in 100 of 100"),
        ({"label": [0.0, 1.0, np.nan] * 30}, {}, "label.label_nulls", "label_nulls", "null in 30 of 90"),
        ({"label": [0] * 95 + [1] * 5}, {"classes": {"min_share": 0.1}}, "label.balance[1]", BALANCE, "5 rows (5.0%)"),
        ({"label": ["a"] * 95 + ["b"] * 5}, {"classes": {"min_rows": 6}}, "label.balance[b]", BALANCE, "at least 6"),
        ({"label": [0] * 95 + [1] * 5}, {"classes": {"max_share": 0.9}}, "label.balance[0]", BALANCE, "95.0%"),
        ({"label": list(range(2000))}, {"classes": {"min_rows": 1}}, "label.balance", "not_classes", "1,000 values"),
        ({"t": ["now"] * 100}, {"time": "t", "max_age": "1d"}, "t.time_type", "wrong_type", "timestamps or dates"),
        ({"x": [1] * 100}, {"max_age": "1d"}, "time.declared", "no_time", "need `data.time`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_and_shown(
    tmp_path: Path, columns: dict[str, Any], config: dict[str, Any], name: str, reason: str, said: str
) -> None:
    check = checked(tmp_path, columns, **config)[name]
    assert (check.verdict, check.reason_code, check.level) == (Verdict.FAIL, reason, "stop")
    assert said in check.message


def test_a_sound_table_passes_every_check(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = 400
    columns = {
        "id": list(range(rows)),
        "x": rng.normal(50, 5, rows),
        "c": rng.choice(["a", "b"], rows).tolist(),
        "t": pa.array([NOW - timedelta(minutes=rows - k) for k in range(rows)], pa.timestamp("us", "UTC")),
    }
    declared = {
        "x": {"type": "float", "min": 0, "max": 100, "max_null_share": 0, "max_drift": 0.2},
        "c": {"type": "string", "values": ["a", "b"], "max_unseen_share": 0},
    }
    options = {
        "key": "id", "time": "t", "time_ordered": True, "max_age": "1h", "columns": declared, "max_row_change": 0.1,
        "classes": {"min_share": 0.4}, "extra_columns": "fail", "max_drift": 0.15,
    }  # fmt: skip
    checks = checked(tmp_path, columns, columns, **options)
    assert {check.verdict for check in checks.values()} == {Verdict.PASS}
    assert set(checks) >= {"x.range", "x.nulls", "x.distribution", "c.unseen", "t.order", "t.fresh", "rows.change"}
    assert "t.distribution" not in checks
    assert "id.distribution" not in checks


def test_without_a_champion_declared_comparisons_are_notices_not_passes(tmp_path: Path) -> None:
    config = {"max_row_change": 0.1, "max_drift": 0.2, **one("c", max_unseen_share=0.1)}
    checks = checked(tmp_path, {"c": ["a", "b"] * 50}, **config)
    for name in ("rows.change", "distribution", "c.unseen"):
        assert (checks[name].verdict, checks[name].level) == (Verdict.INCONCLUSIVE, "notice")
        assert "no champion profile yet" in checks[name].message


def test_against_the_champions_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    before = {"c": ["a", "b"] * 500, "k": [1, 2] * 500, "x": rng.normal(size=1000), "y": rng.normal(size=1000)}
    now = {
        "c": ["a"] * 350 + ["new"] * 50, "k": [1] * 350 + [7] * 50, "x": rng.normal(1, 1, 400),
        "y": rng.normal(2, 1, 400),
    }  # fmt: skip
    unseen = {"max_unseen_share": 0.01}
    config = {"max_row_change": 0.5, "columns": {"c": unseen, "k": unseen, "x": {"max_drift": 0.1}}}
    checks = checked(tmp_path, now, before, **config)
    assert checks["rows.change"].reason_code == "row_count_changed"
    assert checks["rows.change"].estimate == pytest.approx(0.6)
    assert checks["c.unseen"].reason_code == checks["k.unseen"].reason_code == "unseen_categories"
    assert checks["c.unseen"].estimate == checks["k.unseen"].estimate == 0.125
    assert checks["c.unseen"].details["examples"][0] == {"row": 350, "value": "new"}
    assert checks["x.distribution"].reason_code == "drifted"
    # Columns with no declared limit: one notice for those that shifted.
    assert checks["distribution"].level == "notice"
    assert "y (PSI" in checks["distribution"].message
    assert "y.distribution" not in checks


def test_time_in_order_and_fresh(tmp_path: Path) -> None:
    def times(*hours: float) -> dict[str, Any]:
        moments = [NOW.replace(tzinfo=None) - timedelta(hours=h) for h in hours]
        return {"t": pa.array(moments, pa.timestamp("us")), "label": [k % 2 for k in range(len(hours))]}

    config = {"time": "t", "time_ordered": True, "max_age": "2h"}
    good = checked(tmp_path, times(3, 2, 1.5), **config)
    assert good["t.order"].verdict is good["t.fresh"].verdict is Verdict.PASS
    assert "no time zone, taken as UTC" in good["t.fresh"].message
    stale = checked(tmp_path, times(5, 3, 4), **config)
    assert stale["t.fresh"].reason_code == "stale"
    assert "3.0 hours old" in stale["t.fresh"].message
    assert (stale["t.order"].reason_code, stale["t.order"].details["examples"][0]["row"]) == ("time_order", 2)
    assert checked(tmp_path, times(5, -3), **config)["t.fresh"].reason_code == "future_time"
    # Order is watched over the ends of batches too, and over nulls.
    many = {"t": pa.array([*range(100_000), None, 5], pa.timestamp("s")), "label": [0, 1] * 50_001}
    assert checked(tmp_path, many, **config)["t.order"].details["examples"][0]["row"] == 100_001


def test_examples_are_five_and_rows_count_over_batches(tmp_path: Path) -> None:
    values = np.zeros(150_000)
    values[[10, 70_000, 70_001, 140_000, 140_001, 149_999]] = 9
    check = checked(tmp_path, {"x": values}, **one("x", max=1))["x.range"]
    assert check.estimate == 6
    assert [e["row"] for e in check.details["examples"]] == [10, 70_000, 70_001, 140_000, 140_001]


def test_hash_collisions_are_no_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def colliding(batch: pa.RecordBatch, columns: list[str]) -> Any:
        return np.asarray(batch.column(columns[0])).astype(np.uint64) % np.uint64(50)

    monkeypatch.setattr(_uniqueness, "hash_rows", colliding)
    assert checked(tmp_path, {"x": list(range(100))}, **one("x", unique=True))["x.unique"].verdict is Verdict.PASS
    check = checked(tmp_path, {"x": [*range(99), 7]}, **one("x", unique=True))["x.unique"]
    assert (check.estimate, check.details["examples"]) == (1, [{"value": 7, "rows": [7, 99]}])
    monkeypatch.setattr(_uniqueness, "VERIFIED", 10)  # very many suspects are believed, with examples
    check = checked(tmp_path, {"x": [1] * 100}, **one("x", unique=True))["x.unique"]
    assert check.estimate == 99
    assert check.details["examples"][0]["value"] == 1


def test_csv_numbers_that_turn_into_text_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("label,zip,age\n" + "0,12345,30\n1,99999,40\n" * 300_000 + "1,00000,old\n")
    declared = {"age": {"type": "int"}, "zip": {"type": "string"}}
    config = DataConfig.model_validate({"train": str(path), "label": "label", "columns": declared})
    checks = {c.name: c for c in check_data(open_table(path), config, reference=None, now=NOW)[0]}
    assert checks["age.type"].reason_code == "wrong_type"
    assert "line 600002 holds 'old'" in checks["age.type"].message
    assert checks["zip.type"].verdict is Verdict.PASS


def test_what_nobody_declared_is_only_noticed(tmp_path: Path) -> None:
    checks = checked(tmp_path, {"x": [1.0] * 99 + [np.inf], "y": [np.nan] * 100}, **one("y"))
    assert (checks["x.finite"].level, checks["y.nan"].level) == ("notice", "notice")
    assert checked(tmp_path, {"x": [1] * 100}, extra_columns="notice")["columns.extra"].level == "notice"
    assert "z.present" not in checked(tmp_path, {"x": [1] * 100}, **one("z", required=False, min=0))


def test_a_check_does_not_import_pandas(tmp_path: Path) -> None:
    """Arrow imports it behind many conversions: a second and 50 MB that bounded memory cannot spare."""
    pq.write_table(pa.table({"x": [1.0, None, 2.0], "c": ["a", None, "b"], "label": [0, 1, 1]}), tmp_path / "t.parquet")
    code = f"""
import sys
from datetime import UTC, datetime
from holdfast.config.schema import DataConfig
from holdfast.data.checks import check_data
from holdfast.data.tables import open_table
config = DataConfig(train="t", label="label", key="label", max_drift=0.1)
reference = check_data(open_table({str(tmp_path / "t.parquet")!r}), config, reference=None, now=datetime.now(UTC))[1]
check_data(open_table({str(tmp_path / "t.parquet")!r}), config, reference=reference, now=datetime.now(UTC))
sys.exit("pandas" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
