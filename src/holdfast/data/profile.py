"""Profiles: what a table looks like, counted in one pass and bounded memory, in parts that merge.

    builder = ProfileBuilder(table.schema, reference)     # reference: the profile of the champion's data, or None
    for batch in batches: builder.add(batch)              # any engine that hands out Arrow batches will do
    profile = builder.finish()                            # profiles of parts: one.merge(other)

Rows, nulls, minimum, maximum, the counts against a reference and the counts of up to 4,096 categories are exact and the
same however a table was split. Quantiles are read from a uniform sample of 32,768 to 65,536 rows, the whole of a
smaller table, and their counts say how many rows that was, so that no test takes them for more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from holdfast.data._blocks import Block, Kind, kind_of
from holdfast.data._categories import Categories, CategorySummary, make_categories
from holdfast.data._grid import Grid, make_grid
from holdfast.data._numbers import NumberSummary
from holdfast.data._sample import RowSample
from holdfast.data._units import UnitSizes
from holdfast.data.hashing import hash_array
from holdfast.data.tables import Table
from holdfast.errors import UserError

FORMAT = 1
_THREADS = 2  # numpy and Arrow release the interpreter's lock while they count

Observer = Callable[[Block], None]


@dataclass(frozen=True)
class ColumnProfile:
    """One column: `numbers` of a numeric, temporal (microseconds since 1970, UTC) or list column (lengths), or
    `categories` of text and booleans; neither of other types.

    `baseline` holds the bins that a later table is compared in; `mark` names the reference's baseline that the
    `against` counts belong to.
    """

    name: str
    type: str
    kind: Kind
    rows: int = 0
    nulls: int = 0
    numbers: NumberSummary | None = None
    categories: CategorySummary | None = None
    baseline: Grid | Categories | None = None
    mark: str | None = None

    @property
    def missing_share(self) -> float | None:
        """Nulls and NaN as a share of the rows; None for no rows."""
        nan = self.numbers.nan if self.numbers is not None else 0
        return (self.nulls + nan) / self.rows if self.rows else None

    @property
    def distinct(self) -> int | None:
        """About how many distinct values a categorical column has."""
        return self.categories.distinct if self.categories is not None else None

    def merge(self, other: ColumnProfile) -> ColumnProfile:
        """Both parts; the baseline is left to the profile, which has the sample."""
        if (self.kind, self.mark) != (other.kind, other.mark):
            raise UserError(f"profiles of {self.name!r} cannot be merged: they differ in type or in their reference.")
        return replace(
            self,
            rows=self.rows + other.rows,
            nulls=self.nulls + other.nulls,
            numbers=self.numbers.merge(other.numbers) if self.numbers and other.numbers else None,
            categories=self.categories.merge(other.categories) if self.categories and other.categories else None,
            baseline=None,
        )

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"type": self.type, "kind": self.kind, "rows": self.rows, "nulls": self.nulls}
        for name in ("numbers", "categories", "baseline"):
            part = getattr(self, name)
            if part is not None:
                document[name] = part.to_json()
        if self.mark is not None:
            document["mark"] = self.mark
        return document

    @classmethod
    def from_json(cls, name: str, document: Mapping[str, Any]) -> ColumnProfile:
        numbers, categories, baseline = (document.get(part) for part in ("numbers", "categories", "baseline"))
        form: type[Grid | Categories] = Categories if document["kind"] == "categorical" else Grid
        return cls(
            name,
            document["type"],
            document["kind"],
            document["rows"],
            document["nulls"],
            NumberSummary.from_json(numbers) if numbers else None,
            CategorySummary.from_json(categories) if categories else None,
            form.from_json(baseline) if baseline else None,
            document.get("mark"),
        )


@dataclass(frozen=True)
class Profile:
    """A table: its rows, its columns by name, and where a group column was named how many units it has.

    `design_effect` is that of a column constant inside units, Σm²/Σm over rows per unit; 1 without a group column.
    """

    rows: int
    columns: Mapping[str, ColumnProfile]
    units: int | None = None
    design_effect: float = 1.0
    sample: RowSample | None = field(default=None, compare=False, repr=False)
    unit_sizes: UnitSizes | None = field(default=None, compare=False, repr=False)

    def merge(self, other: Profile) -> Profile:
        """The profile of both tables together.

        Profiles read back from JSON merge in their counts; they hold no sample, so the result has no baseline.
        Raises UserError where the columns or their references differ.
        """
        if set(self.columns) != set(other.columns):
            raise UserError("profiles of tables with different columns cannot be merged.")
        columns = {name: column.merge(other.columns[name]) for name, column in self.columns.items()}
        sample = self.sample.merge(other.sample) if self.sample and other.sample else None
        sizes = self.unit_sizes.merge(other.unit_sizes) if self.unit_sizes and other.unit_sizes else None
        return _completed(self.rows + other.rows, columns, sample, sizes)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready mapping, a few kilobytes a column: all but the sample and the unit sizes."""
        return {
            "format": FORMAT,
            "rows": self.rows,
            "units": self.units,
            "design_effect": self.design_effect,
            "columns": {name: column.to_json() for name, column in self.columns.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Profile:
        """Read back what `to_json` gave; UserError for a format that this version does not know."""
        if document.get("format") != FORMAT:
            raise UserError(
                f"the stored profile has format {document.get('format')!r}, expected {FORMAT}.",
                hint="Profile the champion's training data again.",
            )
        columns = {name: ColumnProfile.from_json(name, column) for name, column in document["columns"].items()}
        return cls(document["rows"], columns, document["units"], document["design_effect"])


class ProfileBuilder:
    """Counts batches as they come; `group` names the column of the unit of randomness, `rows` is about how many.

    `sampled=False` keeps no rows and no table of values, for many small batches that are only compared with `reference`: the
    profile has no baselines of its own, and `distinct` is an estimate.
    """

    def __init__(
        self,
        schema: pa.Schema,
        reference: Profile | None = None,
        *,
        group: str | None = None,
        rows: int = 0,
        sampled: bool = True,
    ) -> None:
        self._columns = {f.name: ColumnProfile(f.name, type_name(f.type), kind_of(f.type)) for f in schema}
        self._baselines = {name: _baseline(column, reference) for name, column in self._columns.items()}
        self._group = group
        self._sizes = UnitSizes() if group is not None else None
        self._sample = RowSample.expecting(rows) if sampled else None
        self._rows = 0
        self._profiles = {name: self._count(Block(name, kind_of(t), pa.nulls(0, t))) for name, t in _types(schema)}

    def add(
        self,
        batch: pa.RecordBatch,
        observers: Mapping[str, Sequence[Observer]] | None = None,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        """Count one batch; `observers` by column see the same blocks, so that one pass answers every question."""
        observers = observers or {}
        blocks = [Block(name, column.kind, batch.column(name), self._rows) for name, column in self._columns.items()]
        tasks = [(block, observers.get(block.name, ())) for block in blocks]
        for _ in pool.map(self._take, tasks) if pool else map(self._take, tasks):
            pass
        if self._sample is not None:
            self._sample.add(blocks)
        if self._sizes is not None and self._group is not None:
            self._sizes.add(hash_array(batch.column(self._group)))
        self._rows += batch.num_rows

    def finish(self) -> Profile:
        """The profile of all batches so far."""
        return _completed(self._rows, self._profiles, self._sample, self._sizes)

    def _take(self, task: tuple[Block, Sequence[Observer]]) -> None:
        block, observers = task
        known = self._profiles[block.name].categories
        if known is not None and known.table is not None:
            block = block.encoded()
        self._profiles[block.name] = self._profiles[block.name].merge(self._count(block))
        for observe in observers:
            observe(block)

    def _count(self, block: Block) -> ColumnProfile:
        baseline = self._baselines[block.name]
        column = replace(
            self._columns[block.name], rows=block.rows, nulls=block.nulls, mark=baseline.mark if baseline else None
        )
        if block.kind == "categorical":
            known = self._profiles[block.name].categories if block.rows else None
            exact = self._sample is not None and (known is None or known.table is not None)
            categories = baseline if isinstance(baseline, Categories) else None
            return replace(column, categories=CategorySummary.of(block, categories, exact=exact))
        if block.kind == "opaque":
            return column
        grid = baseline if isinstance(baseline, Grid) else None
        return replace(column, numbers=NumberSummary.of(block, grid))


def profile_table(
    table: Table, columns: Sequence[str] | None = None, reference: Profile | None = None, *, group: str | None = None
) -> Profile:
    """The profile of the named columns of `table` (all by default), counted against `reference` if there is one."""
    names = table.columns if columns is None else list(columns)
    read = names if group is None or group in names else [*names, group]
    builder = ProfileBuilder(
        pa.schema([table.schema.field(name) for name in names]), reference, group=group, rows=table.num_rows
    )
    scan(table, builder, read)
    return builder.finish()


def scan(
    table: Table,
    builder: ProfileBuilder,
    columns: Sequence[str],
    observers: Mapping[str, Sequence[Observer]] | None = None,
    on_batch: Callable[[pa.RecordBatch], None] | None = None,
) -> None:
    """One pass over `columns` of `table`: every batch to the builder, its observers and `on_batch`."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for batch in table.batches(columns, dictionary=True):
            if on_batch is not None:
                on_batch(batch)
            builder.add(batch, observers, pool)


def type_name(data_type: pa.DataType) -> str:
    """The name under which `holdfast.yaml` declares a type: int, float, string, bool, timestamp, date, or Arrow's."""
    if pa.types.is_dictionary(data_type):
        return type_name(data_type.value_type)
    names = {
        "int": pa.types.is_integer(data_type),
        "float": pa.types.is_floating(data_type) or pa.types.is_decimal(data_type),
        "string": pa.types.is_string(data_type) or pa.types.is_large_string(data_type),
        "bool": pa.types.is_boolean(data_type),
        "timestamp": pa.types.is_timestamp(data_type),
        "date": pa.types.is_date(data_type),
    }
    return next((name for name, fits in names.items() if fits), str(data_type))


def _types(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in schema]


def _baseline(column: ColumnProfile, reference: Profile | None) -> Grid | Categories | None:
    known = reference.columns.get(column.name) if reference is not None else None
    return known.baseline if known is not None and known.kind == column.kind else None


def _completed(
    rows: int, columns: Mapping[str, ColumnProfile], sample: RowSample | None, sizes: UnitSizes | None
) -> Profile:
    """A profile with the baselines that its sample gives."""
    finished = {name: replace(column, baseline=_own_baseline(column, sample)) for name, column in columns.items()}
    units, effect = (sizes.units, sizes.design_effect) if sizes is not None else (None, 1.0)
    return Profile(rows, finished, units, effect, sample, sizes)


def _own_baseline(column: ColumnProfile, sample: RowSample | None) -> Grid | Categories | None:
    if sample is None:
        return None
    if column.categories is not None:
        needed = column.categories.table is None
        return make_categories(column.categories, sample.texts(column.name) if needed else None)
    return make_grid(sample.numbers(column.name)) if column.numbers is not None else None
