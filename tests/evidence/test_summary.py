from __future__ import annotations

import dataclasses
import random
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import Damaged, UserError
from holdfast.evidence.measures import Measure
from holdfast.evidence.rows import Rows
from holdfast.evidence.sample import CAPACITY
from holdfast.evidence.step import Step
from holdfast.evidence.summary import Summary, merge
from holdfast.evidence.sums import Evidence
from tests.evidence.logs import BEGIN, MEASURES, SECONDS, cleaned, make
from tests.evidence.reference import Row


def new_step(share: float = 0.4) -> Step:
    return Step(MEASURES, share, BEGIN, burst_seconds=60.0, burst_alpha=0.5)


def same(a: Evidence, b: Evidence) -> None:
    for name in ("seconds", "units", "sampled", "level", "crossed", "requests"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name, sums in a.sums.items():
        others = b.sums[name]
        np.testing.assert_allclose(sums.total, others.total, atol=1e-9)
        np.testing.assert_array_equal(sums.mass, others.mass)
        assert (sums.missing is None) == (others.missing is None) and sums.within == others.within
        if sums.missing is not None:
            np.testing.assert_array_equal(sums.missing, others.missing)
        np.testing.assert_array_equal(a.open[name], b.open[name])


def seen(rows: list[Row], outcomes: list[Row], looks: int = 10) -> Step:
    """A step after `looks` looks, and all that it was fed."""
    step = new_step()
    step.feed(*cleaned(rows, outcomes))
    step.block(0, looks, SECONDS / looks)
    return step


def shares(rows: list[Row], outcomes: list[Row], replicas: int, seed: int) -> list[tuple[list[Row], list[Row]]]:
    """Each request with its outcomes at one replica."""

    def replica(identity: str | None) -> int:
        return zlib.crc32(f"{identity}{seed}".encode()) % replicas

    return [
        tuple([row for row in log if replica(row["prediction_id"]) == number] for log in (rows, outcomes))  # type: ignore[misc]
        for number in range(replicas)
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 5))
def test_replicas_add_up_to_what_one_would_have_seen(seed: int, replicas: int) -> None:
    rows, outcomes = make(seed)
    whole = seen(rows, outcomes)
    parts = [
        seen(*part, looks=random.Random(seed).choice([1, 10, 30])).summary()
        for part in shares(rows, outcomes, replicas, seed)
    ]
    random.Random(seed).shuffle(parts)
    merged = parts[0]
    for part in parts[1:]:
        merged = merge(merged, Summary.from_bytes(part.to_bytes()))
    same(merged.evidence(), whole.summary().evidence())
    assert merged.evidence().burst == pytest.approx(whole.summary().evidence().burst)
    assert merged.left_out == whole.left_out
    once = new_step()
    once.feed(*cleaned(rows, outcomes))
    same(merged.evidence(float(SECONDS)), once.block(0, 1, SECONDS).at(-1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9))
def test_merging_is_associative_and_commutative(seed: int) -> None:
    a, b, c = (seen(*part).summary() for part in shares(*make(seed), 3, seed))
    left, right, back = merge(merge(a, b), c), merge(a, merge(b, c)), merge(c, merge(b, a))
    for other in (right, back):
        same(left.evidence(), other.evidence())
        assert left.evidence().burst == other.evidence().burst
        assert left.left_out == other.left_out and left.until == other.until
        for name in ("micros", "unit", "arm"):
            np.testing.assert_array_equal(getattr(left.faults, name), getattr(other.faults, name))
    same(merge(a, Summary.empty(a.frame)).evidence(), a.evidence())


