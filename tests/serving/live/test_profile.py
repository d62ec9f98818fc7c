"""Profiles of inputs: the sum over replicas is the profile of what was logged."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data.drift import compare_profiles
from holdfast.data.profile import Profile, ProfileBuilder
from holdfast.errors import Damaged
from holdfast.serving.live import LiveProfile, hour_profiles
from holdfast.serving.live.profile import HOUR
from holdfast.serving.payload import Payload, tensor
from holdfast.store import Store
from holdfast.verdict import Verdict
from tests.serving.live.replicas import BEGIN, MODEL, US, World, attempt
from tests.serving.live.test_evidence import in_memory

SCHEMA = pa.schema(
    [
        ("price", pa.float64()),
        ("stock", pa.int64()),
        ("brand", pa.string()),
        ("is_new", pa.bool_()),
        ("since", pa.timestamp("us")),
        ("tags", pa.list_(pa.string())),
        ("blob", pa.binary()),
    ]
)
MICROS = round(BEGIN.timestamp() * US)


def row(rng: random.Random, shift: float = 0.0) -> dict[str, Any]:
    found: dict[str, Any] = {
        "price": rng.choice([rng.gauss(10 + shift, 3), rng.gauss(10, 3), float("nan"), 0.0, float("inf")]),
        "stock": rng.randrange(9),
        "brand": rng.choice(["ä", "b", "c", None]),
        "is_new": rng.random() < 0.3,
        "since": datetime(2020, 1, 1, tzinfo=UTC).replace(tzinfo=None) + timedelta(days=rng.randrange(999)),
        "tags": ["x"] * rng.randrange(4),
        "blob": b"x",
    }
    return {name: None if rng.random() < 0.05 else value for name, value in found.items()}


def profiled(rows: list[dict[str, Any]], reference: Profile | None = None) -> Profile:
    builder = ProfileBuilder(SCHEMA, reference)
    builder.add(pa.RecordBatch.from_pylist(rows, SCHEMA))
    return builder.finish()


REFERENCE = profiled([row(random.Random(n)) for n in range(3000)])


def frame(rows: list[dict[str, Any]], rng: random.Random) -> Payload:
    """As a protocol gives it: numbers as numpy has them where none is null, else objects; columns in any order."""
    names = list(SCHEMA.names)
    rng.shuffle(names)
    arrays = []
    for name in names:
        values = [found[name] for found in rows]
        array = np.empty(len(values), object)
        array[:] = values
        if None not in values and name in ("price", "stock", "is_new") and rng.random() < 0.8:
            array = np.array(values)
        elif None not in values and name == "since" and rng.random() < 0.5:
            array = np.array(values, "datetime64[ms]")
        arrays.append(array)
    return Payload("frame", ("extra", *names), (np.zeros(len(rows)), *arrays))


def alike(live: Profile, logged: Profile) -> None:
    assert live.rows == logged.rows
    for name, column in logged.columns.items():
        found = live.columns[name]
        assert (found.kind, found.rows, found.nulls, found.mark) == (
            column.kind,
            column.rows,
            column.nulls,
            column.mark,
        )
        if column.numbers is not None and found.numbers is not None:
            ours, theirs = found.numbers, column.numbers
            for part in ("finite", "nan", "below", "above", "minimum", "maximum"):
                assert getattr(ours, part) == getattr(theirs, part), (name, part)
            assert ours.mean == pytest.approx(theirs.mean) and ours.m2 == pytest.approx(theirs.m2)
            assert (ours.against is None) == (theirs.against is None)
            if ours.against is not None:
                np.testing.assert_array_equal(ours.against, theirs.against)
        if column.categories is not None and found.categories is not None:
            np.testing.assert_array_equal(found.categories.against, column.categories.against)


def live_profile(store: Store, replica: str, **options: Any) -> LiveProfile:
    return LiveProfile(replica, store, MODEL, REFERENCE, "sha256:ref", **options)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**9), replicas=st.integers(1, 3), restarts=st.booleans())
def test_the_sum_over_replicas_is_the_profile_of_what_was_logged(seed: int, replicas: int, *, restarts: bool) -> None:
    rng = random.Random(seed)
    store, names = in_memory()[0], "abc"[:replicas]
    living = {name: live_profile(store, name) for name in names}
    logged: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for _ in range(60):
        moment, variant, name = MICROS + rng.randrange(2 * HOUR), rng.choice(["champion", "canary"]), rng.choice(names)
        rows = [row(rng, 5.0) for _ in range(rng.choice([1, 1, 3]))]
        living[name].observe(moment, variant, frame(rows, rng))
        logged.setdefault((moment // HOUR, variant), []).extend(rows)
        if rng.random() < 0.2:
            living[name].flush(moment)
        if restarts and rng.random() < 0.1:
            living[name].flush(moment)
            living[name].close(moment)
            living[name] = live_profile(store, name)
    for profile in living.values():
        profile.flush(MICROS + 2 * HOUR)
    for (hour, variant), rows in logged.items():
        found = hour_profiles(store, MODEL, hour * HOUR, "sha256:ref")
        alike(found[variant], profiled(rows, REFERENCE))


def test_drift_can_be_told_from_it() -> None:
    rng, store = random.Random(1), in_memory()[0]
    profile = live_profile(store, "a", columns=["price", "stock", "brand", "nothing"])
    for _ in range(40):
        profile.observe(MICROS, "champion", frame([row(rng, 20.0) for _ in range(20)], rng))
    profile.flush(MICROS)
    found = hour_profiles(store, MODEL, MICROS, "sha256:ref")["champion"]
    checks = {check.name: check.verdict for check in compare_profiles(REFERENCE, found, ignore=["since"])}
    assert checks["price.drift"] is Verdict.FAIL
    assert checks["stock.drift"] is checks["brand.drift"] is Verdict.PASS
    assert hour_profiles(store, MODEL, MICROS, "sha256:other") == {}


@pytest.mark.parametrize(
    ("arrays", "nulls"),
    [
        ({"price": np.array(["dear"], object)}, {"price": 1}),
        ({"price": np.array([True], object), "stock": np.array([2**70], object)}, {"price": 0, "stock": 0}),
        ({"stock": np.array([10**400], object)}, {"stock": 1}),
        ({"price": np.array([[1.0, 2.0]])}, {"price": 1}),
        ({"brand": np.array([b"\xff"], object), "is_new": np.array([3.5])}, {"brand": 0, "is_new": 0}),
        ({"brand": np.array([float("nan")], object)}, {"brand": 1}),
        ({"brand": np.array(["\ud800"], object)}, {"brand": 0}),
        ({"since": np.array(["2020-01-01T00:00:00Z"], object)}, {"since": 0}),
        ({"since": np.array(["yesterday"], object)}, {"since": 1}),
        ({"since": np.array(["NaT"], "datetime64[us]")}, {"since": 1}),
        ({"tags": np.array([[1, 2, 3]])}, {"tags": 0}),
        ({"tags": np.array([5])}, {"tags": 1}),
        ({}, {"price": 1, "brand": 1, "tags": 1, "blob": 1}),
    ],
)
def test_what_does_not_fit_is_missing_and_breaks_nothing(arrays: dict[str, Any], nulls: dict[str, int]) -> None:
    store, rng = in_memory()[0], random.Random(0)
    profile = live_profile(store, "a")
    sound = dict.fromkeys(("price", "stock"), 0.5) | {"brand": "b", "is_new": True, "since": datetime(2020, 1, 1)}  # noqa: DTZ001
    profile.observe(MICROS, "champion", frame([{**sound, "tags": ["x"], "blob": b""}], rng))
    columns = {**arrays, "row": np.zeros(1)}
    profile.observe(MICROS, "champion", Payload("frame", tuple(columns), tuple(columns.values())))
    profile.observe(MICROS, "champion", tensor([[1.0]]))
    profile.flush(MICROS)
    found = hour_profiles(store, MODEL, MICROS, "sha256:ref")["champion"]
    assert found.rows == 2
    assert {name: found.columns[name].nulls for name in nulls} == nulls


def test_it_goes_on_where_it_was_and_keeps_what_was_counted_beside_another_champion() -> None:
    rng, store = random.Random(1), in_memory()[0]
    world = World(store, "a")
    world.profiles["a"] = live_profile(store, "a")
    world.restart("a")
    world.tell(attempt())
    world.clock.on(1)
    world.answer("a", inputs=frame([row(rng)], rng), variant="champion")
    world.flush()
    other = LiveProfile("a", store, MODEL, profiled([row(rng) for _ in range(99)]), "sha256:new")
    world.answer("a", inputs=frame([row(rng)], rng), variant="champion")
    world.replicas["a"].use_profile(other)
    for _ in range(3):
        world.answer("a", inputs=frame([row(rng)], rng), variant="canary")
    world.replicas["a"].close()
    assert {k: p.rows for k, p in hour_profiles(store, MODEL, MICROS, "sha256:ref").items()} == {"champion": 2}
    assert {k: p.rows for k, p in hour_profiles(store, MODEL, MICROS, "sha256:new").items()} == {"canary": 3}


def test_a_store_that_is_away_costs_nothing_for_an_hour_and_then_says_so() -> None:
    rng = random.Random(1)
    store, backend = in_memory()
    world = World(store, "a")
    world.profiles["a"] = profile = live_profile(store, "a")
    world.restart("a")
    backend.is_away = True
    world.clock.on(1)
    world.answer("a", inputs=frame([row(rng)], rng), variant="champion")
    world.flush()
    assert "store" in (world.replicas["a"].counts.trouble or "")
    backend.is_away = False
    world.flush()
    assert hour_profiles(store, MODEL, MICROS, "sha256:ref")["champion"].rows == 1
    backend.is_away = True
    for _ in range(4):
        world.answer("a", inputs=frame([row(rng)], rng), variant="champion")
        world.flush()
        world.clock.on(3600)
    assert profile.unwritten == 2


def test_there_is_room_for_so_many_rows() -> None:
    rng, store = random.Random(1), in_memory()[0]
    profile = live_profile(store, "a", room=10)
    for _ in range(8):
        profile.observe(MICROS, "champion", frame([row(rng)] * 3, rng))
    assert profile.lost == 5
    profile.flush(MICROS)
    profile.observe(MICROS, "champion", frame([row(rng)] * 3, rng))
    profile.close(MICROS)
    assert hour_profiles(store, MODEL, MICROS, "sha256:ref")["champion"].rows == 9


def test_a_damaged_profile_is_said_to_readers_and_begun_anew() -> None:
    rng, store = random.Random(1), in_memory()[0]
    key = "live/ranker/profile/2026-03-01T00/a"
    for content in (b"", b"[]", b'{"format": 2, "parts": {}}', b'{"format": 1, "parts": {"x": {"champion": {}}}}'):
        store.put(key, content)
        with pytest.raises(Damaged, match="no profile"):
            hour_profiles(store, MODEL, MICROS, "sha256:ref")
        profile = live_profile(store, "a")
        profile.observe(MICROS, "champion", frame([row(rng)], rng))
        profile.flush(MICROS)
        assert store.list("live") == [key]
        assert hour_profiles(store, MODEL, MICROS, "sha256:ref")["champion"].rows == 1
