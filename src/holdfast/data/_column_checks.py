"""Checks of one declared column: its type, range, nulls, allowed and unseen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.config.schema import ColumnConfig
from holdfast.data._blocks import Kind
from holdfast.data._categories import Categories
from holdfast.data._grid import Grid
from holdfast.data._results import failed, notice, result, unmeasured
from holdfast.data._watch import InfinityWatch, NullWatch, Offenders, RangeWatch, UnseenWatch, ValuesWatch
from holdfast.data.profile import ColumnProfile, Observer, Profile
from holdfast.data.tables import Table
from holdfast.verdict import CheckResult

_FITS = {  # the types that a declared type accepts
    "int": {"int"},
    "float": {"float", "int"},
    "string": {"string"},
    "bool": {"bool"},
    "timestamp": {"timestamp", "date"},
    "date": {"date"},
}


@dataclass(frozen=True)
class ColumnWatch:
    """The row-level checks of one column; None for those that are not declared or do not fit its type."""

    range: RangeWatch | None = None
    infinite: InfinityWatch | None = None
    nulls: NullWatch | None = None
    values: ValuesWatch | None = None
    unseen: UnseenWatch | None = None

    @property
    def observers(self) -> list[Observer]:
        """Those there are."""
        watches = (self.range, self.infinite, self.nulls, self.values, self.unseen)
        return [watch for watch in watches if watch is not None]


def watch_column(config: ColumnConfig, kind: Kind, reference: Profile | None, name: str) -> ColumnWatch:
    """The observers that the column's declaration asks for."""
    numeric = kind == "numeric"
    known = reference.columns.get(name) if reference is not None else None
    listed = known.baseline if known is not None and isinstance(known.baseline, Categories) else None
    return ColumnWatch(
        range=RangeWatch(config.min, config.max) if numeric and _has_range(config) else None,
        infinite=InfinityWatch() if numeric else None,
        nulls=NullWatch() if config.max_null_share is not None else None,
        values=ValuesWatch(config.values) if config.values is not None and kind in {"numeric", "categorical"} else None,
        unseen=UnseenWatch(listed)
        if config.max_unseen_share is not None and kind == "categorical" and listed is not None and listed.complete
        else None,
    )


def column_checks(
    table: Table, config: ColumnConfig, watch: ColumnWatch, column: ColumnProfile, reference: Profile | None
) -> list[CheckResult]:
    """The results of one declared column that the table has."""
    name, rows = column.name, column.rows
    checks = _type_check(table, config, column)
    if _has_range(config):
        checks.append(_range(config, watch.range, column))
    if watch.infinite is not None:
        checks.append(_offenders(f"{name}.finite", watch.infinite, rows, f"{name} is infinite", "infinite"))
        nan = column.numbers.nan if column.numbers is not None else 0
        if nan and config.max_null_share is None:
            message = f"{name} is NaN in {nan:,} of {rows:,} rows; `max_null_share` is not declared."
            checks.append(notice(f"{name}.nan", message, "nan"))
    if config.max_null_share is not None and watch.nulls is not None:
        what = f"{name} is null"
        checks.append(_offenders(f"{name}.nulls", watch.nulls, rows, what, "nulls", limit=config.max_null_share))
    if config.values is not None:
        checks.append(_allowed(config.values, watch.values, column))
    if config.max_unseen_share is not None:
        checks.append(_unseen(config.max_unseen_share, watch.unseen, column, reference))
    return checks


def _has_range(config: ColumnConfig) -> bool:
    return config.min is not None or config.max is not None


def _type_check(table: Table, config: ColumnConfig, column: ColumnProfile) -> list[CheckResult]:
    if config.type is None:
        return []
    name = f"{column.name}.type"
    if column.type == "null":
        return [unmeasured(name, f"the type of {column.name}", "it holds only nulls", "only_nulls")]
    from_text = config.type == "string" and table.path.name.lower().endswith((".csv", ".csv.gz"))
    fits = from_text or column.type in _FITS[config.type]
    because = next((f": {note}" for note in table.notes if note.startswith(f"column {column.name!r}")), "")
    message = f"{column.name} is {column.type}, expected {config.type}{because}."
    return [result(name, fits, message, "wrong_type")]


