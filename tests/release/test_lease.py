"""Who may act: one of any number, over a folder and a bucket, whatever the clocks say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from holdfast.release.lease import Lease
from holdfast.store import Store, open_store


class Time:
    """A wall clock that is `ahead` of the monotonic one."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.now, self.ahead = 0.0, ahead

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.ahead


def lease(store: Store, name: str, time: Time, patience: float = 6.0) -> Lease:
    return Lease(store, "ranker", name, patience=patience, monotonic=time, wall=time.wall)


def test_the_first_one_has_it_and_keeps_it(any_store_url: str) -> None:
    store, time = open_store(any_store_url), Time()
    first, second = lease(store, "a", time), lease(store, "b", time)
    assert first.hold() == 1
    for _ in range(30):
        time.now += 1
        assert first.hold() == 1
        assert second.hold() is None


def test_another_takes_over_when_the_beat_stands_still(any_store_url: str) -> None:
    store, time = open_store(any_store_url), Time()
    first, second = lease(store, "a", time), lease(store, "b", time)
    first.hold()
    assert second.hold() is None
    time.now += 5.9
    assert second.hold() is None
    time.now += 0.2
    assert second.hold() == 2
    assert second.idle_before is not None
    assert abs(second.idle_before - 6.1) < 1e-9
    assert first.hold() is None  # it was only asleep
    assert first.token is None


def test_a_clock_that_is_behind_the_dead_ones_does_not_make_the_gap_shorter() -> None:
    store, time = open_store("memory://"), Time(ahead=3600.0)
    first = lease(store, "a", time)
    first.hold()
    other = Time()
    second = lease(store, "b", other)
    assert second.hold() is None
    other.now += 40.0
    assert second.hold() == 2
    assert second.idle_before == 40.0


def test_letting_go_lets_another_act_at_once() -> None:
    store, time = open_store("memory://"), Time()
    first, second = lease(store, "a", time), lease(store, "b", time)
    first.hold()
    time.now += 50
    first.release()
    time.now += 30
    assert second.hold() == 2
    assert second.idle_before == 30.0
    first.release()  # it has nothing to let go of any more
    assert second.hold() == 2


def test_of_many_racers_exactly_one_has_a_token(any_store_url: str) -> None:
    store = open_store(any_store_url)
    racers = [lease(store, str(n), Time()) for n in range(12)]
    with ThreadPoolExecutor(12) as pool:
        held = [token for token in pool.map(lambda racer: racer.hold(), racers) if token is not None]
    assert held == [1]


def test_a_damaged_beat_is_a_beat_that_stands_still() -> None:
    store, time = open_store("memory://"), Time()
    first, second = lease(store, "a", time), lease(store, "b", time)
    first.hold()
    store.put("leases/ranker/00000001.beat", b"\xff not json")
    assert second.hold() is None
    time.now += 7
    assert second.hold() == 2
    assert second.idle_before is None


def test_old_tokens_are_cleared_away() -> None:
    store, time = open_store("memory://"), Time()
    for n in range(5):
        one = lease(store, str(n), time)
        one.hold()
        one.release()
    assert len(store.list("leases/ranker/")) <= 4
