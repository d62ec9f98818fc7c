"""Validation of a table before training: what `data:` in holdfast.yaml declares, in one pass over the file.

A check that was declared but cannot be made is said so, as an inconclusive notice; it never passes silently.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pyarrow as pa

from holdfast.config.schema import DataConfig
from holdfast.data._column_checks import ColumnWatch, column_checks, watch_column
from holdfast.data._results import failed, notice, result, unmeasured
from holdfast.data._time_checks import time_checks
from holdfast.data._uniqueness import Duplicates, KeyHashes
from holdfast.data._watch import ClassCounts, NullWatch, OrderWatch
from holdfast.data.drift import PSI_LIMIT, ColumnShift, measure_shifts, shift_check
from holdfast.data.profile import Observer, Profile, ProfileBuilder, scan
from holdfast.data.tables import Table
from holdfast.verdict import CheckResult

FAMILY_ALPHA = 0.05  # of all distribution checks of a table together


def check_data(
    table: Table, config: DataConfig, *, reference: Profile | None, now: datetime
) -> tuple[list[CheckResult], Profile]:
    """Every check that `config` declares of `table`, each of kind "data", and the profile made on the way.

    `reference` is the profile of the champion's data, or None while there is none; `now` (aware) judges freshness.
    Raises UserError for a table that cannot be read.
    """
    watches = {
        name: watch_column(column, _kind(table, name), reference, name)
        for name, column in config.columns.items()
        if name in table.columns
    }
    table_watch = _TableWatch(table, config)
    observers: dict[str, list[Observer]] = {name: list(watch.observers) for name, watch in watches.items()}
    for name, observer in table_watch.observers:
        observers.setdefault(name, []).append(observer)
    group = config.group if config.group in table.columns else None
    builder = ProfileBuilder(table.schema, reference, group=group, rows=table.num_rows)
    scan(table, builder, table.columns, observers, table_watch.add)
    profile = builder.finish()
    checks = [
        *_row_checks(profile, config, reference),
        *_presence(table, config),
        *_columns(table, config, watches, profile, reference),
        *table_watch.checks(profile, now),
        *_distribution(profile, config, reference),
    ]
    return checks, profile


class _TableWatch:
    """What concerns the label, the key, the time and unique columns while the table streams by."""

    def __init__(self, table: Table, config: DataConfig) -> None:
        self.table, self.config = table, config
        has = set(table.columns)
        self.label = (NullWatch(), ClassCounts()) if config.label in has else None
        self.order = OrderWatch() if config.time in has and config.time_ordered else None
        unique = [name for name, column in config.columns.items() if column.unique and name in has]
        keys = {f"{name}.unique": [name] for name in unique}
        if config.key is not None and has.issuperset(config.key):
            keys["key.unique"] = list(config.key)
        self.keys = {name: KeyHashes(columns) for name, columns in keys.items()}

    @property
    def observers(self) -> list[tuple[str, Observer]]:
        found: list[tuple[str, Observer]] = []
        if self.label is not None:
            found += [(self.config.label, watch) for watch in self.label]
        if self.order is not None and self.config.time is not None:
            found.append((self.config.time, self.order))
        return found

    def add(self, batch: pa.RecordBatch) -> None:
        for key in self.keys.values():
            key.add(batch)

    def checks(self, profile: Profile, now: datetime) -> list[CheckResult]:
        checks = [_unique(name, key.columns, key.duplicates(self.table)) for name, key in self.keys.items()]
        if self.label is not None:
            checks += _label_checks(self.config, *self.label, rows=profile.rows)
        return checks + time_checks(self.table, self.config, profile, self.order, now)


def _kind(table: Table, name: str) -> Any:
    from holdfast.data._blocks import kind_of

    return kind_of(table.schema.field(name).type)


def _row_checks(profile: Profile, config: DataConfig, reference: Profile | None) -> list[CheckResult]:
    message = f"{profile.rows:,} rows, expected at least {config.min_rows:,}."
    checks = [
        result(
            "rows.min", profile.rows >= config.min_rows, message, "too_few_rows",
            estimate=profile.rows, threshold=config.min_rows, direction="higher",
        )
    ]  # fmt: skip
    limit = config.max_row_change
    if limit is None:
        return checks
    if reference is None or reference.rows == 0:
        return [*checks, unmeasured("rows.change", "the number of rows")]
    change = abs(profile.rows / reference.rows - 1)
    message = (
        f"{profile.rows:,} rows where the champion's data had {reference.rows:,}: "
        f"a change of {change:.1%}, at most {limit:.1%} expected."
    )
    checks.append(
        result(
            "rows.change", change <= limit, message, "row_count_changed",
            estimate=change, threshold=limit, direction="lower",
        )
    )  # fmt: skip
    return checks


def _presence(table: Table, config: DataConfig) -> list[CheckResult]:
    roles = {config.label: "the label", config.group: "the group", config.time: "the time"}
    roles |= dict.fromkeys(config.key or [], "part of the key")
    required = {name: role for name, role in roles.items() if name is not None}
    required |= {name: "declared" for name, c in config.columns.items() if c.required and name not in required}
    checks = []
    for name, role in required.items():
        there = name in table.columns
        message = f"column {name} ({role}) is {'there' if there else 'missing'}."
        details = {} if there else {"columns": table.columns}
        checks.append(result(f"{name}.present", there, message, "missing_column", details=details))
    known = {*required, *config.columns}
    extra = [name for name in table.columns if name not in known]
    if config.extra_columns != "allow":
        checks.append(_extra(extra, stops=config.extra_columns == "fail"))
    return checks


def _extra(extra: list[str], *, stops: bool) -> CheckResult:
    if not extra:
        return result("columns.extra", True, "no column beside the declared ones.", "extra_columns")
    message = f"columns that are not declared: {', '.join(extra[:12])}{', …' if len(extra) > 12 else ''}."
    make: Callable[..., CheckResult] = failed if stops else notice
    return make("columns.extra", message, "extra_columns", details={"columns": extra})


def _columns(
    table: Table, config: DataConfig, watches: dict[str, ColumnWatch], profile: Profile, reference: Profile | None
) -> list[CheckResult]:
    checks: list[CheckResult] = []
    for name, watch in watches.items():
        checks += column_checks(table, config.columns[name], watch, profile.columns[name], reference)
    # What nobody declared is not judged, but an infinity in a number is said.
    for name, column in profile.columns.items():
        numbers = column.numbers
        if name not in watches and numbers is not None and numbers.below + numbers.above:
            message = f"{name} is infinite in {numbers.below + numbers.above:,} of {column.rows:,} rows."
            checks.append(notice(f"{name}.finite", message, "infinite"))
    return checks


def _unique(name: str, columns: list[str], found: Duplicates) -> CheckResult:
    what = columns[0] if len(columns) == 1 else f"({', '.join(columns)})"
    if not found.rows:
        return result(name, True, f"{what} is different in every row.", "duplicates", estimate=0)
    first = found.examples[0] if found.examples else {}
    shown = f", for example {first['value']!r} in rows {_listed(first['rows'])}" if first else ""
    message = f"{what} repeats an earlier row in {found.rows:,} rows ({found.values:,} values){shown}."
    return failed(name, message, "duplicates", estimate=found.rows, details={"examples": list(found.examples)})


def _listed(rows: list[int]) -> str:
    return ", ".join(f"{row:,}" for row in rows)


def _label_checks(config: DataConfig, nulls: NullWatch, classes: ClassCounts, *, rows: int) -> list[CheckResult]:
    label = config.label
    message = f"the label {label} is null in {nulls.count:,} of {rows:,} rows."
    checks = [
        result(
            f"{label}.label_nulls", nulls.count == 0, message, "label_nulls",
            estimate=nulls.count, details={"examples": nulls.examples},
        )
    ]  # fmt: skip
    counts = classes.counts
    several = counts is None or len(counts) > 1
    if several:
        message = f"the label {label} has {'many' if counts is None else len(counts)} different values."
    else:
        only = "no value" if not counts else f"only the value {next(iter(counts))!r}"
        message = f"the label {label} has {only}: a model cannot be judged on one class."
    checks.append(result(f"{label}.label_classes", several, message, "one_class"))
    return [*checks, *_balance(config, classes)]


def _balance(config: DataConfig, classes: ClassCounts) -> list[CheckResult]:
    limits, label = config.classes, config.label
    if limits is None:
        return []
    if classes.counts is None:
        message = f"the label {label} has more than 1,000 values, so it has no classes to balance."
        return [failed(f"{label}.balance", message, "not_classes")]
    total = sum(classes.counts.values())
    checks = []
    for value, count in sorted(classes.counts.items(), key=lambda item: str(item[0])):
        share = count / total
        short = (limits.min_share is not None and share < limits.min_share) or (
            limits.min_rows is not None and count < limits.min_rows
        )
        long = limits.max_share is not None and share > limits.max_share
        asked = [
            f"at least {limits.min_share:.1%}" if limits.min_share is not None else "",
            f"at most {limits.max_share:.1%}" if limits.max_share is not None else "",
            f"at least {limits.min_rows:,} rows" if limits.min_rows is not None else "",
        ]
        message = f"class {value!r} has {count:,} rows ({share:.1%}), expected {', '.join(a for a in asked if a)}."
        checks.append(
            result(f"{label}.balance[{value}]", not (short or long), message, "class_balance", estimate=share, n=total)
        )
    return checks


def _distribution(profile: Profile, config: DataConfig, reference: Profile | None) -> list[CheckResult]:
    """Each column that has a limit is a check; where none is declared, large shifts are one notice."""
    limits = {name: column.max_drift for name, column in config.columns.items() if column.max_drift is not None}
    declared = config.max_drift is not None or bool(limits)
    if reference is None:
        return [unmeasured("distribution", "the distribution of the columns")] if declared else []
    ignore = {name for name in (*(config.key or []), config.group, config.time) if name is not None} - set(limits)
    limit = config.max_drift if config.max_drift is not None else PSI_LIMIT
    shifts = measure_shifts(reference, profile, psi_limit=limit, alpha=FAMILY_ALPHA, limits=limits, ignore=ignore)
    unit = "unit" if profile.units else "row"
    asked = [s for s in shifts if config.max_drift is not None or s.name in limits]
    checks = [shift_check(s, f"{s.name}.distribution", "data", unit=unit) for s in asked]
    missing = set(limits) - {s.name for s in shifts}
    checks += [unmeasured(f"{name}.distribution", f"the distribution of {name}") for name in sorted(missing)]
    return checks + _undeclared_shifts([s for s in shifts if s not in asked and s.drifted])


def _undeclared_shifts(shifts: list[ColumnShift]) -> list[CheckResult]:
    if not shifts:
        return []
    named = ", ".join(f"{s.name} (PSI {s.distance.psi.corrected:.3g})" for s in shifts[:12])
    message = f"shifted against the champion's data, with no `max_drift` declared: {named}."
    return [notice("distribution", message, "drifted", details={"columns": [s.name for s in shifts]})]
