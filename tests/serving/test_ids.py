"""Names of predictions."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from holdfast.serving.ids import PredictionIds


@given(st.lists(st.integers(0, 2**47), min_size=1, max_size=200))
def test_are_uuids_that_rise_whatever_the_clock_does(clock: list[int]) -> None:
    ids = PredictionIds()
    found = [ids.next(ms) for ms in clock]
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    for name in found:
        parsed = uuid.UUID(name)
        assert (str(parsed), parsed.version, parsed.variant) == (name, 7, uuid.RFC_4122)


def test_a_millisecond_with_more_ids_than_fit_borrows_from_the_next() -> None:
    ids = PredictionIds()
    found = [ids.next(1_700_000_000_000) for _ in range(10_000)]
    assert found == sorted(set(found))


def test_two_replicas_at_the_same_time_share_no_id() -> None:
    one, other = PredictionIds(), PredictionIds()
    assert not {one.next(5) for _ in range(5000)} & {other.next(5) for _ in range(5000)}