def test_faults_of_stretches_that_are_over_are_not_kept() -> None:
    """One replica is three minutes behind the other."""
    behind, ahead = new_step(), new_step()
    fault = {"variant": "canary", "unit": "u", "latency_ms": 1.0, "fault": "x", "override": None}
    behind.feed(*cleaned([{**fault, "prediction_id": "a", "time": BEGIN}], []))
    behind.block(0, 1, 10)
    ahead.feed(*cleaned([{**fault, "prediction_id": "b", "time": BEGIN + 185_000_000}], []))
    ahead.block(0, 1, 190)
    for merged in (merge(behind.summary(), ahead.summary()), merge(ahead.summary(), behind.summary())):
        assert merged.faults.micros.tolist() == [BEGIN + 185_000_000]


def test_merging_changes_neither_of_the_two() -> None:
    a, b = (seen(*part).summary() for part in shares(*make(1), 2, 1))
    before = a.to_bytes(), b.to_bytes()
    merge(a, b)
    assert (a.to_bytes(), b.to_bytes()) == before


def test_a_summary_survives_its_bytes_and_no_other() -> None:
    summary = seen(*make(2)).summary()
    content = summary.to_bytes()
    again = Summary.from_bytes(content)
    assert again.to_bytes() == content and again.size == len(content)
    same(again.evidence(), summary.evidence())
    for damaged in (b"", content[:-1], content[:1000], content[:700] + b"x" + content[701:], b"x" * 100):
        with pytest.raises(Damaged):
            Summary.from_bytes(damaged)


def test_a_summary_of_another_version_or_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.evidence import _packing, summary

    content = seen(*make(2)).summary()
    monkeypatch.setattr(summary, "VERSION", 2)
    later = content.to_bytes()
    monkeypatch.setattr(summary, "VERSION", 1)
    with pytest.raises(Damaged, match="of version 2: expected 1"):
        Summary.from_bytes(later)
    with pytest.raises(Damaged, match="lacks something"):
        Summary.from_bytes(_packing.packed({"version": 1}, {}))


def test_summaries_of_different_steps_do_not_add_up() -> None:
    with pytest.raises(UserError, match="different steps"):
        merge(new_step().summary(), new_step(0.5).summary())


def test_a_full_summary_of_eight_measures_is_below_half_a_megabyte() -> None:
    measures = {
        f"m{k}": Measure(name=f"m{k}", source="outcome", outcome=f"o{k}", delay=float(k), absent="missing")
        for k in range(8)
    }
    rng = np.random.default_rng(0)
    units = rng.integers(0, 2**64, 2 * CAPACITY, dtype=np.uint64)
    full = dataclasses.replace(
        Step(measures, 0.1, BEGIN).summary(),
        sample=new_step().summary().sample.with_units(units[:CAPACITY], np.ones(CAPACITY, np.uint8)),
    )
    assert len(full.sample) == CAPACITY
    assert 480_000 < full.size < 500_000


def test_evidence_that_was_given_does_not_change_afterwards() -> None:
    step = new_step()
    rows, outcomes = make(4)
    step.feed(*cleaned(rows, outcomes[: len(outcomes) // 2]))
    evidence = step.block(0, 15, 10)
    totals = {name: sums.total.copy() for name, sums in evidence.sums.items()}
    summary = step.summary().to_bytes()
    kept = step.summary()
    step.feed(*cleaned([], outcomes[len(outcomes) // 2 :]))
    step.block(150, 15, 10)
    for name, total in totals.items():
        np.testing.assert_array_equal(evidence.sums[name].total, total)
    assert kept.to_bytes() == summary


def test_rows_without_order_are_put_in_order() -> None:
    rows, marks, _ = cleaned(*make(6))
    shuffled = np.random.default_rng(0).permutation(len(rows))
    sorted_step, other = new_step(), new_step()
    sorted_step.feed(rows, marks)
    other.feed(Rows.joined([rows.take(shuffled), rows.take(shuffled[:20])]), marks)
    same(sorted_step.block(0, 10, 30).at(-1), other.block(0, 10, 30).at(-1))
    assert other.left_out.total("duplicate") == int((rows.micros[shuffled[:20]] >= BEGIN).sum())
