from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data._categories import Categories
from holdfast.data._grid import Grid, make_grid, quantile
from holdfast.data._ranks import _ranks_by_grid, cell_counts
from holdfast.data._units import KEPT, UnitSizes
from holdfast.data.hashing import hash_array, hash_rows
from holdfast.data.profile import Profile, ProfileBuilder, profile_table
from holdfast.data.tables import open_table
from holdfast.errors import UserError
from holdfast.store.content import canonical_json


def build(table: pa.Table, cuts: list[int], reference: Profile | None = None, group: str | None = None) -> Profile:
    """The profile of `table`, given in batches that end at `cuts`."""
    builder = ProfileBuilder(table.schema, reference, group=group)
    ends = [0, *sorted(cut % (table.num_rows + 1) for cut in cuts), table.num_rows]
    for begin, end in itertools.pairwise(ends):
        builder.add(_batch(table.slice(begin, end - begin)))
    return builder.finish()


def _batch(table: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [column.combine_chunks() if column.num_chunks else pa.array([], column.type) for column in table.columns],
        names=table.schema.names,
    )


def mixed(rows: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=rows)
    normal[rng.random(rows) < 0.05] = np.nan
    normal[rng.random(rows) < 0.02] = np.inf
    missing = rng.random(rows) < 0.1
    return pa.table(
        {
            "float": pa.array(normal, mask=missing),
            "int": rng.integers(0, 7, rows),
            "wide": rng.integers(-(10**12), 10**12, rows),
            "constant": np.full(rows, 3.5),
            "zeros": np.where(rng.random(rows) < 0.6, 0, rng.exponential(size=rows)),
            "text": pa.array(rng.choice(["a", "b", "–", "ü"], rows).tolist(), mask=missing),
            "id": [f"id-{k}" for k in range(rows)],
            "flag": rng.random(rows) < 0.3,
            "time": pa.array(rng.integers(0, 10**15, rows), pa.timestamp("us", "UTC")),
            "day": pa.array(rng.integers(0, 20_000, rows).astype(np.int32), pa.date32()),
            "list": [list(range(int(n))) for n in rng.integers(0, 4, rows)],
            "none": pa.nulls(rows),
            "struct": [{"a": 1}] * rows,
        }
    )


REFERENCE = build(mixed(2000, seed=1), [])


def counted(profile: Profile) -> dict[str, Any]:
    """All that is promised to be exact, whatever the split."""
    document = profile.to_json()
    for column in document["columns"].values():
        column.pop("baseline", None)
        for moment in ("mean", "m2"):
            column.get("numbers", {}).pop(moment, None)
    return document


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 10**6), max_size=5), encode=st.booleans())
def test_any_split_into_batches_gives_the_same_counts(cuts: list[int], *, encode: bool) -> None:
    table = mixed(700)
    whole = build(table, [], REFERENCE)
    if encode:
        place = table.schema.names.index("text")
        table = table.set_column(place, "text", table.column("text").combine_chunks().dictionary_encode())
    split = build(table, cuts, REFERENCE)
    assert counted(split) == counted(whole)
    assert split.to_json()["columns"]["zeros"]["baseline"] == whole.to_json()["columns"]["zeros"]["baseline"]
    for name in ("float", "int", "wide"):
        one, two = split.columns[name].numbers, whole.columns[name].numbers
        assert one is not None
        assert two is not None
        assert one.mean == pytest.approx(two.mean)
        assert one.variance == pytest.approx(two.variance)


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(1, 698), again=st.integers(1, 698))
def test_merging_is_associative_and_commutative(cut: int, again: int) -> None:
    table = mixed(700)
    first, second = sorted((cut, again))
    a, b, c = (build(table.slice(i, j - i), [], REFERENCE) for i, j in ((0, first), (first, second), (second, 700)))
    results = [a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)]
    assert counted(results[0]) == counted(results[1]) == counted(results[2]) == counted(build(table, [], REFERENCE))
    baselines = [{n: column.get("baseline") for n, column in r.to_json()["columns"].items()} for r in results]
    assert baselines[0] == baselines[1] == baselines[2]  # the sample is the whole of a small table


