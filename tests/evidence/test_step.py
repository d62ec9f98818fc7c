from __future__ import annotations

import dataclasses
import itertools
import random
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.evidence import _index, _meetings, _segments, _threads, books, contributions, firsts
from holdfast.evidence.closed import closed_sums
from holdfast.evidence.sample import UnitSample
from holdfast.evidence.step import Step
from holdfast.evidence.sums import Evidence
from tests.evidence import reference
from tests.evidence.logs import BEGIN, MEASURES, SECONDS, cleaned, make
from tests.evidence.reference import US, Row

SHARE, STRETCH, ALPHA = 0.4, 60.0, 0.5
LOOK = 10


def new_step(*, keep: bool = False, memory: float = 1000.0) -> Step:
    return Step(
        MEASURES,
        SHARE,
        BEGIN,
        burst_seconds=STRETCH,
        burst_alpha=ALPHA,
        closing=[120.0, 240.0, 300.0],
        window_seconds=50.0,
        keep=keep,
        memory_seconds=memory,
    )


def agrees(evidence: Evidence, k: int, expected: reference.Look) -> None:
    assert evidence.requests[k].tolist() == expected.requests
    assert evidence.units[k].tolist() == evidence.sampled[k].tolist() == expected.units
    assert evidence.crossed[k] == expected.crossed
    for name in MEASURES:
        sums = evidence.sums[name]
        np.testing.assert_allclose(sums.total[k], expected.total[name], atol=1e-9)
        np.testing.assert_array_equal(sums.mass[k], expected.mass[name])
        missing = np.zeros_like(sums.mass[k]) if sums.missing is None else sums.missing[k]
        np.testing.assert_array_equal(missing, expected.missing[name])
        assert evidence.open[name][k].tolist() == expected.open[name]


