"""Does the data a model was trained on hold rows of the holdout?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from holdfast.config.schema import DataConfig
from holdfast.data.hashing import Hashes
from holdfast.data.holdout import Holdout, table_hashes
from holdfast.data.tables import Table
from holdfast.errors import UserError
from holdfast.verdict import CheckResult, Verdict

_SHOWN = 5


def check_leaks(train: Table, holdout: Holdout, data: DataConfig) -> list[CheckResult]:
    """Rows of `holdout` in `train`: by unit, by key, and by content under another key.

    A shared unit or key fails. Equal content under different keys fails only where it is more frequent than duplicates
    are inside the table itself; else it is a notice. Raises UserError where `train` lacks the columns to tell.
    """
    rows = pq.read_table(holdout.path)
    checks = []
    if data.group is not None:
        checks.append(_shared(train, rows, [data.group], "unit"))
    if data.key is not None:
        checks.append(_shared(train, rows, list(data.key), "key"))
    checks.append(_same_content(train, rows, data, strict=not checks))
    return checks


def _shared(train: Table, rows: pa.Table, columns: list[str], what: str) -> CheckResult:
    _must_have(train, columns)
    guilty = np.isin(table_hashes(rows, columns), table_hashes(train, columns, rows.schema))
    count = int(guilty.sum())
    names = ", ".join(columns)
    if not count:
        message = f"no {what} ({names}) of the holdout's {rows.num_rows:,} rows is in the training data."
        return CheckResult(
            name=f"leak.{what}", kind="leak", verdict=Verdict.PASS, message=message, n=rows.num_rows, unit="row"
        )
    shown = _rows(rows, guilty, columns)
    return CheckResult(
        name=f"leak.{what}",
        kind="leak",
        verdict=Verdict.FAIL,
        message=(
            f"{count:,} of the holdout's {rows.num_rows:,} rows have their {what} ({names}) in the training data, "
            f"for example {_text(shown[0])}."
        ),
        n=rows.num_rows,
        unit="row",
        reason_code=f"leaked_{what}",
        details={"rows": shown, "leaked": count},
    )


def _same_content(train: Table, rows: pa.Table, data: DataConfig, *, strict: bool) -> CheckResult:
    naming = {*(data.key or []), data.group, data.time}
    columns = [name for name in rows.column_names if name not in naming]
    _must_have(train, columns)
    known = table_hashes(train, columns, rows.schema)
    guilty = np.isin(table_hashes(rows, columns), known)
    count, share = int(guilty.sum()), float(guilty.mean())
    usual = 0.0 if strict else duplicate_rate(known)
    limit = usual + 3 * np.sqrt(max(usual * (1 - usual), 1 / rows.num_rows) / rows.num_rows) if usual else 0.0
    details: dict[str, Any] = {"leaked": count, "share": share, "usual_share": usual}
    common = {"name": "leak.content", "kind": "leak", "n": rows.num_rows, "unit": "row"}
    if not count:
        message = f"no row of the holdout has its content ({len(columns)} columns) in the training data."
        return CheckResult(**common, verdict=Verdict.PASS, message=message, details=details)
    details["rows"] = _rows(rows, guilty, rows.column_names)
    found = f"{count:,} of the holdout's {rows.num_rows:,} rows have a twin of equal content in the training data"
    if share <= limit:
        message = f"{found}; inside the training data {usual:.1%} of rows have one, so this is no more than usual."
        return CheckResult(
            **common, verdict=Verdict.PASS, message=message, level="notice", reason_code="usual_twins", details=details
        )
    message = f"{found}, where {usual:.1%} would be usual; for example {_text(details['rows'][0])}."
    return CheckResult(**common, verdict=Verdict.FAIL, message=message, reason_code="leaked_content", details=details)


def duplicate_rate(hashes: Hashes) -> float:
    """The share of rows that have at least one twin among the others."""
    _, counts = np.unique(hashes, return_counts=True)
    return float(counts[counts > 1].sum() / len(hashes))


def _must_have(train: Table, columns: list[str]) -> None:
    missing = [name for name in columns if name not in train.columns]
    if missing:
        raise UserError(
            f"{train.path} lacks the column {missing[0]!r}, without which leaks cannot be looked for.",
            hint="Train on a table with the columns of `data.train`.",
        )


def _rows(rows: pa.Table, guilty: Any, columns: list[str]) -> list[dict[str, str]]:
    chosen = rows.select(columns).take(np.flatnonzero(guilty)[:_SHOWN])
    return [{name: str(value)[:80] for name, value in row.items()} for row in chosen.to_pylist()]


def _text(row: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in list(row.items())[:4])
