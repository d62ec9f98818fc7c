"""Shoppers who come back, and what they click: a day's traffic from nothing but a seed. Pure; `storefront.py` sends it.

A shopper is one *unit*: it comes for the first time, and comes back, most of them once or twice and a few of them twenty
times. Each visit is some searches within minutes. By night there is less of everything, also of the mood to click. Whoever
likes to click does so at every visit, so two requests of one shopper say less than those of two.

What is clicked follows from what is relevant and where it stands: a place is looked at with a chance that falls with its
number, and what is looked at is clicked with a chance that rises with its grade. Of a request it counts whether anything was.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

CLICKED = (0.01, 0.08, 0.45, 0.8)  # the chance that a product of grade 0, 1, 2, 3 is clicked once it is looked at
LOOKED = 1.5  # place n, from 1 on, is looked at with chance n^−LOOKED
TASTE = 0.7  # standard deviation between shoppers, in logits
MOOD, CYCLE = 0.3, 0.4  # how far the day swings the mood to click (logits) and the rate of requests (a share)
TAIL, MOST = 1.3, 20  # visits of a shopper: Pareto's exponent, and the most
GAP_HOURS, WITHIN_HOURS = 8.0, 0.05  # between two visits, between two searches of one, on average
SEARCHES = 2.0  # of a visit, on average
BEFORE_HOURS = 120.0  # so long ago came those who are already known at the start
PATIENCE_HOURS = 0.25  # until a click, on average; never more than four times as long


@dataclass(frozen=True)
class Query:
    """What is searched, and the judged products that the ranker puts in order."""

    text: str
    titles: tuple[str, ...]
    grades: tuple[int, ...]


@dataclass(frozen=True)
class Search:
    """Search number `number` of all: when (hours from the start), by whom, for which query, and how much they like to click."""

    number: int
    at: float
    shopper: str
    query: int
    taste: float


def queries_of(judged: pd.DataFrame, rows: int = 12, seed: int = 0) -> list[Query]:
    """The judged queries with at most `rows` products each; those of which nothing, or only one product, is judged left out."""
    found = []
    for text, products in judged.groupby("query", sort=True):
        shown = products.sort_values("product_id", kind="stable")
        shown = shown.sample(n=min(rows, len(shown)), random_state=seed)
        if len(shown) > 1 and shown["relevance"].max() > 1:
            titles = tuple(title if isinstance(title, str) else "" for title in shown["product_title"])
            found.append(Query(str(text), titles, tuple(int(grade) for grade in shown["relevance"])))
    return found


@dataclass(frozen=True)
class Shoppers:
    """The traffic of `rate` searches an hour, over the day on average; the same from the same `seed`."""

    queries: Sequence[Query]
    rate: float
    seed: int = 0

    def searches(self, hours: float) -> list[Search]:
        """All searches of the first `hours`, in order."""
        rng = np.random.default_rng(self.seed)
        times, who = _visits(rng, self.rate, hours)
        keep = (times >= 0) & (times < hours)
        keep &= rng.random(len(times)) < (1 + CYCLE * _day(times)) / (1 + CYCLE)
        times, who = times[keep], who[keep]
        taste = rng.normal(0, TASTE, int(who.max(initial=0)) + 1)
        popular = np.arange(1.0, len(self.queries) + 1) ** -0.5  # some things everybody wants
        asked = rng.choice(len(self.queries), size=len(times), p=popular / popular.sum())
        return [
            Search(
                number, float(times[place]), f"shopper-{who[place]:05d}", int(asked[place]), float(taste[who[place]])
            )
            for number, place in enumerate(np.argsort(times, kind="stable"))
        ]

    def is_clicked(self, search: Search, ranking: Sequence[int]) -> bool:
        """Whether anything is clicked when the products are shown in the order `ranking` (their places in the query).

        One draw belongs to each search, so whoever clicks at a worse order clicks at a better one as well.
        """
        grades = [self.queries[search.query].grades[place] for place in ranking]
        return self._drawn(search, "click") < click_chance(grades, search.taste + MOOD * float(_day(search.at)))

    def click_hours(self, search: Search) -> float:
        """How long after the search the click comes."""
        waited = -math.log(1 - self._drawn(search, "wait"))
        return PATIENCE_HOURS * min(waited, 4.0)

    def _drawn(self, search: Search, what: str) -> float:
        return random.Random(f"{self.seed} {what} {search.number}").random()


def click_chance(grades: Sequence[int], mood: float = 0.0) -> float:
    """The chance that any of the products with these grades, from the top on, is clicked; `mood` is in logits."""
    missed = 1.0
    for place, grade in enumerate(grades, 1):
        logit = math.log(CLICKED[grade] / (1 - CLICKED[grade])) + mood
        missed *= 1 - place**-LOOKED / (1 + math.exp(-logit))
    return 1 - missed


def _day(hours: np.ndarray | float) -> np.ndarray | float:
    """The day's cycle in [−1, 1]: highest at 15 h, lowest at 3 h."""
    return -np.cos(2 * np.pi * (np.asarray(hours) - 3) / 24)


def _visits(rng: np.random.Generator, rate: float, hours: float) -> tuple[np.ndarray, np.ndarray]:
    """Times of searches in hours, by whom, (n,) each: more than wanted, because the night is thinned out afterwards."""
    shoppers = round(rate * (1 + CYCLE) * (hours + BEFORE_HOURS) / (_mean_visits() * SEARCHES))
    visits = np.minimum(1 + np.floor(rng.pareto(TAIL, shoppers)), MOST).astype(int)
    who = np.repeat(np.arange(shoppers), visits)
    came = np.repeat(rng.uniform(-BEFORE_HOURS, hours, shoppers), visits) + _since_the_first(rng, visits)
    searches = rng.geometric(1 / SEARCHES, len(came))
    times = np.repeat(came, searches) + _since_the_first(rng, searches, WITHIN_HOURS)
    return times, np.repeat(who, searches)


def _since_the_first(rng: np.random.Generator, counts: np.ndarray, gap: float = GAP_HOURS) -> np.ndarray:
    """Hours from the first of each series of `counts` events on, (counts.sum(),)."""
    gaps = rng.exponential(gap, int(counts.sum()))
    firsts = np.cumsum(counts) - counts
    gaps[firsts] = 0.0
    total = np.cumsum(gaps)
    return total - np.repeat(total[firsts], counts)


def _mean_visits() -> float:
    """Of 1 + ⌊Pareto⌋, at most MOST."""
    return 1 + sum(float(1 + n) ** -TAIL for n in range(1, MOST))