def all_fates(rows: list[Row], outcomes: list[Row]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    seen = [row for row in reference.clean_rows(rows) if BEGIN <= row["time"] <= BEGIN + SECONDS * US]
    for measure in MEASURES.values():
        if measure.source == "outcome":
            found |= reference.fates(measure, seen, outcomes)
    return found


def cuts(rng: random.Random, end: int) -> list[tuple[int, int, int]]:
    """(begin, looks, seconds a look) of blocks from 0 to `end`, all at multiples of LOOK."""
    found, begin = [], 0
    while begin < end:
        looks = min(rng.choice([1, 1, 2, 5, 30]), (end - begin) // LOOK)
        found.append((begin, looks, LOOK))
        begin += looks * LOOK
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_every_look_is_what_the_reference_says_however_the_log_is_fed_and_asked(seed: int) -> None:
    """Rows and outcomes come in any order and in any pieces, but each before the block that covers its moment."""
    rng = random.Random(seed)
    rows, outcomes = make(seed)
    blocks = cuts(rng, SECONDS)
    feeds: dict[int, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for kind, log in enumerate((rows, outcomes)):
        for row in log:
            moment = ((row["time"] or BEGIN) - BEGIN) / US
            last = next(
                (k for k, (begin, looks, look) in enumerate(blocks) if moment <= begin + looks * look), len(blocks) - 1
            )
            feeds[rng.randint(0, last)][kind].append(row)
    step, fed_rows, fed_outcomes = new_step(keep=rng.random() < 0.5), [], []
    looks = []
    for number, block in enumerate(blocks):
        for part in range(pieces := rng.choice([1, 2])):
            some = [log[part::pieces] for log in feeds[number]]
            step.feed(*cleaned(*some))
            fed_rows += some[0]
            fed_outcomes += some[1]
        looks.append((block, step.block(*block)))
    ends = [BEGIN + (begin + (k + 1) * look) * US for (begin, count, look), _ in looks for k in range(count)]
    bursts = reference.bursts(fed_rows, BEGIN, ends, share=SHARE, stretch=STRETCH, alpha=ALPHA)
    found = [(evidence, k) for (_, count, _), evidence in looks for k in range(count)]
    for (evidence, k), end, burst in zip(found, ends, bursts, strict=True):
        agrees(evidence, k, reference.look(fed_rows, fed_outcomes, MEASURES, BEGIN, end))
        assert evidence.seconds[k] == (end - BEGIN) / US
        assert evidence.burst[k] == pytest.approx(burst)
    expected = all_fates(fed_rows, fed_outcomes)
    assert {k: list(v) for k, v in step.left_out.items() if ":" in k} == {k: v for k, v in expected.items() if any(v)}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_what_comes_late_is_never_lost_and_never_counted_twice(seed: int) -> None:
    """Rows and outcomes are fed at any block at all; at the end everything is as if all had come in time."""
    rng = random.Random(seed)
    rows, outcomes = make(seed, repeats=False)
    blocks = cuts(rng, SECONDS)
    step, order = new_step(), list(range(len(blocks)))
    row_feeds = [rng.choice(order) for _ in rows]
    outcome_feeds = [rng.choice(order) for _ in outcomes]
    came: list[Row] = []
    for number, block in enumerate(blocks):
        some = [row for row, at in zip(rows, row_feeds, strict=True) if at == number]
        marks = [outcome for outcome, at in zip(outcomes, outcome_feeds, strict=True) if at == number]
        came += marks
        step.feed(*cleaned(some, marks))
        evidence = step.block(*block)
    agrees(evidence, -1, reference.look(rows, came, MEASURES, BEGIN, BEGIN + SECONDS * US))
    assert {k: list(v) for k, v in step.left_out.items() if ":" in k} == all_fates(rows, came)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_closed_units_are_what_the_reference_says(seed: int) -> None:
    rows, outcomes = make(seed)
    step = new_step(keep=True)
    half = len(rows) // 2
    step.feed(*cleaned(rows[:half], outcomes))
    step.feed(*cleaned(rows[half:], []))
    clean, marks, _ = cleaned(rows, outcomes)
    for number, (begin, end) in enumerate(itertools.pairwise([0, 120, 240, 300])):
        step.block(begin, (end - begin) // LOOK, LOOK)
        closed = step.closed(number)
        scanned = closed_sums(clean, marks, MEASURES, begin_micros=BEGIN, seconds=float(end), window_seconds=50.0)
        total, mass, units = reference.closed(rows, outcomes, MEASURES, BEGIN, BEGIN + end * US, 50 * US)
        for found in (closed, scanned):
            assert found.seconds == end
            np.testing.assert_array_equal(found.units, units)
            for name in MEASURES:
                np.testing.assert_allclose(found.sums[name].total, total[name], atol=1e-9)
                np.testing.assert_array_equal(found.sums[name].mass, mass[name])


def test_the_sample_at_every_look_is_that_of_the_units_so_far() -> None:
    """With room for 50 units it has to climb in the middle of blocks, and the blocks must not matter."""
    rows, _ = make(5, 3000, repeats=False)
    rows = [row | {"unit": row["unit"] and f"{row['unit']}-{k % 400}"} for k, row in enumerate(rows)]
    clean, _, _ = cleaned(rows, [])
    every = []
    for looks in (1, 7, 30):
        step = new_step()
        step._now = dataclasses.replace(step._now, sample=UnitSample.empty(50))
        step.feed(clean)
        found = []
        for begin in range(0, SECONDS, LOOK * looks):
            evidence = step.block(begin, min(looks, (SECONDS - begin) // LOOK), LOOK)
            found += list(
                zip(evidence.sampled.tolist(), evidence.level.tolist(), evidence.crossed.tolist(), strict=True)
            )
        every.append(found)
    assert every[0] == every[1] == every[2]
    assert every[0][0][1] < every[0][-1][1]
    for k, (sampled, level, crossed) in enumerate(every[0]):
        now = BEGIN + (k + 1) * LOOK * US
        met = defaultdict(set)
        for row in reference.clean_rows(rows):
            if BEGIN <= row["time"] <= now and reference.hashed(row["unit"]) < 1 << (64 - level):
                met[row["unit"]].add(reference.ARM[row["variant"]])
        assert sampled == [sum(arm in arms for arms in met.values()) for arm in (0, 1)]
        assert crossed == sum(len(arms) == 2 for arms in met.values())
        assert len(met) <= 50


@pytest.mark.parametrize("seed", range(8))
def test_long_logs_go_piece_by_piece_and_nothing_changes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few rows, and several threads, do what one chunk does."""
    rows, outcomes = make(seed, 400)
    found = []
    for small in (False, True):
        if small:
            for module in (_meetings, books, contributions):
                monkeypatch.setattr(module, "CHUNK", 7)
            for module, name, value in (
                (books, "_STRETCH", 20),
                (firsts, "_CHUNK", 5),
                (_index, "_FEW", 3),
                (_index, "_LOOKED_UP", 64),
                (_index, "_PART", 16),
                (_threads, "_MANY_ROWS", 10),
                (_segments, "LARGEST", 90),
            ):
                monkeypatch.setattr(module, name, value)
            monkeypatch.setattr(_threads, "_cores", lambda: 3)
        step = new_step(keep=True)
        evidence = []
        for part, block in enumerate([(0, 1, 100), (100, 10, 10), (200, 1, 100)]):
            step.feed(*cleaned(rows[part::3], outcomes[part::3]))
            evidence.append(step.block(*block))
        found.append((evidence, [step.closed(number) for number in range(3)], step.left_out, step.summary()))
    (evidence, closed, left_out, summary), (others, other_closed, other_left_out, other_summary) = found
    for a, b in zip(evidence, others, strict=True):
        np.testing.assert_array_equal(a.burst, b.burst)
        np.testing.assert_array_equal(a.sampled, b.sampled)
        np.testing.assert_array_equal(a.crossed, b.crossed)
        for name in MEASURES:
            np.testing.assert_allclose(a.sums[name].total, b.sums[name].total, atol=1e-9)
            np.testing.assert_array_equal(a.sums[name].mass, b.sums[name].mass)
    for one, other in zip(closed, other_closed, strict=True):
        np.testing.assert_array_equal(one.units, other.units)
        for name in MEASURES:
            np.testing.assert_allclose(one.sums[name].total, other.sums[name].total, atol=1e-9)
    assert left_out == other_left_out
    assert summary.sample.hashes.tolist() == other_summary.sample.hashes.tolist()


def request(number: int, second: float, unit: str, *, variant: str = "canary", fault: str | None = None) -> Row:
    return {
        "prediction_id": f"r{number}",
        "time": BEGIN + round(second * US),
        "variant": variant,
        "unit": unit,
        "latency_ms": 1.0,
        "fault": fault,
        "override": None,
    }


def outcome(row: Row, after: float, name: str, value: float) -> Row:
    return {
        "prediction_id": row["prediction_id"],
        "time": row["time"] + round(after * US),
        "name": name,
        "value": value,
    }


def test_faults_that_come_to_light_late_have_their_stretch_judged_again() -> None:
    """Four units' faults are no burst; the fifth, of the same minute, is seen a look later."""
    faults = [request(k, 10 + k, f"u{k}", fault="x") for k in range(5)]
    step = new_step()
    step.feed(*cleaned(faults[:4], []))
    assert (step.block(0, 2, 30).burst == -np.inf).all()
    step.feed(*cleaned([faults[4], request(9, 70, "u9", fault="x")], []))
    late = step.block(60, 3, 10)
    whole = reference.bursts(faults, BEGIN, [BEGIN + 60 * US], share=SHARE, stretch=STRETCH, alpha=ALPHA)
    assert late.burst.tolist() == [pytest.approx(whole[0]), -np.inf, -np.inf] and np.isfinite(whole[0])
    step.block(90, 10, 10)
    step.feed(*cleaned([request(5, 20, "u5", fault="x")], []))
    assert (step.block(190, 1, 10).burst == -np.inf).all()


def test_within_says_whether_every_value_so_far_lies_between_0_and_1() -> None:
    step = new_step()
    rows = [request(k, float(k), f"u{k}") for k in range(3)]
    values = (1.0, 1.5, 0.5)
    step.feed(*cleaned(rows, [outcome(row, 0, "click", value) for row, value in zip(rows, values, strict=True)]))
    found = [step.block(*block).sums["click"].within for block in ((0, 1, 30), (30, 1, 1), (31, 1, 1), (32, 1, 100))]
    assert found == [True, False, False, False]
    assert step.summary().evidence().sums["click"].within is False


def test_a_unit_counts_once_a_stretch_over_all_blocks() -> None:
    step = new_step()
    for second in range(0, 50, 10):
        step.feed(*cleaned([request(second, second + 5, "same", fault="x")], []))
        assert (step.block(second, 1, 10).burst == -np.inf).all()
    assert len(step.summary().faults) == 1


def test_blocks_must_be_asked_for_in_order() -> None:
    step = new_step()
    step.block(0, 2, LOOK)
    for begin in (0, 10, 30):
        with pytest.raises(ValueError, match="begins at second 20"):
            step.block(begin, 1, LOOK)
    with pytest.raises(ValueError, match="keep=True"):
        step.closed(0)
    with pytest.raises(ValueError, match="no block has reached"):
        new_step(keep=True).closed(0)


def test_memory_does_not_grow_with_the_step_and_what_comes_too_late_is_counted() -> None:
    step = new_step(memory=20.0)
    for second in range(0, 1000, 10):
        rows = [request(10 * second + k, second + k / 100, f"u{k}") for k in range(5)]
        outcomes = [{"prediction_id": "nobody", "time": BEGIN + second * US, "name": "click", "value": 1.0}]
        step.feed(*cleaned(rows, outcomes))
        step.block(second, 1, 10)
    kept = sum(len(segment) for segment in step._requests.looked_at)
    assert kept <= 5 * 20
    assert len(step._requests.waiting["click"]) <= 20
    assert step.left_out["unknown:click"] == (0, 0, 100)
    step.feed(*cleaned([rows[0] | {"prediction_id": "late", "time": BEGIN}, rows[0]], []))
    evidence = step.block(1000, 1, 10)
    assert step.left_out["too_late"] == (0, 1, 0) and step.left_out["duplicate"] == (0, 1, 0)
    assert evidence.requests[-1].tolist() == [0, 500]


def test_what_is_too_old_is_let_go_of_soon() -> None:
    """However small pieces are put together: hardly more than the requests of the memory are held."""
    step = new_step(memory=200.0)
    needed = 200.0 + step._requests.frame.longest / US
    for second in range(0, 3000, 10):
        step.feed(*cleaned([request(10 * second + k, second + k / 100, f"u{k}") for k in range(20)], []))
        step.block(second, 1, 10)
        assert sum(len(segment) for segment in step._requests.looked_at) <= 20 * (1.25 * needed / 10 + 2)


def test_nothing_fed_is_no_evidence() -> None:
    step = new_step(keep=True)
    evidence = step.block(0, 30, LOOK)
    assert evidence.requests.sum() == 0 and (evidence.burst == -np.inf).all()
    assert step.closed(2).units.sum() == 0
