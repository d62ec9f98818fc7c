"""What is no evidence, and why: counted by reason and, where it is known, by arm. Nothing is dropped without a count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Counts = tuple[int, int, int]  # of the champion, of the canary, of neither or unknown

_REQUESTS = {
    "unknown_variant": "name a variant that is neither champion nor canary",
    "override": "had their variant chosen by hand",
    "no_id": "have no prediction id",
    "no_unit": "name no unit",
    "no_time": "have no time that can be read",
    "absurd_time": "have a time before the year 2000 or after 2100",
    "duplicate": "repeat a prediction id that was there before",
    "too_late": "reached the log too late to be told from repetitions",
}
_OUTCOMES = {
    "outcome_no_id": "have no prediction id",
    "outcome_no_time": "have no time that can be read",
    "outcome_absurd_time": "have a time before the year 2000 or after 2100",
    "unknown": "name no request that is evidence here",
    "late": "came later than the delay allows and do not count",
    "duplicate": "repeat the outcome of their request",
    "contradictory": "contradict an earlier outcome of their request; the first one counts",
    "unusable": "are no finite number, so their request does not count",
    "early": "came before their request and count as if they had come at once",
}


class LeftOut(Mapping[str, Counts]):
    """Counts by reason; the reason of an outcome's fate is followed by its measure, as in `late:click`. They add up.

    Reasons of requests: unknown_variant, override, no_id, no_unit, no_time, absurd_time, duplicate, too_late. Of outcomes:
    outcome_no_id, outcome_no_time, outcome_absurd_time; by measure unknown, late, duplicate, contradictory, unusable, early
    (the last count with their request, all others do not). Reasons that never occurred are absent.
    """

    def __init__(self, counts: Mapping[str, Counts] | None = None) -> None:
        self._counts = {reason: found for reason, found in (counts or {}).items() if any(found)}

    @classmethod
    def of(cls, reason: str, arms: npt.NDArray[Any]) -> Self:
        """One reason for rows of these arms, (n,): 0 champion, 1 canary, anything else unknown."""
        canary, champion = int(np.count_nonzero(arms == 1)), int(np.count_nonzero(arms == 0))
        return cls({reason: (champion, canary, len(arms) - champion - canary)})

    def __getitem__(self, reason: str) -> Counts:
        return self._counts[reason]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __add__(self, other: LeftOut) -> LeftOut:
        return self._with(other, 1)

    def __sub__(self, other: LeftOut) -> LeftOut:
        return self._with(other, -1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LeftOut) and self._counts == other._counts

    def __hash__(self) -> int:
        return hash(frozenset(self._counts.items()))

    def __repr__(self) -> str:
        return f"LeftOut({self._counts})"

    def total(self, reason: str) -> int:
        """How many rows were left out for `reason`, whatever their arm; 0 where there were none."""
        return sum(self._counts.get(reason, (0, 0, 0)))

    def sentences(self) -> list[str]:
        """One sentence for each reason, the most frequent first."""
        ordered = sorted(self._counts.items(), key=lambda item: (-sum(item[1]), item[0]))
        return [_sentence(reason, counts) for reason, counts in ordered]

    def to_json(self) -> dict[str, list[int]]:
        """The document that `from_json` reads."""
        return {reason: list(counts) for reason, counts in sorted(self._counts.items())}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls({reason: (int(a), int(b), int(c)) for reason, (a, b, c) in document.items()})

    def _with(self, other: LeftOut, sign: int) -> LeftOut:
        found = dict(self._counts)
        for reason, counts in other.items():
            a, b, c = found.get(reason, (0, 0, 0))
            found[reason] = (a + sign * counts[0], b + sign * counts[1], c + sign * counts[2])
        return LeftOut(found)


def _sentence(reason: str, counts: Counts) -> str:
    kind, _, measure = reason.partition(":")
    if kind in _REQUESTS and not measure:
        text = f"{sum(counts):,} requests {_REQUESTS[kind]}"
    else:
        named = f" of {measure}" if measure else ""
        text = f"{sum(counts):,} outcomes{named} {_OUTCOMES.get(kind, f'are left out ({kind})')}"
    champion, canary, _ = counts
    if champion + canary == 0:
        return f"{text}."
    return f"{text} ({champion:,} of the champion, {canary:,} of the canary)."
