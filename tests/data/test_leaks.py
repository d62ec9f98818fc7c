"""Rows of the holdout in the training data are found, whatever they are called there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.config.schema import DataConfig
from holdfast.data.holdout import Holdout
from holdfast.data.leaks import check_leaks
from holdfast.data.tables import open_table
from holdfast.errors import UserError
from holdfast.verdict import CheckResult, Verdict

DATA = DataConfig(train="t", label="y", key=["id"], group="user")
RNG = np.random.default_rng(0)


def rows(begin: int, count: int) -> pa.Table:
    ids = np.arange(begin, begin + count)
    values = np.random.default_rng(begin).random(count)
    return pa.table({"id": ids, "user": ids // 4, "x": values, "name": [f"n{v:.6f}" for v in values], "y": ids % 2})


SEALED = rows(0, 200)
OTHERS = rows(10_000, 800)


def ask(folder: Path, train: pa.Table, data: DataConfig = DATA, sealed: pa.Table = SEALED) -> dict[str, CheckResult]:
    pq.write_table(sealed, folder / "holdout.parquet")
    pq.write_table(train, folder / "train.parquet")
    holdout = Holdout("v1", "sha256:x", {}, folder / "holdout.parquet")
    return {check.name: check for check in check_leaks(open_table(folder / "train.parquet"), holdout, data)}


def test_a_clean_table_passes(tmp_path: Path) -> None:
    assert {name: check.verdict for name, check in ask(tmp_path, OTHERS).items()} == {
        "leak.unit": Verdict.PASS,
        "leak.key": Verdict.PASS,
        "leak.content": Verdict.PASS,
    }


def test_leaked_rows_are_shown(tmp_path: Path) -> None:
    checks = ask(tmp_path, pa.concat_tables([OTHERS, SEALED.slice(10, 3)]))
    assert (checks["leak.key"].verdict, checks["leak.key"].details["leaked"]) == (Verdict.FAIL, 3)
    assert checks["leak.key"].details["rows"] == [{"id": "10"}, {"id": "11"}, {"id": "12"}]
    assert "id 10" in checks["leak.key"].message
    assert checks["leak.unit"].verdict is Verdict.FAIL


def test_a_row_of_the_same_user_is_a_leak_of_the_unit_only(tmp_path: Path) -> None:
    same_user = rows(50_000, 1).set_column(1, "user", pa.array([3]))
    checks = ask(tmp_path, pa.concat_tables([OTHERS, same_user]))
    assert [checks[f"leak.{what}"].verdict for what in ("unit", "key")] == [Verdict.FAIL, Verdict.PASS]


def renamed(count: int) -> pa.Table:
    """Rows of the holdout under other keys and users."""
    return (
        SEALED.slice(0, count)
        .set_column(0, "id", pa.array(range(90_000, 90_000 + count)))
        .set_column(1, "user", pa.array(range(90_000, 90_000 + count)))
    )


def test_the_same_content_under_another_key_is_a_leak(tmp_path: Path) -> None:
    check = ask(tmp_path, pa.concat_tables([OTHERS, renamed(60)]))["leak.content"]
    assert (check.verdict, check.details["leaked"], check.reason_code) == (Verdict.FAIL, 60, "leaked_content")


def test_twins_that_are_usual_in_the_table_are_a_notice(tmp_path: Path) -> None:
    """766 of a catalogue's titles are duplicates: that is no leak."""
    twins = (
        OTHERS.slice(0, 400)
        .set_column(0, "id", pa.array(range(70_000, 70_400)))
        .set_column(1, "user", pa.array(range(70_000, 70_400)))
    )
    check = ask(tmp_path, pa.concat_tables([OTHERS, twins, renamed(40)]))["leak.content"]
    assert (check.verdict, check.level, check.reason_code) == (Verdict.PASS, "notice", "usual_twins")


def test_other_types_do_not_hide_a_leak(tmp_path: Path) -> None:
    floats = SEALED.set_column(0, "id", SEALED.column("id").cast(pa.float64()))
    assert ask(tmp_path, floats)["leak.key"].details["leaked"] == 200


def test_without_a_key_equal_rows_are_leaks(tmp_path: Path) -> None:
    bare = DataConfig(train="t", label="y")
    assert ask(tmp_path, pa.concat_tables([OTHERS, SEALED.slice(0, 1)]), bare)["leak.content"].verdict is Verdict.FAIL
    assert ask(tmp_path, OTHERS, bare)["leak.content"].verdict is Verdict.PASS


def test_a_table_without_the_key_cannot_be_cleared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lacks the column 'id'"):
        ask(tmp_path, OTHERS.drop_columns(["id"]))