def test_what_a_profile_says_of_each_type() -> None:
    table = mixed(1000)
    profile = build(table, [300])
    assert {name: column.kind for name, column in profile.columns.items()} == {
        "float": "numeric", "int": "numeric", "wide": "numeric", "constant": "numeric", "zeros": "numeric",
        "text": "categorical", "id": "categorical", "flag": "categorical", "time": "temporal", "day": "temporal",
        "list": "length", "none": "opaque", "struct": "opaque",
    }  # fmt: skip
    values = table.column("float").to_numpy()
    float_ = profile.columns["float"]
    assert float_.numbers is not None
    assert float_.nulls == table.column("float").null_count
    assert float_.numbers.nan + float_.nulls == np.isnan(values).sum()
    assert float_.numbers.above == np.isposinf(values).sum()
    assert float_.numbers.maximum == values[np.isfinite(values)].max()
    assert profile.columns["none"].nulls == 1000
    assert profile.columns["id"].distinct == 1000
    assert profile.columns["day"].numbers is not None
    days = table.column("day").cast(pa.int32()).to_numpy()
    assert profile.columns["day"].numbers.maximum == days.max() * 86_400e6
    text = profile.columns["text"].baseline
    assert isinstance(text, Categories)
    found = dict(zip(text.values, text.counts.tolist(), strict=True))
    assert found == {v["values"]: v["counts"] for v in table.column("text").drop_null().value_counts().to_pylist()}


def test_json_round_trip_is_exact_and_canonical() -> None:
    document = build(mixed(700), [100], REFERENCE, group="int").to_json()
    again = Profile.from_json(json.loads(canonical_json(document)))
    assert again.to_json() == document
    assert build(mixed(50), [], again).columns["int"].mark == build(mixed(50), [], again).columns["int"].mark
    with pytest.raises(UserError, match="format 99"):
        Profile.from_json({**document, "format": 99})


def test_stored_profiles_still_merge_in_their_counts() -> None:
    table = mixed(700)
    parts = [Profile.from_json(build(table.slice(i, 350), [], REFERENCE).to_json()) for i in (0, 350)]
    merged, whole = parts[0].merge(parts[1]), build(table, [], REFERENCE)
    for name, column in whole.columns.items():
        for part in ("numbers", "categories"):
            one, two = getattr(merged.columns[name], part), getattr(column, part)
            assert (one is None) == (two is None)
            if one is not None:
                assert one.against.tolist() == two.against.tolist()
    with pytest.raises(UserError, match="cannot be merged"):
        parts[0].merge(build(table, []))


@pytest.mark.parametrize("rows", [0, 1])
def test_tiny_tables_have_profiles(rows: int) -> None:
    profile = build(mixed(rows), [], REFERENCE)
    assert profile.rows == rows
    assert Profile.from_json(profile.to_json()).to_json() == profile.to_json()


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.one_of(st.integers(-20, 20), st.floats(-1e300, 1e300)), min_size=1, max_size=60),
    edges=st.lists(st.one_of(st.integers(-20, 20), st.floats(-1e300, 1e300)), min_size=1, max_size=9, unique=True),
)
def test_cell_counts_are_exact(values: list[float], edges: list[float]) -> None:
    x, e = np.array(values, np.float64), np.array(sorted(edges), np.float64)
    e = np.unique(e)
    expected = [int((x < e[0]).sum())]
    for place, edge in enumerate(e):
        upper = e[place + 1] if place + 1 < len(e) else np.inf
        expected += [int((x == edge).sum()), int(((x > edge) & (x < upper)).sum())]
    assert cell_counts(x, e).tolist() == expected
    scale = 100.0 / (e[-1] - e[0]) if e[-1] > e[0] else 1.0
    if np.isfinite(scale) and scale > 0 and np.isfinite(e[-1] - e[0]):
        with np.errstate(over="ignore", invalid="ignore"):
            below, upto = _ranks_by_grid(x, e, scale)
        assert below.tolist() == [(x < edge).sum() for edge in e]
        assert upto.tolist() == [(x <= edge).sum() for edge in e]


@pytest.mark.parametrize("kind", ["normal", "times", "skewed", "integers", "int8", "huge"])
def test_counting_on_the_grid_agrees_with_comparing(kind: str) -> None:
    rng = np.random.default_rng(3)
    x = {
        "normal": rng.normal(size=20_000),
        "times": 1.7e15 + rng.exponential(size=20_000) * 1e6,
        "skewed": np.exp(4 * rng.normal(size=20_000)),
        "integers": rng.integers(0, 50, 20_000),
        "int8": rng.integers(-128, 128, 20_000).astype(np.int8),
        "huge": rng.normal(size=20_000) * 1e307,
    }[kind]
    grid = make_grid(x[:5000].astype(np.float64))
    assert grid is not None
    cells = cell_counts(x, grid.edges)
    assert cells.sum() == len(x)
    assert np.cumsum(cells)[0:-1:2].tolist() == [(x < edge).sum() for edge in grid.edges]
    assert np.cumsum(cells)[1::2].tolist() == [(x <= edge).sum() for edge in grid.edges]


