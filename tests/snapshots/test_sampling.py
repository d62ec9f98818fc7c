from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.snapshots.sampling import CATEGORIES, choose_rows, kind_of

WORDS = ["cable", "phone", "case", "lamp", "desk", "usb", "charger", "white", "black", "mouse", "stand", "cover"]


def titles(rows: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [f"{' '.join(rng.choices(WORDS, k=5))} {row}" for row in range(rows)]


def test_all_of_ten_titles_with_an_em_dash_are_among_400_of_20_000() -> None:
    for seed in range(5):
        values = titles(20_000, seed)
        rare = sorted(random.Random(seed).sample(range(20_000), 10))
        for row in rare:
            values[row] = values[row].replace(" ", " — ", 1)
        chosen = choose_rows({"title": values}, 400, seed)
        assert len(chosen) == 400
        assert set(rare) <= set(chosen)


def test_letters_of_other_scripts_do_not_push_the_em_dash_or_a_category_out() -> None:
    """500 different Chinese characters, each in few titles, are more than the sample has room for."""
    values = titles(20_000)
    for row in range(0, 15_000, 10):
        values[row] += chr(0x4E00 + row // 10 % 500)
    rare = list(range(7, 20_000, 2_000))
    for row in rare:
        values[row] = values[row].replace(" ", " — ", 1)
    shops = [f"shop {row % 40}" if row % 500 else "seldom" for row in range(20_000)]
    chosen = choose_rows({"title": values, "shop": shops}, 400)
    assert set(rare) <= set(chosen)
    assert {shops[row] for row in chosen} == set(shops)


@pytest.mark.parametrize("kinds", [2, 10, CATEGORIES])
def test_each_value_of_a_category_is_in_the_sample(kinds: int) -> None:
    values = [f"kind {row}" if row < kinds else "kind 0" for row in range(20_000)]
    chosen = choose_rows({"title": titles(20_000), "kind": values}, 400)
    assert {values[row] for row in chosen} == set(values)


@pytest.mark.parametrize(
    ("values", "must"),
    [
        ([float(row) for row in range(9_000)], {0, 8_999}),
        ([-row for row in range(9_000)], {0, 8_999}),
        ([math.nan if row % 3 == 1 else float(row) for row in range(9_000)], {0, 8_999}),
        ([None if row == 4_000 else row for row in range(9_000)], {0, 4_000, 8_999}),
        ([math.inf if row == 5 else float(row) for row in range(9_000)], {0, 5}),
        ([None if row == 77 else f"text {row}" for row in range(9_000)], {77}),
        (["None" if row == 70 else None if row == 77 else f"text {row}" for row in range(9_000)], {77}),
    ],
)
def test_extremes_and_nulls_are_in_the_sample(values: list[Any], must: set[int]) -> None:
    assert must <= set(choose_rows({"x": values}, 50))


def test_a_nan_is_in_the_sample() -> None:
    values = [math.nan if row == 5_000 else float(row) for row in range(9_000)]
    assert 5_000 in choose_rows({"x": values}, 50)


def test_chance_has_its_share() -> None:
    """The rows that nothing speaks for are in the sample too, spread over the table."""
    values = titles(20_000)
    for row in range(3_000):
        values[row] += chr(0x4E00 + row)
    common = [row for row in choose_rows({"title": values}, 400) if row >= 3_000]
    assert len(common) >= 100
    assert min(common) < 5_000 < 15_000 < max(common)


VALUES = st.one_of(
    st.lists(st.one_of(st.none(), st.text(max_size=6)), max_size=60),
    st.lists(st.one_of(st.none(), st.floats()), max_size=60),
    st.lists(st.one_of(st.none(), st.integers()), max_size=60),
    st.lists(st.one_of(st.none(), st.booleans()), max_size=60),
)


@settings(max_examples=200, deadline=None)
@given(first=VALUES, second=VALUES, wanted=st.integers(0, 70), seed=st.integers(0, 5))
def test_a_sample_is_small_sorted_without_duplicates_and_repeatable(
    first: list[Any], second: list[Any], wanted: int, seed: int
) -> None:
    rows = min(len(first), len(second))
    columns = {"a": first[:rows], "b": second[:rows]}
    chosen = choose_rows(columns, wanted, seed)
    assert chosen == choose_rows(columns, wanted, seed)
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(range(rows))
    contents = [(repr(first[row]), repr(second[row])) for row in chosen]
    assert len(set(contents)) == len(contents)
    distinct = {(repr(a), repr(b)) for a, b in zip(columns["a"], columns["b"], strict=True)}
    assert len(chosen) == min(wanted, len(distinct))


def test_another_seed_is_another_sample() -> None:
    columns = {"title": titles(5_000)}
    assert choose_rows(columns, 100, 0) != choose_rows(columns, 100, 1)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        choose_rows({"a": [1, 2], "b": [1]}, 5)


@pytest.mark.parametrize(
    ("characters", "kind"),
    [("aZ9 -\n", "plain"), ("éßжか한½", "letter"), ("—–“”\u00a0\u200b\u0301™⚡。", "separator")],
)
def test_kinds_of_characters(characters: str, kind: str) -> None:
    assert {kind_of(character) for character in characters} == {kind}
