"""Which rows of the real data stand for it: rare characters and categories first, then extremes, then chance. Pure."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CATEGORIES = 50  # a column with no more different values is a category
CHANCE_SHARE = 0.4  # of the sample is drawn by chance alone, so that common inputs are in it as they are in the data
# How many rows are wanted for each character: what tokenizers split by, other letters than A to Z, the rest.
_WANTED = {"separator": 12, "letter": 4, "plain": 2}
_SEPARATORS = ("P", "S", "Z", "C", "M")


def choose_rows(columns: Mapping[str, Sequence[Any]], wanted: int, seed: int = 0) -> list[int]:
    """Row numbers, sorted, at most `wanted`; `columns` are values by name, all of one length.

    Rows with the same values count once. Each rare character of a text gets up to 12 rows, so that ten titles with an
    em dash are all in the sample; each value of a category gets one, each number column its extremes and a null.
    """
    distinct = _distinct(columns)
    if len(distinct) <= wanted:
        return sorted(distinct)
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    order = rng.sample(distinct, len(distinct))
    stratified = wanted - int(wanted * CHANCE_SHARE)
    chosen = dict.fromkeys(_first(_by_stratum(columns, order), stratified))
    for row in order:
        if len(chosen) >= wanted:
            break
        chosen.setdefault(row)
    return sorted(chosen)


def _distinct(columns: Mapping[str, Sequence[Any]]) -> list[int]:
    """The first row of every different combination of values."""
    seen: dict[tuple[Any, ...], int] = {}
    for row, values in enumerate(zip(*columns.values(), strict=True)):
        seen.setdefault(tuple(map(str, values)), row)
    return list(seen.values())


def _first(rows: Iterable[int], wanted: int) -> list[int]:
    chosen: dict[int, None] = {}
    for row in rows:
        if len(chosen) >= wanted:
            break
        chosen.setdefault(row)
    return list(chosen)


def _by_stratum(columns: Mapping[str, Sequence[Any]], order: Sequence[int]) -> Iterable[int]:
    """Rows by need: a first row for every stratum, then a second, and so on, the rarest strata first."""
    strata: list[tuple[int, list[int]]] = []
    for values in columns.values():
        strata += _strata_of(values, order)
    strata.sort(key=lambda stratum: len(stratum[1]))
    for turn in range(max(_WANTED.values())):
        for wanted, rows in strata:
            if turn < wanted and turn < len(rows):
                yield rows[turn]


def _strata_of(values: Sequence[Any], order: Sequence[int]) -> list[tuple[int, list[int]]]:
    """(rows wanted, rows) for what must not be missing of one column."""
    known = [row for row in order if values[row] is not None]
    nulls = [row for row in order if values[row] is None]
    strata = [(2, nulls)] if nulls else []
    if known and all(isinstance(values[row], str) for row in known):
        strata += _characters(values, known)
    if known and isinstance(values[known[0]], (int, float)) and not isinstance(values[known[0]], bool):
        ordered = sorted(known, key=lambda row: values[row])
        strata += [(1, ordered[:1]), (1, ordered[-1:])]
    counts = Counter(str(values[row]) for row in known)
    if len(counts) <= CATEGORIES:
        strata += [(1, [row for row in known if str(values[row]) == value]) for value in counts]
    return strata


def _characters(values: Sequence[Any], known: Sequence[int]) -> list[tuple[int, list[int]]]:
    holding: dict[str, list[int]] = {}
    for row in known:
        for character in set(values[row]):
            holding.setdefault(character, []).append(row)
    return [(_WANTED[kind_of(character)], rows) for character, rows in sorted(holding.items())]


def kind_of(character: str) -> str:
    """`separator` for what is neither letter nor digit nor plain ASCII, `letter` for letters beyond ASCII, else `plain`."""
    if character.isascii():
        return "plain"
    return "separator" if unicodedata.category(character).startswith(_SEPARATORS) else "letter"