def test_a_heavy_point_is_a_bin_of_its_own() -> None:
    values = np.concatenate([np.zeros(600), np.linspace(1, 2, 400)])
    grid = make_grid(values)
    assert grid is not None
    groups = grid.psi_groups()
    zero = int(np.flatnonzero(grid.edges == 0)[0]) * 2 + 1
    assert (groups == groups[zero]).sum() == 1
    assert (np.diff(groups) >= 0).all()
    constant = make_grid(np.full(50, 7.0))
    assert constant is not None
    assert constant.psi_groups().tolist() == [0, 1, 2]
    assert constant.counts.tolist() == [0, 50, 0]


def test_large_tables_are_sampled_evenly_and_quantiles_are_near(tmp_path: Path) -> None:
    rows = 300_000
    rng = np.random.default_rng(5)
    ordered = np.sort(rng.normal(size=rows))  # the hardest order for a sample of the first rows
    names = np.array([f"v{k}" for k in range(10_000)])
    words = names[np.minimum(rng.exponential(200, rows).astype(int), 9999)]
    pq.write_table(pa.table({"x": ordered, "w": words, "u": [f"{k}" for k in range(rows)]}), tmp_path / "t.parquet")
    profile = profile_table(open_table(tmp_path / "t.parquet"))
    assert profile.sample is not None
    assert 32_000 <= profile.sample.rows <= 65_536
    grid = profile.columns["x"].baseline
    assert isinstance(grid, Grid)
    for share in (0.01, 0.25, 0.5, 0.75, 0.99):
        assert np.searchsorted(ordered, quantile(grid, share)) / rows == pytest.approx(share, abs=0.008)
    assert profile.columns["u"].distinct == pytest.approx(rows, rel=0.08)
    again = profile_table(open_table(tmp_path / "t.parquet"), reference=Profile.from_json(profile.to_json()))
    exact = again.columns["x"].numbers
    assert exact is not None
    assert exact.against is not None
    assert exact.against[0] == (ordered < grid.edges[0]).sum()


def test_more_categories_than_are_counted_give_the_frequent_ones() -> None:
    rng = np.random.default_rng(2)
    words = np.concatenate([np.repeat("often", 5000), [f"w{k}" for k in range(6000)]])
    rng.shuffle(words)
    known = build(pa.table({"w": words}), [4000, 9000]).columns["w"].baseline
    assert isinstance(known, Categories)
    # Half of the rows pick the frequent values, the other half counts them.
    assert (known.complete, known.values, known.rows) == (False, ("often",), 5500)
    assert known.counts[0] == pytest.approx(2500, abs=150)


def test_units_give_the_design_effect_of_constant_columns() -> None:
    users = np.repeat([f"u{k}" for k in range(100)], 20)
    profile = build(pa.table({"x": np.arange(2000.0), "user": users}), [7, 900], group="user")
    assert (profile.units, profile.design_effect) == (100, 20.0)
    rng = np.random.default_rng(0)
    sizes = UnitSizes()
    counts = rng.integers(1, 9, 3 * KEPT)
    hashes = hash_array(pa.array(np.repeat(np.arange(3 * KEPT), counts)))
    rng.shuffle(hashes)
    other = UnitSizes()
    other.add(hashes[:500_000])
    sizes.add(hashes[500_000:])
    sizes = sizes.merge(other)
    assert sizes.units == pytest.approx(3 * KEPT, rel=0.02)
    assert sizes.design_effect == pytest.approx((counts**2).sum() / counts.sum(), rel=0.02)


def test_hashes_depend_on_values_only() -> None:
    words = ["", "a", "a\0", "b", "12345678", "123456781", "1" * 16, "1" * 17, "ü" * 9, None]
    array = pa.array(words * 2)
    hashes = hash_array(array)
    assert len(set(hashes.tolist())) == len(words)
    for shift in (0, 1, 3):
        assert (hash_array(array.slice(shift)) == hashes[shift:]).all()
    assert (hash_array(array.dictionary_encode()) == hashes).all()
    assert (hash_array(array.cast(pa.large_string())) == hashes).all()
    assert [hash_array(pa.array([word], pa.string()))[0] for word in words] == hashes[: len(words)].tolist()
    floats = hash_array(pa.array([0.0, -0.0, float("nan"), -float("nan"), 1.0]))
    assert floats[0] == floats[1]
    assert floats[2] == floats[3]
    assert hash_array(pa.array([1, 2], pa.int8())).tolist() == hash_array(pa.array([1, 2])).tolist()
    pairs = pa.record_batch({"a": ["x", "y"], "b": ["y", "x"]})
    assert len(set(hash_rows(pairs, ["a", "b"]).tolist())) == 2
    # Known values: stored profiles name categories by these numbers.
    assert f"{hash_array(pa.array(['holdfast']))[0]:016x}" == KNOWN


KNOWN = "9ef9fcff3f459293"
