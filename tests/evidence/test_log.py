from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.evidence import log as log_module
from holdfast.evidence.log import FileLog, MemoryLog, Position, PredictionLog, Slice, Taken, take
from tests.evidence.logs import OUTCOMES, cleaned, make, outcomes_table, predictions_table

ROWS, MARKS = make(11, 300)
PREDICTIONS, OUTCOMES_TABLE = predictions_table(ROWS), outcomes_table(MARKS)


def again(position: Position) -> Position:
    """As it comes back from a file."""
    found: Position = json.loads(json.dumps(position))
    return found


def same_rows(found: Taken, rows: list[Any], marks: list[Any]) -> None:
    expected, outcomes, left_out = cleaned(rows, marks)
    for ours, theirs in zip(found.rows.arrays(), expected.arrays(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name in OUTCOMES:
        ours, theirs = found.outcomes.of(name), outcomes.of(name)
        np.testing.assert_array_equal(ours.id, theirs.id)
        np.testing.assert_array_equal(ours.micros, theirs.micros)
        np.testing.assert_array_equal(ours.value, theirs.value)
    assert found.left_out == left_out


def write_parquet(table: pa.Table, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)


def write_folder(path: Path, table: pa.Table, ends: list[int]) -> None:
    for number, (begin, end) in enumerate(zip([0, *ends], [*ends, table.num_rows], strict=True)):
        write_parquet(table.slice(begin, end - begin), path / f"{number:04}.parquet", row_group_size=37)


def write_csv(path: Path, table: pa.Table) -> None:
    pa_csv.write_csv(table, path)


@pytest.fixture(params=["parquet", "folder", "csv", "csv.gz", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> PredictionLog:
    """The same log in every form."""
    kind = request.param
    if kind == "memory":
        return MemoryLog(PREDICTIONS, OUTCOMES_TABLE)
    paths = []
    for name, table in (("predictions", PREDICTIONS), ("outcomes", OUTCOMES_TABLE)):
        path = tmp_path / (name if kind == "folder" else f"{name}.{kind}")
        if kind == "parquet":
            write_parquet(table.append_column("output", pa.nulls(table.num_rows)), path, row_group_size=50)
        elif kind == "folder":
            write_folder(path, table, [10, 10, 100])
        else:
            write_csv(path, table)
            if kind == "csv.gz":
                path.write_bytes(gzip.compress(path.read_bytes()))
        paths.append(path)
    return FileLog(*paths)


def test_every_form_of_a_log_gives_the_same_rows(log: PredictionLog) -> None:
    taken = take(log, None, OUTCOMES)
    same_rows(taken, ROWS, MARKS)
    found, position = log.read(None)
    assert found.predictions.num_rows == len(ROWS) and found.outcomes.num_rows == len(MARKS)
    assert found.predictions.column("prediction_id").to_pylist() == [row["prediction_id"] for row in ROWS]
    assert "output" not in found.predictions.schema.names
    assert again(position) == again(taken.position)
    nothing = take(log, again(position), OUTCOMES)
    assert len(nothing.rows) == len(nothing.outcomes) == 0 and again(nothing.position) == again(position)
    empty, _ = log.read(again(position))
    assert empty.predictions.num_rows == 0 and empty.outcomes.num_rows == 0


def test_without_names_no_outcomes_are_taken(log: PredictionLog) -> None:
    assert len(take(log).outcomes) == 0


def test_a_log_in_memory_grows_at_its_end() -> None:
    log = MemoryLog()
    found, position = log.read(None)
    assert found.predictions.num_rows == 0 and len(take(log, None, OUTCOMES).rows) == 0
    log.append(PREDICTIONS.slice(0, 100))
    log.append(PREDICTIONS.slice(100), OUTCOMES_TABLE)
    found, later = log.read(again(position))
    assert found.predictions.num_rows == len(ROWS)
    log.append(PREDICTIONS.slice(0, 5).append_column("share", pa.array([0.1] * 5)))
    assert log.read(again(later))[0].predictions.num_rows == 5


def test_a_folder_grows_by_whole_files_and_one_that_is_half_written_waits(tmp_path: Path) -> None:
    log = FileLog(tmp_path / "p", tmp_path / "o")
    (tmp_path / "p").mkdir()
    (tmp_path / "o").mkdir()
    found, position = log.read(None)
    assert found.predictions.num_rows == 0
    write_parquet(PREDICTIONS.slice(0, 50), tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    growing = tmp_path / "p" / "b.parquet"
    broken = content[:-40] + b"\xff" * 32 + content[-8:]  # its end is there, and cannot be made sense of
    for half in (b"", content[:3], content[:100], content[:-1], broken):
        growing.write_bytes(half)
        taken = take(log, again(position), OUTCOMES)
        assert len(taken.rows) == 0 and taken.unfinished == ("b.parquet",)
        assert log.read(again(position))[0].unfinished == ("b.parquet",)
    write_parquet(PREDICTIONS.slice(50, 20), tmp_path / "p" / "a.parquet")
    (tmp_path / "p" / "_temporary").mkdir()
    (tmp_path / "p" / "_temporary" / "x.parquet").write_bytes(b"no")
    (tmp_path / "p" / ".hidden.parquet").write_bytes(b"no")
    (tmp_path / "p" / "note.txt").write_text("no")
    found, position = log.read(again(position))
    assert found.predictions.num_rows == 20 and found.unfinished == ("b.parquet",)
    growing.write_bytes(content)
    found, position = log.read(again(position))
    assert found.predictions.num_rows == 50 and found.unfinished == ()
    assert log.read(again(position))[0].predictions.num_rows == 0


def test_a_parquet_file_grows_by_rows_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    seen, position = [], None
    for end in (0, 10, 10, 120, 300):
        write_parquet(PREDICTIONS.slice(0, end), path, row_group_size=32)
        found, position = FileLog(path).read(position and again(position))
        seen += found.predictions.column("prediction_id").to_pylist()
        assert len(seen) == end and found.outcomes.num_rows == 0
    assert seen == [row["prediction_id"] for row in ROWS][:300]
    write_parquet(PREDICTIONS.slice(0, 7), path)
    with pytest.raises(OutsideError, match="has 7 rows: expected the 300") as raised:
        FileLog(path).read(position)
    assert raised.value.reason_code == "log_unavailable"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_csv_file_grows_by_rows_and_half_a_row_waits(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "p.csv"
    lines = [
        "prediction_id,time,variant,unit,output",
        *(f'p{k},2026-01-01T00:00:0{k},canary,u{k},"{k}\n, ""x"""' for k in range(8)),
    ]
    content = ending.join([*lines, ""]).encode()
    position, seen = None, []
    for size in (*range(0, len(content), 7), len(content)):
        path.write_bytes(content[:size])
        found, position = FileLog(path).read(position and again(position))
        seen += found.predictions.column("prediction_id").to_pylist()
    assert seen == [f"p{k}" for k in range(8)]
    path.write_bytes(content[:50])
    with pytest.raises(OutsideError, match="no longer what it was"):
        FileLog(path).read(position)


def test_folders_names_give_values(tmp_path: Path) -> None:
    for variant in ("canary", "champion"):
        rows = PREDICTIONS.slice(0, 30).drop_columns("variant")
        write_parquet(rows, tmp_path / "p" / f"variant={variant}" / "1.parquet")
    (tmp_path / "o").mkdir()
    found, _ = FileLog(tmp_path / "p", tmp_path / "o").read(None)
    assert found.predictions.column("variant").to_pylist() == ["canary"] * 30 + ["champion"] * 30
    taken = take(FileLog(tmp_path / "p"))
    assert {key[0] for key in taken.left_out} and set(taken.rows.arm.tolist()) <= {0, 1}


def test_files_of_different_writers_fit_together(tmp_path: Path) -> None:
    plain = PREDICTIONS.slice(0, 40)
    other = PREDICTIONS.slice(40, 40)
    other = other.set_column(3, "unit", other.column("unit").cast(pa.large_string()))
    other = other.set_column(2, "variant", other.column("variant").dictionary_encode())
    other = other.set_column(1, "time", other.column("time").cast(pa.timestamp("ns")))
    other = other.append_column("epoch", pa.array([4] * 40)).drop_columns("override")
    write_parquet(plain.drop_columns(["latency_ms"]), tmp_path / "p" / "1.parquet")
    write_parquet(other, tmp_path / "p" / "2.parquet")
    taken = take(FileLog(tmp_path / "p"))
    assert taken.rows.epoch is not None and set(taken.rows.epoch.tolist()) == {-1, 4}
    assert len(taken.rows) + sum(map(sum, taken.left_out.values())) == 80


@pytest.mark.parametrize(
    ("predictions", "outcomes", "said"),
    [
        ("absent.parquet", None, "There is no prediction log at"),
        ("p.parquet", "absent", "There is no outcome log at"),
        ("broken.parquet", None, "cannot be read now"),
        ("broken.csv.gz", None, "cannot be read now"),
    ],
)
def test_a_log_that_cannot_be_read_is_an_outside_error(
    tmp_path: Path, predictions: str, outcomes: str | None, said: str
) -> None:
    write_parquet(PREDICTIONS, tmp_path / "p.parquet")
    for name in ("broken.parquet", "broken.csv.gz"):
        (tmp_path / name).write_bytes(b"broken")
    log = FileLog(tmp_path / predictions, None if outcomes is None else tmp_path / outcomes)
    for read in (lambda: log.read(None), lambda: take(log)):
        with pytest.raises(OutsideError, match=said) as raised:
            read()
        assert raised.value.reason_code == "log_unavailable" and raised.value.hint


def test_damage_inside_a_file_is_an_outside_error(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_parquet(PREDICTIONS, path, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    with pytest.raises(OutsideError, match="damaged") as raised:
        take(FileLog(path))
    assert raised.value.reason_code == "log_unavailable"


@pytest.mark.parametrize("kind", ["parquet", "csv", "folder", "memory"])
def test_a_required_column_that_is_not_there_is_the_users_mistake(tmp_path: Path, kind: str) -> None:
    table = PREDICTIONS.drop_columns("unit")
    log: PredictionLog = MemoryLog(table)
    if kind != "memory":
        path = tmp_path / ("p" if kind == "folder" else f"p.{kind}")
        if kind == "csv":
            write_csv(path, table)
        else:
            write_parquet(table, path / "1.parquet" if kind == "folder" else path)
        log = FileLog(path)
    for read in (lambda: log.read(None), lambda: take(log)):
        with pytest.raises(UserError, match="The prediction log has no column 'unit'"):
            read()


def test_other_mistakes_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("x")
    with pytest.raises(UserError, match="is no prediction log: expected a folder of Parquet files"):
        FileLog(tmp_path / "p.txt").read(None)
    (tmp_path / "p.csv").write_text("prediction_id,time,variant,unit\na,b\n")
    with pytest.raises(UserError, match="cannot be read as CSV"):
        FileLog(tmp_path / "p.csv").read(None)
    write_parquet(PREDICTIONS, tmp_path / "p.parquet")
    with pytest.raises(UserError, match="expected 'rows'"):
        FileLog(tmp_path / "p.parquet").read({"predictions": {"bytes": 3}, "outcomes": {}})


def test_any_object_that_reads_is_a_log() -> None:
    class Mine:
        def read(self, after: Position | None) -> tuple[Slice, Position]:
            return Slice(PREDICTIONS, OUTCOMES_TABLE, ("x",)), {"n": 1}

    taken = take(Mine(), None, OUTCOMES)
    same_rows(taken, ROWS, MARKS)
    assert taken.unfinished == ("x",) and taken.position == {"n": 1}


def test_pieces_that_are_read_at_once_stay_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.evidence import _files, _threads

    monkeypatch.setattr(_files, "BATCH_ROWS", 16)
    monkeypatch.setattr(_threads, "_cores", lambda: 4)
    monkeypatch.setattr(_threads, "_MANY_ROWS", 1)
    write_folder(tmp_path / "p", PREDICTIONS, [50, 100, 200])
    write_folder(tmp_path / "o", OUTCOMES_TABLE, [70, 71])
    same_rows(take(FileLog(tmp_path / "p", tmp_path / "o"), None, OUTCOMES), ROWS, MARKS)


def test_pandas_is_not_imported(tmp_path: Path) -> None:
    """pyarrow imports it for every scalar and every array of Python values: a second, and 50 MB."""
    write_folder(tmp_path / "p", PREDICTIONS, [50])
    write_csv(tmp_path / "o.csv", OUTCOMES_TABLE)
    program = f"""
import sys
from pathlib import Path
from holdfast.evidence.log import FileLog, take
from holdfast.evidence.step import Step
from tests.evidence.logs import BEGIN, MEASURES
taken = take(FileLog(Path({str(tmp_path / "p")!r}), Path({str(tmp_path / "o.csv")!r})), None, ("click", "spend"))
step = Step(MEASURES, 0.4, BEGIN, closing=[300.0], window_seconds=60.0, keep=True)
step.feed(taken.rows, taken.outcomes, taken.left_out)
assert step.block(0, 30, 10).requests[-1].sum() > 100
step.closed(0)
assert len(step.summary().to_bytes()) > 1000
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_the_module_says_which_columns_it_needs() -> None:
    assert log_module.PREDICTIONS.required == ("prediction_id", "time", "variant", "unit")
    assert log_module.OUTCOMES.required == ("prediction_id", "time", "name", "value")


def test_per_request_every_request_is_a_unit_even_without_one(tmp_path: Path) -> None:
    table = pa.table(
        {
            "prediction_id": ["a", "b", "c"],
            "time": pa.array([1_800_000_000_000_000] * 3, pa.timestamp("us", "UTC")),
            "variant": ["canary", "champion", "champion"],
            "unit": pa.array(["u", None, "u"], pa.string()),
        }
    )
    assert len(take(MemoryLog(table)).rows) == 2
    rows = take(MemoryLog(table), per_request=True).rows
    assert len(set(rows.unit.tolist())) == 3
    assert (rows.unit == rows.id).all()
