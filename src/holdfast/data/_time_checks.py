"""Checks of the time column: in order, fresh, and not in the future."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa

from holdfast.config.schema import DataConfig
from holdfast.data._results import failed, result
from holdfast.data._watch import OrderWatch, moment
from holdfast.data.profile import Profile
from holdfast.data.tables import Table
from holdfast.verdict import CheckResult, utc_text

_CLOCKS_DIFFER = timedelta(minutes=5)


def time_checks(
    table: Table, config: DataConfig, profile: Profile, order: OrderWatch | None, now: datetime
) -> list[CheckResult]:
    """What `time_ordered` and `max_age` declare; nothing where neither is declared or the column is missing."""
    name = config.time
    if not config.time_ordered and config.max_age is None:
        return []
    if name is None:
        return [failed("time.declared", "`time_ordered` and `max_age` need `data.time`, the time column.", "no_time")]
    if name not in table.columns:
        return []  # its absence is a failed check already
    column = profile.columns[name]
    if column.kind != "temporal":
        message = f"{name} is {column.type}, expected timestamps or dates."
        return [failed(f"{name}.time_type", message, "wrong_type")]
    checks = []
    if order is not None:
        first = f", first in row {order.examples[0]['row']:,}" if order.examples else ""
        message = f"{name} is earlier than in the row before in {order.count:,} of {column.rows:,} rows{first}."
        checks.append(
            result(
                f"{name}.order", order.count == 0, message, "time_order",
                estimate=order.count, details={"examples": order.examples},
            )
        )  # fmt: skip
    if config.max_age is not None:
        newest = column.numbers.maximum if column.numbers is not None else None
        checks.append(_freshness(name, newest, config.max_age, now, zone=_zone(table.schema.field(name).type)))
    return checks


def _freshness(name: str, newest: float | None, max_age: timedelta, now: datetime, *, zone: str) -> CheckResult:
    check = f"{name}.fresh"
    if newest is None:
        return failed(check, f"{name} holds no time, so nothing says how fresh the table is.", "no_time")
    latest = moment(newest)
    age = now - latest
    if age < -_CLOCKS_DIFFER:
        return failed(check, f"the newest {name} lies in the future: {utc_text(latest)}{zone}.", "future_time")
    hours, limit = age.total_seconds() / 3600, max_age.total_seconds() / 3600
    message = f"the newest {name} is {utc_text(latest)}{zone}, {hours:.1f} hours old, at most {limit:g} expected."
    return result(check, age <= max_age, message, "stale", estimate=hours, threshold=limit, direction="lower")


def _zone(data_type: pa.DataType) -> str:
    if pa.types.is_timestamp(data_type) and data_type.tz is not None:
        return ""
    return " (no time zone, taken as UTC)"
