"""The sum of the replicas' summaries is what the log says, whatever happened on the way."""

from __future__ import annotations

import dataclasses
import random
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import OutsideError, UserError
from holdfast.evidence._files import Appended
from holdfast.evidence.delta import open_tables
from holdfast.evidence.delta_log import DeltaLog
from holdfast.evidence.log import Position
from holdfast.evidence.summary import Summary
from holdfast.release.summaries import step_key
from holdfast.serving.live import LiveEvidence
from holdfast.store import Store, open_store
from holdfast.store.backend import Folder
from holdfast.verdict import utc_text
from tests.evidence.test_summary import same
from tests.serving.live.replicas import BEGIN, MODEL, OUTCOMES, PREDICTIONS, World, attempt


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


class Memory(Folder):
    """A store without a disk, so that many examples are quick."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.is_away = False

    def get(self, key: str) -> bytes | None:
        self._reach()
        return self.objects.get(key)

    def put(self, key: str, data: bytes) -> None:
        self._reach()
        self.objects[key] = data

    def put_if_absent(self, key: str, data: bytes) -> bool:
        self._reach()
        return self.objects.setdefault(key, data) is data

    def list(self, prefix: str) -> list[str]:
        self._reach()
        return sorted(key for key in self.objects if key.startswith(prefix))

    def _reach(self) -> None:
        if self.is_away:
            raise OSError("away")


def in_memory() -> tuple[Store, Memory]:
    backend = Memory()
    return Store(backend, "memory"), backend


def agree(live: Summary, logged: Summary) -> None:
    same(live.evidence(100.0), logged.evidence(100.0))
    assert live.evidence().burst == pytest.approx(logged.evidence().burst)
    nobodys = {reason for reason in logged.left_out if reason.startswith("unknown:")}
    both = {
        reason for reason in {*live.left_out, *logged.left_out} if not reason.startswith(("unknown", "no_", "over"))
    }
    assert {reason: live.left_out.get(reason) for reason in both} == {r: logged.left_out.get(r) for r in both}
    assert {reason for reason in live.left_out if reason.startswith("unknown:")} <= nobodys


def lived(world: World, rng: random.Random, happenings: int, *, crashes: bool = True) -> None:
    """Time passes, users come, outcomes arrive in any order and more than once, replicas flush when they like, or die."""
    names = sorted(world.replicas)
    for _ in range(happenings):
        what, name = rng.random(), rng.choice(names)
        if what < 0.55:
            world.answer(name)
        elif what < 0.75 and world.answered:
            world.outcome(rng.choice(world.answered[-60:]))
        elif what < 0.85:
            world.clock.on(rng.choice([0.1, 0.4, 1.0, 7.3]))
        elif what < 0.93:
            world.replicas[name].flush()
        elif what < 0.96:
            world.hand_over(name)
        elif crashes:
            world.restart(name)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 3))
def test_the_same_numbers_come_out_of_the_log(seed: int, replicas: int) -> None:
    the_same_numbers(seed, replicas)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 3))
def test_the_same_numbers_come_out_of_the_log_very_often(seed: int, replicas: int) -> None:
    the_same_numbers(seed, replicas)


def the_same_numbers(seed: int, replicas: int) -> None:
    rng = random.Random(seed)
    world = World(in_memory()[0], "abc"[:replicas], seed)
    world.tell(None)
    lived(world, rng, 10)
    world.tell(attempt(since=None))
    lived(world, rng, 20)  # under the new routing, which nobody has confirmed
    world.clock.on(1)
    now = attempt(since=utc_text(world.clock()))
    world.tell(now)
    lived(world, rng, 250)
    world.clock.on(2)
    world.flush()
    agree(world.sum(now), world.logged(now))
    world.clock.on(100)  # everything is final
    world.flush()
    agree(world.sum(now), world.logged(now))


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10**9))
def test_nothing_is_pooled_over_steps(seed: int) -> None:
    rng = random.Random(seed)
    world = World(in_memory()[0], "ab", seed)
    world.tell(attempt())
    first, second = attempt(), None
    lived(world, rng, 100)
    world.flush()
    before = {name: summary.to_bytes() for name, summary in world.summaries(first).items()}
    world.tell(attempt(step=1, shifted=11, since=None, share=0.4))
    lived(world, rng, 20)
    second = attempt(step=1, shifted=11, since=utc_text(world.clock()), share=0.4)
    world.tell(second)
    lived(world, rng, 100)
    world.clock.on(2)
    world.flush()
    agree(world.sum(second), world.logged(second))
    assert {name: summary.to_bytes() for name, summary in world.summaries(first).items()} == before


def test_a_replica_that_is_gone_goes_on_counting(store: Store) -> None:
    world = World(store, "ab")
    world.tell(attempt())
    world.clock.on(1)
    for name in "ab":
        world.answer(name, fault=None, override=False, unit="u", outputs=[1])
    world.clock.on(2)
    world.flush()
    del world.replicas["a"]
    world.clock.on(30)
    world.answer("b", override=False, unit="u", outputs=[1])
    world.clock.on(2)
    world.flush()
    assert world.sum(attempt()).evidence().requests.sum() == 3


def test_outcomes_of_other_replicas_take_no_room(store: Store) -> None:
    world = World(store, "ab")
    world.tell(attempt())
    world.clock.on(1)
    record = world.answer("a", override=False, outputs=[1])
    for _ in range(50):
        world.outcome(record, 1, name="click", value=1.0, row=None)
    world.outcome(record, 1, name="click", prediction_id="nobody")
    world.clock.on(90)
    world.flush()
    assert not world.summaries(attempt())["b"].left_out
    assert world.summaries(attempt())["a"].left_out.total("duplicate:outcomes.click") == 49


def test_while_the_store_is_away_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    store, backend = in_memory()
    world = World(store, "a")
    world.tell(attempt())
    backend.is_away = True
    for _ in range(5):
        world.answer("a")
        world.clock.on(2)
        world.flush()
    replica = world.replicas["a"]
    assert replica.counts.failed == 5 and replica.counts.written == 0
    assert "could not be written" in (replica.counts.trouble or "")
    assert len(caplog.records) == 1, "said once"
    backend.is_away = False
    world.flush()
    assert replica.counts.trouble is None
    agree(world.sum(attempt()), world.logged(attempt()))


def test_while_outcomes_cannot_be_read_nothing_is_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(store, "a")
    world.tell(attempt())
    record = world.answer("a", override=False)
    world.clock.on(2)
    world.flush()
    until = world.sum(attempt()).until

    def away(after: object) -> None:
        raise OutsideError("the log is away.")

    with monkeypatch.context() as patched:
        patched.setattr(world.log, "read", away)
        world.outcome(record, 1, name="click", value=1.0)
        world.clock.on(60)
        world.flush()
        assert world.replicas["a"].counts.trouble == "the log is away."
        assert world.sum(attempt()).until == until
    world.flush()
    agree(world.sum(attempt()), world.logged(attempt()))


@pytest.mark.parametrize("confirmed", [True, False])
def test_more_than_there_is_room_for_is_read_back_from_the_log(store: Store, *, confirmed: bool) -> None:
    world = World(store, "a")
    world.options["room"] = 40
    world.restart("a")
    world.tell(None)
    world.tell(attempt() if confirmed else attempt(since=None))
    for _ in range(100):
        world.answer("a")
    world.clock.on(2)
    if not confirmed:
        world.flush()
        world.tell(attempt())
    world.flush()
    replica = world.replicas["a"]
    assert replica.lost == 60 and replica.counts.read_back == 1
    agree(world.sum(attempt()), world.logged(attempt()))
    world.answer("a")
    world.clock.on(2)
    world.flush()
    assert replica.counts.read_back == 1
    agree(world.sum(attempt()), world.logged(attempt()))


def test_nothing_is_flushed_before_the_log_was_read_back(store: Store) -> None:
    """The segments cannot be handed over: what was flushed before the crash stays as it is."""
    world = World(store, "a")
    world.tell(attempt())
    world.answer("a")
    world.clock.on(2)
    world.flush()
    before = world.sum(attempt()).to_bytes()

    def fail() -> None:
        raise OutsideError("the segments cannot be handed over.")

    replica = LiveEvidence("a", store, MODEL, world.log, settle=fail, clock=world.clock)
    replica.tell(attempt())
    world.clock.on(5)
    replica.flush()
    assert world.sum(attempt()).to_bytes() == before and replica.counts.failed == 1


def test_outcomes_that_were_passed_before_the_step_was_heard_of_are_read_again(store: Store) -> None:
    """The ledger was away for a minute: the step had begun, its first outcomes had come."""
    world = World(store, "a")
    world.tell(None)
    world.flush()
    world.tell(attempt(since=None))
    world.clock.on(70)
    since = utc_text(world.clock())
    world.clock.on(1)
    record = world.answer("a", override=False, unit="u", outputs=[1])
    world.outcome(record, 0.5, name="click", value=1.0, row=None)
    world.clock.on(60)
    world.flush()
    world.tell(attempt(since=since))
    world.flush()
    world.clock.on(30)
    world.flush()
    found = world.sum(attempt()).evidence()
    assert found.sums["outcomes.click"].total.sum() == 1
    assert world.replicas["a"].counts.read_back == 0


def test_what_is_read_back_and_observed_as_well_counts_once(store: Store) -> None:
    """A request is in the log a moment before it is observed, and the log may be read in between."""
    world = World(store, "a")
    world.tell(attempt())
    world.clock.on(1)
    record = world.answer("a", override=False)
    world.hand_over("a")
    world.restart("a")
    world.clock.on(2)
    world.flush()
    world.replicas["a"].observe(record)
    world.clock.on(2)
    world.flush()
    agree(world.sum(attempt()), world.logged(attempt()))
    assert not world.sum(attempt()).left_out.total("duplicate")


@pytest.mark.parametrize("jump", [-3600, 7200])
def test_a_clock_that_jumps_breaks_nothing(store: Store, jump: int) -> None:
    world = World(store, "a")
    world.tell(attempt())
    lived(world, random.Random(1), 50, crashes=False)
    world.clock.now = BEGIN + timedelta(seconds=jump)
    world.flush()
    world.clock.now = BEGIN + timedelta(seconds=600)
    lived(world, random.Random(2), 50, crashes=False)
    world.clock.on(2)
    world.flush()
    assert world.replicas["a"].counts.failed == 0
    live, logged = world.sum(attempt()).evidence(), world.logged(attempt()).evidence()
    np.testing.assert_array_equal(live.requests, logged.requests)


def test_hostile_units_count_as_in_the_log(store: Store) -> None:
    """Half a surrogate pair is a question mark there."""
    world = World(store, "a")
    world.tell(attempt())
    world.clock.on(1)
    record = world.answer("a", unit="u?", override=False, outputs=[1])
    world.replicas["a"].flush()
    world.replicas["a"].observe(dataclasses.replace(record, prediction_id="p-1", unit="u\ud800"))
    world.clock.on(2)
    world.flush()
    found = world.sum(attempt()).evidence()
    assert (found.units.sum(), found.requests.sum()) == (1, 2)


def test_the_thread_flushes_and_the_end_flushes_all(store: Store) -> None:
    world = World(store, "a")
    world.options["pause"] = 0.01
    world.restart("a")
    replica = world.replicas["a"]
    replica.tell(attempt())
    world.attempt = attempt()
    replica.start()
    written = threading.Event()
    while replica.counts.written < 3:
        written.wait(0.01)
    world.clock.on(0.5)
    world.answer("a", unit="u", override=False, outputs=[1], time=world.clock.micros)
    replica.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "holdfast-live"]
    summary = world.sum(attempt())
    assert summary.evidence().requests.sum() == 1


def test_names_and_keys(store: Store) -> None:
    assert step_key(MODEL, attempt()) == "live/ranker/r1-7"
    with pytest.raises(UserError, match="without '/'"):
        LiveEvidence("a/b", store, MODEL, World(store, "a").log)


class InDelta(DeltaLog):
    """The log as it is in production; rows are appended one by one."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, MODEL)
        self.tables = open_tables(store, MODEL)
        self.rows: dict[pa.Schema, list[dict[str, Any]]] = {PREDICTIONS: [], OUTCOMES: []}

    def appended(self, after: Position | None) -> tuple[Appended, Appended]:
        for table, (schema, rows) in zip(self.tables, self.rows.items(), strict=True):
            if rows:
                named = [{**row, "model": MODEL} for row in rows]
                kinds = [*schema, *([("model", pa.string())] if schema is PREDICTIONS else [])]
                table.refresh()
                assert table.commit(add=table.write(pa.Table.from_pylist(named, pa.schema(kinds))))
                rows.clear()
        return super().appended(after)


def test_the_same_numbers_come_out_of_the_delta_tables(store: Store) -> None:
    world = World(store, "ab", 5)
    world.log = InDelta(store)
    for name in "ab":
        world.restart(name)
    world.tell(None)
    world.flush()
    world.tell(attempt())
    lived(world, random.Random(5), 120)
    world.clock.on(2)
    world.flush()
    assert sum(replica.counts.failed for replica in world.replicas.values()) == 0
    assert any(replica.counts.read_back for replica in world.replicas.values())
    agree(world.sum(attempt()), world.logged(attempt()))