def _range(config: ColumnConfig, watch: RangeWatch | None, column: ColumnProfile) -> CheckResult:
    name = f"{column.name}.range"
    low = "−∞" if config.min is None else f"{config.min:g}"
    high = "∞" if config.max is None else f"{config.max:g}"
    if watch is None:
        return failed(name, f"{column.name} is {column.type}; a range needs numbers.", "wrong_type")
    numbers = column.numbers
    found = f"{numbers.minimum:g} to {numbers.maximum:g}" if numbers and numbers.minimum is not None else "no number"
    if not watch.count:
        return result(name, True, f"{column.name} is within {low} to {high} (found {found}).", "out_of_range")
    message = (
        f"{column.name} is outside {low} to {high} in {watch.count:,} of {column.rows:,} rows (found {found}), "
        f"{_first(watch)}."
    )
    return failed(name, message, "out_of_range", estimate=watch.count, details={"examples": watch.examples})


def _allowed(values: list[Any], watch: ValuesWatch | None, column: ColumnProfile) -> CheckResult:
    name = f"{column.name}.values"
    if watch is None:
        return failed(name, f"{column.name} is {column.type}; allowed values need text or numbers.", "wrong_type")
    if not watch.count:
        return result(name, True, f"{column.name} has only allowed values.", "value_not_allowed")
    listed = ", ".join(repr(value) for value in values[:8]) + (", …" if len(values) > 8 else "")
    message = f"{column.name} is none of {listed} in {watch.count:,} of {column.rows:,} rows, {_first(watch)}."
    return failed(name, message, "value_not_allowed", estimate=watch.count, details={"examples": watch.examples})


def _unseen(limit: float, watch: UnseenWatch | None, column: ColumnProfile, reference: Profile | None) -> CheckResult:
    name, what = f"{column.name}.unseen", f"{column.name} with the categories of the champion's data"
    if watch is not None:
        said = f"{column.name} has a category that the champion's data did not have"
        return _offenders(name, watch, column.rows, said, "unseen_categories", limit=limit)
    if reference is None:
        return unmeasured(name, what)
    known = reference.columns.get(column.name)
    if known is None:
        return unmeasured(name, what, "the champion's data has no such column")
    if column.kind == known.kind == "numeric":
        return _unseen_numbers(name, limit, column, known)
    if column.kind != "categorical" or known.kind != "categorical":
        return failed(name, f"{column.name} is {column.type}; unseen categories need text or numbers.", "wrong_type")
    why = f"the champion's data had {known.distinct:,} categories, more than are kept"
    return unmeasured(name, what, why, "too_many_categories")


def _unseen_numbers(name: str, limit: float, column: ColumnProfile, known: ColumnProfile) -> CheckResult:
    """Numbers as categories: possible where the reference's grid lists all its values."""
    grid, before, now = known.baseline, known.numbers, column.numbers
    if not isinstance(grid, Grid) or before is None or now is None or now.against is None:
        return unmeasured(name, column.name, "the champion's data has no values of it")
    if grid.total < before.finite or grid.counts[0::2].any():
        why = "the champion's data had more numbers than are kept"
        return unmeasured(name, f"{column.name} with them", why, "too_many_categories")
    unseen = int(now.against[0::2].sum())
    share = unseen / column.rows if column.rows else 0.0
    message = (
        f"{column.name} has a number that the champion's data did not have in {unseen:,} of {column.rows:,} rows "
        f"({share:.2%}), at most {limit:.2%} expected."
    )
    fields = {"estimate": share, "threshold": limit, "direction": "lower", "n": column.rows}
    return result(name, share <= limit, message, "unseen_categories", **fields)


def _offenders(name: str, watch: Offenders, rows: int, said: str, reason: str, *, limit: float = 0.0) -> CheckResult:
    share = watch.count / rows if rows else 0.0
    asked = f"at most {limit:.2%} expected" if limit else "none expected"
    example = f", {_first(watch)}" if watch.count else ""
    return result(
        name,
        share <= limit,
        f"{said} in {watch.count:,} of {rows:,} rows ({share:.2%}), {asked}{example}.",
        reason,
        estimate=share,
        threshold=limit,
        direction="lower",
        n=rows,
        details={"examples": watch.examples} if watch.examples else {},
    )


def _first(watch: Offenders) -> str:
    first = watch.examples[0]
    return f"first {first['value']!r} in row {first['row']:,}"
