"""Which rows of the real data stand for it: rare characters and categories first, then extremes, then chance. Pure."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

CATEGORIES = 50  # a column with no more different values is a category
CHANCE_SHARE = 0.4  # of the sample is drawn by chance alone, so that common inputs are in it as they are in the data
# How many rows are wanted for each character: what tokenizers split by, other letters than A to Z, the rest.
_WANTED = {"separator": 12, "letter": 4, "plain": 2}
_Stratum = tuple[str, int, list[int]]  # kind (`must`, or that of a character), rows wanted, rows
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
        seen.setdefault(tuple(map(repr, values)), row)
    return list(seen.values())


def _first(rows: Iterable[int], wanted: int) -> list[int]:
    chosen: dict[int, None] = {}
    for row in rows:
        if len(chosen) >= wanted:
            break
        chosen.setdefault(row)
    return list(chosen)


def _by_stratum(columns: Mapping[str, Sequence[Any]], order: Sequence[int]) -> Iterable[int]:
    """Rows by need: what must be there, separators and other characters by turns, so that none pushes another out."""
    strata: list[_Stratum] = []
    for values in columns.values():
        strata += _strata_of(values, order)
    strata.sort(key=lambda stratum: len(stratum[2]))
    groups = [
        _in_turns([stratum for stratum in strata if stratum[0] in kinds])
        for kinds in (("must",), ("separator",), ("letter", "plain"))
    ]
    for rows in zip_longest(*groups):
        yield from (row for row in rows if row is not None)


def _in_turns(strata: Sequence[_Stratum]) -> Iterator[int]:
    """A first row for every stratum, then a second, and so on, the rarest strata first."""
    for turn in range(max(_WANTED.values())):
        for _, wanted, rows in strata:
            if turn < wanted and turn < len(rows):
                yield rows[turn]


def _strata_of(values: Sequence[Any], order: Sequence[int]) -> list[_Stratum]:
    """What must not be missing of one column."""
    known = [row for row in order if not _missing(values[row])]
    nulls = [row for row in order if values[row] is None]
    nans = [row for row in order if values[row] is not None and _missing(values[row])]
    strata: list[_Stratum] = [("must", 2, rows) for rows in (nulls, nans) if rows]
    if known and all(isinstance(values[row], str) for row in known):
        strata += _characters(values, known)
    if known and isinstance(values[known[0]], (int, float)) and not isinstance(values[known[0]], bool):
        ordered = sorted(known, key=lambda row: values[row])
        strata += [("must", 1, ordered[:1]), ("must", 1, ordered[-1:])]
    counts = Counter(str(values[row]) for row in known)
    if len(counts) <= CATEGORIES:
        strata += [("must", 1, [row for row in known if str(values[row]) == value]) for value in counts]
    return strata


def _missing(value: Any) -> bool:
    """Null, or NaN, which has no place in an order."""
    return value is None or bool(value != value)  # noqa: PLR0124


def _characters(values: Sequence[Any], known: Sequence[int]) -> list[_Stratum]:
    holding: dict[str, list[int]] = {}
    for row in known:
        for character in set(values[row]):
            holding.setdefault(character, []).append(row)
    kinds = {character: kind_of(character) for character in sorted(holding)}
    return [(kind, _WANTED[kind], holding[character]) for character, kind in kinds.items()]


def kind_of(character: str) -> str:
    """`separator` for what is neither letter nor digit nor plain ASCII, `letter` for letters beyond ASCII, else `plain`."""
    if character.isascii():
        return "plain"
    return "separator" if unicodedata.category(character).startswith(_SEPARATORS) else "letter"
