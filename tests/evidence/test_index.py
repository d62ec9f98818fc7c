from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.evidence import _index
from holdfast.evidence._index import Index, time_order

# Small numbers share their leading bits, so that they are told apart by the rest only.
IDS = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**64 - 1), st.integers(2**40, 2**40 + 20)), max_size=60)


@pytest.fixture(params=["few", "many"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as it is for few ids, and once by the way that millions go."""
    if request.param == "many":
        for name, value in {"_FEW": 0, "_LOOKED_UP": 16, "_PART": 4}.items():
            monkeypatch.setattr(_index, name, value)


@pytest.mark.usefixtures("pieces")
@given(IDS, IDS)
def test_ids_are_found_where_they_stand_first(ids: list[int], wanted: list[int]) -> None:
    expected = [ids.index(one) if one in ids else -1 for one in [*wanted, *ids]]
    found = Index(np.array(ids, np.uint64)).find(np.array([*wanted, *ids], np.uint64))
    assert found.tolist() == expected


@pytest.mark.usefixtures("pieces")
@given(IDS)
def test_repeats_are_the_rows_with_an_id_that_was_there(ids: list[int]) -> None:
    expected = [one in ids[:place] for place, one in enumerate(ids)]
    found = Index(np.array(ids, np.uint64)).repeats()
    assert (found is None and not any(expected)) or (found is not None and found.tolist() == expected)


@given(st.lists(st.one_of(st.integers(0, 5), st.integers(-(2**62), 2**62)), max_size=40))
def test_the_order_of_time_is_stable(moments: list[int]) -> None:
    micros = np.array(moments, np.int64)
    order = time_order(micros)
    expected = np.argsort(micros, kind="stable").tolist()
    assert (list(range(len(moments))) if order is None else order.tolist()) == expected


def test_many_ids_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 2**64, 200_000, dtype=np.uint64)
    some = rng.integers(0, 200_000, 1000)
    for most in (1 << 21, 1000):  # with a sieve, and without
        monkeypatch.setattr(_index, "_SIEVED", most)
        assert (Index(ids).find(ids[some]) == some).all()
        assert (Index(ids).find(ids[some] + np.uint64(1)) == -1).all()
    places = rng.permutation(200_000)
    assert (Index(ids).find(ids[places]) == places).all()
    assert (Index(ids).find(rng.integers(0, 2**64, 200_000, dtype=np.uint64)) == -1).all()
