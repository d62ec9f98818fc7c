"""What is no evidence, and why: counted by reason and, where it is known, by arm. Nothing is dropped without a count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Counts = tuple[int, int, int]  # of the champion, of the canary, of neither or unknown

_REQUESTS = {
    "unknown_variant": "Requests whose variant is neither champion nor canary",
    "override": "Requests whose variant was chosen by hand",
    "no_id": "Requests without a prediction id",
    "no_unit": "Requests without a unit",
    "no_time": "Requests without a time that can be read",
    "absurd_time": "Requests with a time before the year 2000 or after 2099",
    "duplicate": "Requests that repeat a prediction id",
    "too_late": "Requests that reached the log too late to be told from repetitions",
}
_OUTCOMES = {
    "outcome_no_id": "without a prediction id",
    "outcome_no_time": "without a time that can be read",
    "outcome_absurd_time": "with a time before the year 2000 or after 2099",
    "unknown": "that name no request which is evidence here",
    "late": "that came later than the delay allows, which do not count",
    "duplicate": "that repeat the first one of their request",
    "contradictory": "that contradict the first one of their request, which counts",
    "unusable": "that are no finite number, so that their request does not count",
    "early": "that came before their request and count as if they had come at once",
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
        subject = _REQUESTS[kind]
    else:
        named = f" of {measure}" if measure else ""
        subject = f"Outcomes{named} {_OUTCOMES.get(kind, f'that are left out ({kind})')}"
    champion, canary, _ = counts
    by_arm = f" ({champion:,} of the champion, {canary:,} of the canary)" if champion + canary else ""
    return f"{subject}: {sum(counts):,}{by_arm}."
