from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.data.tables import open_table
from holdfast.errors import UserError


def _long(first: str, count: int, last: str) -> str:
    return "a,b\n" + f"{first},x\n" * count + f"{last},y\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no.parquet", None, "There is no table"),
        ("t.xlsx", b"x", "unknown extension"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"a,a\n1,2\n", "names the column 'a' twice"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "line 3 has 3 fields where the header has 2"),
        ("t.csv", b"a,b\n1,\xff\xfe\n", "not UTF-8"),
        ("t.parquet", b"", "is empty"),
        ("t.parquet", b"PAR1 this is no parquet file PAR1", "not a readable Parquet file"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        open_table(path).read()
    assert "\n" not in caught.value.message
    assert caught.value.exit_status == 2


def test_an_empty_table_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="no rows"):
        open_table(tmp_path / "t.parquet")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="holds no Parquet file"):
        open_table(tmp_path / "folder")


def test_a_file_whose_pages_are_damaged_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": list(range(100_000))}), path)
    content = bytearray(path.read_bytes())
    content[4:2000] = b"\xff" * 1996
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        open_table(path).read()


@pytest.mark.parametrize(
    ("first", "last", "expected", "noted"),
    [
        ("1", "2.5", pa.float64(), False),
        ("1", "word", pa.string(), True),
        ("1.5", "word", pa.string(), True),
        ("2020-01-01", "2020-01-01 10:00:00", pa.timestamp("s"), False),
        ("2020-01-01 10:00:00", "2020-01-01 10:00:00.5", pa.timestamp("ns"), False),
        ("true", "perhaps", pa.string(), True),
        ("", "7", pa.int64(), False),
        ("", "2020-01-01", pa.date32(), False),
        ("", "word", pa.string(), False),
    ],
)
def test_a_csv_column_gets_one_type_that_fits_every_block(
    tmp_path: Path, first: str, last: str, expected: pa.DataType, *, noted: bool
) -> None:
    path = tmp_path / "t.csv"
    count = 5_000_000 // (len(first) + 3)  # more than one block of the reader
    path.write_text(_long(first, count, last))
    table = open_table(path)
    assert table.schema.field("a").type == expected
    assert table.num_rows == count + 1
    assert bool(table.notes) == noted
    if noted:
        assert f"line {count + 2} holds '{last}'" in table.notes[0]
    batches = list(table.batches(["a"]))
    assert sum(batch.num_rows for batch in batches) == count + 1
    assert str(batches[-1].column(0)[-1].as_py()).startswith(last[:4])


def test_an_empty_text_field_is_null_and_a_country_called_na_is_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('country,n\nNA,1\n,NA\n"a\nb",3\n')
    assert open_table(tmp_path / "t.csv").read().to_pydict() == {"country": ["NA", None, "a\nb"], "n": [1, None, 3]}


def test_folders_share_a_schema_and_name_their_partitions(tmp_path: Path) -> None:
    for day, kind in (("1", pa.int32()), ("2", pa.int64()), ("__HIVE_DEFAULT_PARTITION__", pa.float64())):
        folder = tmp_path / f"day={day}" / "city=K%C3%B6ln"
        folder.mkdir(parents=True)
        words = pa.array(["a", None]).dictionary_encode()
        pq.write_table(pa.table({"x": pa.array([1, 2], kind), "s": words}), folder / "f.parquet")
    (tmp_path / "_SUCCESS.parquet").write_text("not read")
    table = open_table(tmp_path)
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == {
        "x": pa.float64(), "s": pa.string(), "day": pa.int64(), "city": pa.string(),
    }  # fmt: skip
    assert table.read(["day", "city"]).to_pydict() == {"day": [1, 1, 2, 2, None, None], "city": ["Köln"] * 6}
    assert table.read(["s", "x"]).to_pydict() == {"s": ["a", None] * 3, "x": [1, 2] * 3}


def test_files_whose_columns_do_not_fit_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": ["one"]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet does not fit"):
        open_table(tmp_path)


def test_batches_are_small_and_in_the_order_of_the_rows(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"x": list(range(1000)), "s": ["a", "b"] * 500}), tmp_path / "t.parquet", row_group_size=300
    )
    batches = list(open_table(tmp_path / "t.parquet").batches(["s", "x"], batch_rows=128, dictionary=True))
    assert max(batch.num_rows for batch in batches) <= 128
    assert pa.types.is_dictionary(batches[0].schema.field("s").type)
    assert [x for batch in batches for x in batch.column("x").to_pylist()] == list(range(1000))


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="no column 'y'"):
        open_table(tmp_path / "t.parquet").read(["y"])


def test_the_content_hash_follows_content_and_rereads_only_what_changed(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    for name in ("a", "b"):
        pq.write_table(pa.table({"x": [name]}), folder / f"{name}.parquet")
    memory: dict[str, object] = {}
    first = open_table(folder).content_hash(memory)
    assert first == open_table(folder).content_hash() == open_table(folder).content_hash(memory)
    assert set(memory) == {str(folder / "a.parquet"), str(folder / "b.parquet")}
    # An unchanged state is believed without reading: a wrong remembered digest shows that.
    entry = memory[str(folder / "a.parquet")]
    assert isinstance(entry, list)
    assert open_table(folder).content_hash({**memory, str(folder / "a.parquet"): [*entry[:3], "sha256:0"]}) != first
    for spoiled in (0, 1, 2):
        changed = [value + (place == spoiled) for place, value in enumerate(entry[:3])]
        assert open_table(folder).content_hash({str(folder / "a.parquet"): [*changed, "sha256:0"]}) == first
    (folder / "b.parquet").rename(folder / "c.parquet")
    assert open_table(folder).content_hash(memory) != first


def test_the_name_of_a_single_file_is_not_content(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    before = open_table(tmp_path / "a.parquet").content_hash()
    (tmp_path / "a.parquet").rename(tmp_path / "b.parquet")
    assert open_table(tmp_path / "b.parquet").content_hash() == before
