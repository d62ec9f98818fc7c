from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.config.schema import DataConfig, SnapshotFunction, SnapshotsConfig
from holdfast.data.tables import Table, open_table
from holdfast.errors import UserError
from holdfast.snapshots import hostile
from holdfast.snapshots.inputs import MANY_ROWS, choose_population, columns_of, gather, hostile_rows, make_inputs

TEXTS = [text for _, text in hostile.TEXTS]
DATA = DataConfig(train="t.parquet", label="label")


def declared(*inputs: list[str], **options: Any) -> SnapshotsConfig:
    functions = {
        f"f{k}": SnapshotFunction(function="m:f", call="value" if names else "table", input=names)
        for k, names in enumerate(inputs)
    }
    return SnapshotsConfig(functions=functions, **options)


def written(folder: Path, table: pa.Table) -> Table:
    pq.write_table(table, folder / "t.parquet")
    return open_table(folder / "t.parquet")


# --- the corpus


@pytest.mark.parametrize(
    "part",
    [
        *("", "—", "–", "“", "”", "‘", "’", "\u00a0", "\u200b", "\u200d", "\ufeff", "\u202e", "\u00ad", "\x00", "\n"),
        *("\U0001f3fd", "\u2764\ufe0f", "ﬁ", "½", "µ", "μ", "é", "e\u0301", "ß", "İ", "。", "\u3000", "™", "&amp;"),
    ],
)
def test_the_corpus_holds(part: str) -> None:
    assert any(part in text if part else text == "" for text in TEXTS)


@pytest.mark.parametrize(
    "holds",
    [
        lambda text: unicodedata.is_normalized("NFC", text) and not unicodedata.is_normalized("NFD", text),
        lambda text: unicodedata.is_normalized("NFD", text) and not unicodedata.is_normalized("NFC", text),
        lambda text: not unicodedata.is_normalized("NFKC", text),
        lambda text: any(unicodedata.bidirectional(character) == "R" for character in text),
        lambda text: any(unicodedata.bidirectional(character) == "AL" for character in text),
        lambda text: any(ord(character) > 0xFFFF for character in text),
        lambda text: len(text) >= 1_000,
        lambda text: text.strip() == "" and text,
    ],
)
def test_the_corpus_holds_a_text_where(holds: Any) -> None:
    assert any(holds(text) for text in TEXTS)


def test_the_corpus_names_each_text_once_and_is_utf_8() -> None:
    assert len({name for name, _ in hostile.TEXTS}) == len(hostile.TEXTS)
    assert len(set(TEXTS)) == len(TEXTS)
    assert all(text.encode().decode() == text for text in TEXTS)


# --- hostile rows

SMALL = {
    "title": pa.array(["usb cable", "phone", None]),
    "note": pa.array(["a", "b", "c"], pa.large_string()),
    "price": pa.array([1.5, 2.5, 3.5]),
    "rough": pa.array([1.5, None, 3.5], pa.float32()),
    "half": pa.array([1.5, 2.5, 3.5], pa.float16()),
    "stock": pa.array([1, 2, 3]),
    "small": pa.array([1, 2, 3], pa.uint8()),
    "seen": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("us", "UTC")),
    "berlin": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("ns", "Europe/Berlin")),
    "local": pa.array([datetime(2024, 1, 1)] * 3, pa.timestamp("ms")),  # noqa: DTZ001 - a table without zones
    "second": pa.array([datetime(2024, 1, 1)] * 3, pa.timestamp("s")),  # noqa: DTZ001
    "new": pa.array([True, False, None]),
    "tags": pa.array([["a"], [], None]),
}


def test_every_hostile_text_reaches_every_text_column_and_types_are_kept() -> None:
    seen = pa.table(SMALL)
    rows = hostile_rows(seen)
    assert rows.schema.types == seen.schema.types
    assert rows.column_names == seen.column_names
    for name in ("title", "note"):
        values = rows.column(name).to_pylist()
        assert set(TEXTS) <= set(values)
        assert None in values
    both = zip(rows["title"].to_pylist(), rows["note"].to_pylist(), strict=True)
    assert not any(one == two for one, two in both if one is not None)  # they meet others, not only themselves
    assert rows["new"].null_count < rows.num_rows
    assert set(rows["tags"].drop_null().to_pylist()[0]) <= {"a"}


