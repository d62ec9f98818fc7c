from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from holdfast.evidence.sample import CAPACITY, LEVELS, UnitSample, at_level, level_for, levels_of, unit_counts

# Hashes of every size, so that many have leading zero bits.
HASHES = st.integers(0, 63).flatmap(lambda bits: st.integers(0, 2**64 - 1).map(lambda one: one >> bits))
UNITS = st.lists(st.tuples(HASHES, st.integers(1, 3)), max_size=60)


def sample(units: list[tuple[int, int]], capacity: int = 8) -> UnitSample:
    hashes, arms = np.array([h for h, _ in units], np.uint64), np.array([a for _, a in units], np.uint8)
    return UnitSample.empty(capacity).with_units(hashes, arms)


def content(found: UnitSample) -> tuple[int, dict[int, int]]:
    return found.level, dict(zip(found.hashes.tolist(), found.arms.tolist(), strict=True))


@given(UNITS)
def test_a_sample_holds_the_units_of_the_lowest_level_that_fits(units: list[tuple[int, int]]) -> None:
    met: dict[int, int] = {}
    for unit, arms in units:
        met[unit] = met.get(unit, 0) | arms
    for level in range(LEVELS):
        inside = {unit: arms for unit, arms in met.items() if unit < 1 << (64 - level)}
        if len(inside) <= 8 or level == LEVELS - 1:
            break
    assert content(sample(units)) == (level, inside)
    assert (np.diff(sample(units).hashes.astype(float)) >= 0).all()


@given(UNITS, UNITS, UNITS)
def test_merging_is_associative_and_commutative(
    some: list[tuple[int, int]], more: list[tuple[int, int]], most: list[tuple[int, int]]
) -> None:
    a, b, c = sample(some), sample(more), sample(most)
    whole = content(sample([*some, *more, *most]))
    assert content(a.merged(b).merged(c)) == content(a.merged(b.merged(c))) == content(c.merged(b).merged(a)) == whole


@given(UNITS)
def test_counts_are_those_of_the_units_in_the_sample(units: list[tuple[int, int]]) -> None:
    found = sample(units)
    counts = found.counts()
    arms = found.arms.tolist()
    if found.level < LEVELS - 1:
        assert counts.level.tolist() == [found.level]
        assert counts.sampled.tolist() == [[sum(bool(a & 1) for a in arms), sum(bool(a & 2) for a in arms)]]
        assert counts.crossed.tolist() == [arms.count(3)]
        assert counts.units.tolist() == [[n * 2.0**found.level for n in counts.sampled[0]]]


def test_few_units_are_exact_and_many_are_estimated_well() -> None:
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**64, 500_000, dtype=np.uint64)
    arms = np.where(hashes % np.uint64(20) == 0, 2, 1).astype(np.uint8)
    few = UnitSample.empty().with_units(hashes[:CAPACITY], arms[:CAPACITY])
    assert few.level == 0 and len(few) == CAPACITY
    many = UnitSample.empty().with_units(hashes, arms)
    assert CAPACITY / 3 < len(many) <= CAPACITY
    units = many.counts().units[0]
    np.testing.assert_allclose(units, [475_000, 25_000], rtol=0.06)


def test_levels() -> None:
    hashes = np.array([2**64 - 1, 2**63, 2**63 - 1, 2**62, 1, 0], np.uint64)
    assert levels_of(hashes).tolist() == [0, 0, 1, 1, LEVELS - 1, LEVELS - 1]
    assert at_level(hashes, 1).tolist() == [False, False, True, True, True, True]
    assert at_level(hashes, 0).all()
    assert level_for(np.array([[5.0, 3.0, 2.0], [5.0, 5.0, 5.0]]), 3).tolist() == [1, 2]


def test_levels_below_the_one_that_was_reached_are_never_chosen() -> None:
    met = np.zeros((1, 2, LEVELS), np.int64)
    met[0, 0, 3] = 5
    assert unit_counts(met, np.zeros((1, LEVELS), np.int64), 2).level.tolist() == [2]
