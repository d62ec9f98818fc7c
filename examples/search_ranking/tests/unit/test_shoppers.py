from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_ranking.shoppers import MOST, Query, Shoppers, click_chance, queries_of

GRADES = st.lists(st.integers(0, 3), min_size=2, max_size=20)


@pytest.fixture(scope="module")
def shoppers(small: pd.DataFrame) -> Shoppers:
    return Shoppers(queries_of(small), rate=240.0, seed=3)


def test_the_same_seed_gives_the_same_traffic(shoppers: Shoppers) -> None:
    again = replace(shoppers)
    assert shoppers.searches(12.0) == again.searches(12.0)
    assert shoppers.searches(12.0) != replace(shoppers, seed=4).searches(12.0)
    some = shoppers.searches(12.0)[:200]
    order = range(len(shoppers.queries[0].grades))
    assert [shoppers.is_clicked(s, order) for s in some] == [again.is_clicked(s, order) for s in reversed(some)][::-1]
    assert [shoppers.click_hours(s) for s in some] == [again.click_hours(s) for s in some]


def test_searches_come_in_order_at_about_the_rate(shoppers: Shoppers) -> None:
    searches = shoppers.searches(72.0)
    times = [search.at for search in searches]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] < 72
    assert [search.number for search in searches] == list(range(len(searches)))
    assert len(searches) == pytest.approx(72 * shoppers.rate, rel=0.1)


def test_days_have_a_cycle(shoppers: Shoppers) -> None:
    by_hour = np.bincount([int(search.at) % 24 for search in shoppers.searches(96.0)], minlength=24)
    assert by_hour[12:18].sum() > 1.7 * by_hour[0:6].sum()
    search = shoppers.searches(1.0)[0]
    order = range(len(shoppers.queries[search.query].grades))
    days = [[replace(search, number=n, at=at) for n in range(3_000)] for at in (3.0, 15.0)]
    by_night, by_day = (np.mean([shoppers.is_clicked(one, order) for one in ones]) for ones in days)
    assert by_day > by_night + 0.02


def test_shoppers_come_back_a_few_of_them_often(shoppers: Shoppers) -> None:
    searches = shoppers.searches(96.0)
    visits = Counter()
    for shopper in {search.shopper for search in searches}:
        times = [search.at for search in searches if search.shopper == shopper] if len(visits) < 300 else []
        if times:
            visits[shopper] = 1 + int((np.diff(times) > 1.0).sum())
    counts = np.array(list(visits.values()))
    assert np.median(counts) <= 2 < np.quantile(counts, 0.97)
    assert counts.max() <= MOST


def test_two_searches_of_one_shopper_are_alike(shoppers: Shoppers) -> None:
    searches = shoppers.searches(96.0)
    tastes = {search.shopper: search.taste for search in searches}
    assert all(search.taste == tastes[search.shopper] for search in searches)
    assert np.std(list(tastes.values())) > 0.5


@given(GRADES, st.data(), st.floats(-2, 2))
def test_a_better_order_is_clicked_more(grades: list[int], data: st.DataObject, mood: float) -> None:
    best = sorted(grades, reverse=True)
    other = data.draw(st.permutations(grades))
    assert click_chance(sorted(grades), mood) - 1e-9 <= click_chance(other, mood) <= click_chance(best, mood) + 1e-9
    assert 0 < click_chance(other, mood) < 1
    assert click_chance(other, mood - 1) < click_chance(other, mood)


def test_clicks_rise_with_the_quality_of_the_ranking(shoppers: Shoppers) -> None:
    """And nobody who clicks at the worse order does not at the better one."""
    clicks = {"best": 0, "shown": 0, "worst": 0}
    for search in shoppers.searches(24.0):
        grades = shoppers.queries[search.query].grades
        best = sorted(range(len(grades)), key=lambda place: -grades[place])
        found = [shoppers.is_clicked(search, order) for order in (best, range(len(grades)), best[::-1])]
        clicks["best"] += found[0]
        clicks["shown"] += found[1]
        clicks["worst"] += found[2]
        assert found[0] >= found[2]
    assert clicks["best"] > 1.5 * clicks["shown"] > 1.5 * 1.5 * clicks["worst"]


def test_clicks_come_within_an_hour(shoppers: Shoppers) -> None:
    waited = [shoppers.click_hours(search) for search in shoppers.searches(12.0)]
    assert min(waited) >= 0
    assert max(waited) <= 1.0
    assert 0.15 < np.mean(waited) < 0.3


def test_queries_that_cannot_be_ranked_are_left_out() -> None:
    judged = pd.DataFrame(
        {
            "query": ["a", "a", "b", "b", "c"],
            "product_id": ["1", "2", "3", "4", "5"],
            "product_title": ["one", None, "three", "four", "five"],
            "relevance": [3, 0, 1, 0, 3],
        }
    )
    (found,) = queries_of(judged)
    assert sorted(zip(found.titles, found.grades, strict=True)) == [("", 0), ("one", 3)]
    assert found.text == "a"
    assert queries_of(judged, rows=1) == []
    assert Query("a", ("x",), (1,)) == Query("a", ("x",), (1,))
