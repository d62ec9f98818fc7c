"""A burst of faults of different units opens it; the release after it closes it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.serving.breaker import Breaker

times = st.lists(st.tuples(st.integers(0, 6), st.floats(0, 100)), max_size=40)


def made(faults: int = 3, window: float = 10.0) -> Breaker:
    breaker = Breaker(faults, window)
    breaker.follow("r1")
    return breaker


def test_opens_at_faults_of_different_units_within_the_window() -> None:
    breaker = made()
    assert [breaker.fault(unit, "raised", at) for unit, at in (("a", 0), ("b", 5), ("c", 9))] == [False, False, True]
    assert breaker.is_open and breaker.reason is not None
    assert "3 units" in breaker.reason and "10 s" in breaker.reason and "raised" in breaker.reason
    assert not breaker.fault("d", "raised", 9.5), "it opens once"


def test_one_unit_that_repeats_itself_opens_nothing_and_hides_nobody() -> None:
    breaker = made()
    assert not breaker.fault("a", "raised", 0)
    assert not any(breaker.fault("b", "raised", number / 1000) for number in range(5000))
    assert breaker.fault("c", "raised", 6)


def test_faults_that_are_too_far_apart_open_nothing() -> None:
    breaker = made()
    assert not any(breaker.fault(number, "timed_out", 6.0 * number) for number in range(100))


def test_a_new_release_closes_it_and_a_new_share_or_a_lost_lease_does_not() -> None:
    breaker = made()
    for unit in "abc":
        breaker.fault(unit, "died", 0)
    breaker.follow("r1")
    breaker.follow(None)
    breaker.follow("r1")
    assert breaker.is_open
    breaker.follow("r2")
    assert not breaker.is_open
    assert not breaker.fault("d", "died", 0.1), "what the last release did does not count"


@given(times)
def test_is_open_iff_some_window_holds_enough_units(found: list[tuple[int, float]]) -> None:
    found = sorted(found, key=lambda entry: entry[1])
    breaker = made()
    opened = [breaker.fault(unit, "raised", at) for unit, at in found]
    for place in range(len(found)):
        now = found[place][1]
        latest = {unit for unit, at in found[: place + 1] if now - 10.0 <= at}
        if len(latest) >= 3:
            assert opened.index(True) == place
            return
    assert not any(opened)
