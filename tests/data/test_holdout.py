"""Holdouts: split by unit, named by content, sealed in the ledger, verified at every use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.config.schema import DataConfig, HoldoutConfig
from holdfast.data.holdout import (
    Holdout,
    evaluations_used,
    find_holdout,
    freeze,
    load_holdout,
    record_evaluation,
    training_part,
)
from holdfast.data.tables import open_table
from holdfast.errors import Damaged, Refused, UserError
from holdfast.ledger import Ledger
from holdfast.store import Store, object_key, open_store

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Place:
    """A table, a store and a ledger in one folder."""

    def __init__(self, folder: Path, rows: pa.Table, **data: object) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.data = DataConfig(train="t.parquet", label="y", **data)
        self.store: Store = open_store(folder / "store")
        self.ledger = Ledger(self.store, who="me")
        self.write(rows)

    def write(self, rows: pa.Table) -> None:
        pq.write_table(rows, self.folder / "t.parquet")

    def freeze(self, **config: object) -> Holdout:
        table = open_table(self.folder / "t.parquet")
        return freeze(
            table, self.data, HoldoutConfig(**config), self.store, self.ledger, now=NOW, cache=self.folder / "cache"
        )

    def load(self, name: str = "v1") -> Holdout:
        return load_holdout(self.store, self.ledger, name, self.folder / "cache")

    def training(self) -> pa.Table:
        out = training_part(open_table(self.folder / "t.parquet"), self.store, self.data, self.folder / "part.parquet")
        return pq.read_table(out)


def queries(units: int = 100, size: int = 5, *, start: int = 0) -> pa.Table:
    query = np.repeat(np.arange(start, start + units), size)
    times = [NOW + timedelta(minutes=int(q)) for q in query]
    return pa.table({"q": query, "d": np.arange(len(query)) + 10_000 * start, "y": query % 3, "t": times})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, queries(), group="q", key=["q", "d"], time="t")


def units(rows: pa.Table) -> set[int]:
    return set(rows.column("q").to_pylist())


def test_a_units_rows_never_part_and_the_share_is_exact(place: Place) -> None:
    holdout = place.freeze(share=0.2)
    inside = pq.read_table(holdout.path)
    assert (inside.num_rows, len(units(inside)), holdout.manifest["units"], holdout.manifest["rows"]) == (
        100,
        20,
        20,
        100,
    )
    assert holdout.manifest["unit"] == "q"
    outside = place.training()
    assert units(inside) | units(outside) == set(range(100))
    assert not units(inside) & units(outside)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), st.integers(0, 12)), min_size=8, max_size=60).filter(lambda v: len(set(v)) > 3))
def test_any_units_are_kept_together(tmp_path_factory: pytest.TempPathFactory, values: list[int | None]) -> None:
    rows = pa.table(
        {
            "q": pa.array(values, pa.int64()),
            "d": range(len(values)),
            "y": [0, 1] * (len(values) // 2) + [0] * (len(values) % 2),
        }
    )
    place = Place(tmp_path_factory.mktemp("h"), rows, group="q")
    inside, outside = pq.read_table(place.freeze(share=0.4).path), place.training()
    assert not units(inside) & units(outside)
    assert inside.num_rows + outside.num_rows == rows.num_rows


def test_the_same_data_gives_the_same_holdout_anywhere(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other", queries(), group="q", key=["q", "d"], time="t")
    assert place.freeze().digest == other.freeze().digest
    assert place.freeze().digest == place.load().digest
    assert place.freeze(name="v2", seed=1).digest != place.load().digest


def test_by_time_the_latest_units_are_taken(place: Place) -> None:
    assert units(pq.read_table(place.freeze(share=0.1, by="time").path)) == set(range(90, 100))


def test_a_name_is_frozen_once(place: Place) -> None:
    place.freeze(share=0.2)
    with pytest.raises(UserError, match="frozen already"):
        place.freeze(share=0.3)
    place.write(queries(101))
    with pytest.raises(UserError, match="choose a new name"):
        place.freeze(share=0.2)


def flip(place: Place, key: str) -> None:
    data = bytearray(place.store.get(key) or b"")
    data[len(data) // 2] ^= 1
    place.store.put(key, bytes(data))


@pytest.mark.parametrize("which", ["holdout", "manifest", "pointer"])
def test_a_changed_byte_is_seen(place: Place, which: str) -> None:
    place.freeze()
    known = find_holdout(place.store, "v1") or {}
    flip(place, "holdouts/v1.json" if which == "pointer" else object_key(known[which]))
    for path in (place.folder / "cache").rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(Damaged) as caught:
        place.load()
    assert "\n" not in str(caught.value)


def test_a_changed_copy_on_this_machine_is_replaced(place: Place) -> None:
    holdout = place.freeze()
    before = holdout.path.read_bytes()
    holdout.path.write_bytes(b"x" + before[1:])
    assert place.load().path.read_bytes() == before


def test_what_the_ledger_has_not_sealed_is_not_believed(place: Place) -> None:
    place.freeze()
    for key in place.store.list("ledger/"):
        place.store.delete(key)
    with pytest.raises(Damaged, match="has not sealed"):
        place.load()


def test_growing_data_stays_out_of_training(place: Place) -> None:
    sealed = units(pq.read_table(place.freeze().path))
    place.write(pa.concat_tables([queries(), queries(100, 2), queries(10, start=200)]))
    assert not units(place.training()) & sealed
    assert units(place.training()) >= set(range(200, 210))


def test_every_frozen_holdout_stays_out_of_training(place: Place) -> None:
    first, second = place.freeze(), place.freeze(name="v2", seed=5)
    sealed = units(pq.read_table(first.path)) | units(pq.read_table(second.path))
    assert units(place.training()) == set(range(100)) - sealed


def test_nothing_left_to_train_on_is_said(place: Place) -> None:
    place.freeze(share=0.5)
    sealed = units(pq.read_table(place.load().path))
    rows = queries()
    place.write(rows.filter(pa.array([q in sealed for q in rows.column("q").to_pylist()])))
    with pytest.raises(UserError, match="nothing is left"):
        place.training()


def test_too_few_units_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leaves one side empty"):
        Place(tmp_path, queries(2), group="q").freeze(share=0.1)


def test_a_missing_holdout_names_the_next_command(place: Place) -> None:
    with pytest.raises(UserError, match="holdfast holdout freeze"):
        place.load()


def test_the_budget_of_evaluations(place: Place) -> None:
    holdout = place.freeze()
    assert [record_evaluation(place.ledger, holdout, c, 2) for c in ("a", "b", "a", "b")] == [1, 2, 2, 2]
    with pytest.raises(Refused, match="budget of 2"):
        record_evaluation(place.ledger, holdout, "c", 2)
    assert evaluations_used(place.ledger, holdout) == 2