def test_numbers_and_times_are_hostile_where_the_column_can_hold_them() -> None:
    rows = hostile_rows(pa.table(SMALL))
    assert set(hostile.INTEGERS) <= set(rows["stock"].to_pylist())
    small = set(rows["small"].drop_null().to_pylist())
    assert {0, 255} <= small
    assert small <= set(range(256))
    assert set(map(repr, hostile.FLOATS)) <= set(map(repr, rows["price"].to_pylist()))
    assert "inf" in set(map(repr, rows["rough"].to_pylist()))
    assert set(hostile.TIMES) <= set(rows["seen"].to_pylist())
    for name in ("berlin", "local", "second"):
        assert len(set(rows[name].cast(pa.int64()).to_pylist())) >= len(hostile.TIMES) - 1
    assert all(rows[name].null_count for name in ("stock", "price", "seen"))


@pytest.mark.parametrize("name", SMALL)
def test_a_table_of_one_column_and_of_one_row(name: str) -> None:
    rows = hostile_rows(pa.table({name: SMALL[name][:1]}))
    assert rows.schema.types == [SMALL[name].type]
    assert (rows.num_rows == 0) is (name in ("new", "tags"))


def test_hostile_rows_are_the_same_each_time() -> None:
    assert repr(hostile_rows(pa.table(SMALL)).to_pylist()) == repr(hostile_rows(pa.table(SMALL)).to_pylist())


# --- the parts


@pytest.mark.parametrize(
    ("inputs", "columns"),
    [
        ([["b"]], ["b"]),
        ([["c", "a"], ["b"]], ["a", "b", "c"]),
        ([[]], ["a", "b", "c"]),  # a table's function reads all but the label
        ([["label"]], ["label"]),
        ([], []),
    ],
)
def test_the_columns_that_functions_read(tmp_path: Path, inputs: list[list[str]], columns: list[str]) -> None:
    table = written(tmp_path, pa.table({name: [1] for name in ("a", "b", "c", "label")}))
    assert columns_of(declared(*inputs), DATA, table) == columns


def test_a_column_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    table = written(tmp_path, pa.table({"a": [1]}))
    with pytest.raises(UserError, match=r"functions\.f0 reads the column 'x'"):
        columns_of(declared(["x"]), DATA, table)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, {"data": 400, "hostile": len(TEXTS) + 1, "population": 999}),
        ({"population": 300}, {"data": 400, "hostile": len(TEXTS) + 1, "population": 300}),
        ({"hostile": False, "population": 0}, {"data": 400}),
        ({"rows": 1_000}, {"data": 999, "hostile": len(TEXTS) + 1}),
    ],
)
def test_the_parts_of_the_inputs(tmp_path: Path, options: dict[str, Any], parts: dict[str, int]) -> None:
    """999 different titles in 1000 rows."""
    titles = [f"title {row}" for row in range(999)] + ["title 0"]
    table = written(tmp_path, pa.table({"title": titles, "label": [0] * 1_000}))
    made = make_inputs(declared(["title"], **options), DATA, table)
    assert {name: part.num_rows for name, part in made.items()} == parts
    assert all(part.column_names == ["title"] and part.schema.types == [pa.string()] for part in made.values())
    again = make_inputs(declared(["title"], **options), DATA, table)
    assert all(part.equals(again[name]) for name, part in made.items())


@pytest.mark.parametrize(("rows", "limit"), [(10, 20), (10, 10), (10, 3), (7, 1), (0, 5), (5, 0)])
def test_the_population_is_spread_over_the_distinct_rows(rows: int, limit: int) -> None:
    values = [value for value in range(rows) for _ in range(2)]
    chosen = choose_population({"x": values}, limit)
    assert len(chosen) == min(rows, limit)
    assert [values[row] for row in chosen] == sorted({values[row] for row in chosen})


def test_a_null_is_not_the_word_none() -> None:
    assert choose_population({"x": ["None", None, "None"]}, 10) == [0, 1]


def test_a_large_table_is_thinned_and_keeps_the_rows_with_rare_characters(tmp_path: Path) -> None:
    rows = 2 * MANY_ROWS + 5
    rare = {row: f"title — {row}" for row in range(1, rows, 40_001)}
    table = written(tmp_path, pa.table({"title": [rare.get(row, f"title {row}") for row in range(rows)]}))
    seen = gather(table, ["title"])
    kept = set(seen["title"].to_pylist())
    assert set(rare.values()) <= kept
    assert MANY_ROWS / 2 < seen.num_rows <= MANY_ROWS + len(rare)
