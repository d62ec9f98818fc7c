from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from holdfast.evidence.bursts import burst_margins, first_of_stretch
from holdfast.stats.assignment import burst_log_evidence, share_of_error

FAULTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6), st.integers(0, 1)), max_size=60)


@given(FAULTS)
def test_a_unit_counts_once_a_stretch_at_its_first_fault(faults: list[tuple[int, int, int]]) -> None:
    times, units = (np.array([fault[k] for fault in faults], kind) for k, kind in ((0, np.float64), (1, np.uint64)))
    number = np.floor(times / 10).astype(np.int64)
    seen, expected = set(), []
    for place in sorted(range(len(faults)), key=lambda place: faults[place][0]):
        if (number[place], units[place]) not in seen:
            seen.add((number[place], units[place]))
            expected.append(place)
    assert first_of_stretch(times, units, number).tolist() == expected


@given(FAULTS)
def test_margins_are_the_evidence_of_the_stretch_so_far(faults: list[tuple[int, int, int]]) -> None:
    seconds = np.array([float(t) for t, _, _ in faults])
    units, arms = np.array([u for _, u, _ in faults], np.uint64), np.array([a for _, _, a in faults], np.int64)
    kept = first_of_stretch(seconds, units, np.floor(seconds / 10).astype(np.int64)).tolist()
    found_seconds, margins = burst_margins(seconds, units, arms, share=0.1, stretch=10.0, alpha=0.01)
    assert found_seconds.tolist() == [seconds[place] for place in kept]
    for k, place in enumerate(kept):
        stretch = seconds[place] // 10
        so_far = [arms[p] for p in kept[: k + 1] if seconds[p] // 10 == stretch]
        canary, champion = so_far.count(1), so_far.count(0)
        expected = float(burst_log_evidence(canary, champion, 0.1)) + math.log(
            0.01 * float(share_of_error(stretch + 1))
        )
        assert margins[k] == (expected if canary >= 5 else -math.inf) or math.isclose(margins[k], expected)


def test_many_faults_are_no_trouble() -> None:
    rng = np.random.default_rng(0)
    seconds, units = rng.random(200_000) * 3600, rng.integers(0, 2**64, 200_000, dtype=np.uint64)
    found, _ = burst_margins(seconds, units, (units % 2).astype(np.int64), share=0.5, stretch=60.0, alpha=0.01)
    assert len(found) == 200_000


def test_without_error_to_spend_no_burst_is_ever_shown() -> None:
    seconds, units = np.arange(20.0), np.arange(20, dtype=np.uint64)
    _, margins = burst_margins(seconds, units, np.ones(20, np.int64), share=0.1, stretch=60.0, alpha=0.0)
    assert (margins == -np.inf).all()
