"""Delta debugging over package changes: the smallest set that makes a check fail, in few environments. Pure.

One guilty change is looked for first, by halving (Zeller and Hildebrandt 2002, adapted): a half that passes is taken to
clear its members, and the last suspect is confirmed alone. Where that fails, because changes are guilty only together,
the search goes on as QuickXplain does (Junker 2004). What was asked is never asked again, and what follows from it (a
subset of what passes passes, a superset of what fails fails) is not asked at all. Combinations that do not resolve are
stepped around: another cut is taken, or the smallest combination that resolves and holds the wanted changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import combinations

Changes = frozenset[str]


class Answer(Enum):
    """What one environment says: the check passes, fails, or cannot be asked there."""

    PASS = "pass"
    FAIL = "fail"
    UNTESTABLE = "untestable"


class Nothing(Exception):
    """There is nothing to find: the bad environment passes, or the good one fails (`end` says which)."""

    def __init__(self, end: str) -> None:
        super().__init__(end)
        self.end = end


@dataclass(frozen=True)
class Found:
    """The smallest guilty set; the largest set without it that was seen to pass (None: none was); what is inseparable.

    `together` is True where the members of `guilty` could not be told apart, because no combination that separates them
    can be tested.
    """

    guilty: Changes
    passing: Changes | None
    together: bool = False


EAGER_FAILS = 3  # so many failures and no pass: is the good environment good at all?


@cache
def worst(size: int, sure: bool, passed: bool, fails: int) -> int:
    """Environments needed at worst to find and confirm one guilty of `size` suspects.

    `sure`: they are known to fail; `passed`: something has passed; `fails`: failures so far without a pass.
    """
    if not passed and fails == EAGER_FAILS:
        return 1 + worst(size, sure, True, 0)
    if size == 1:
        return 0 if sure else 1
    cuts = range(max(1, size // 3), min(size - 1, 2 * size // 3 + 1) + 1)  # the best one is about the middle
    return 1 + min(max(_after(size, cut, passed, fails)) for cut in cuts)


def _after(size: int, cut: int, passed: bool, fails: int) -> tuple[int, int]:
    """What is needed at worst after the first `cut` suspects failed, and after they passed."""
    return worst(cut, True, passed, 0 if passed else fails + 1), worst(size - cut, False, True, 0)


@cache
def plan(weights: tuple[float, ...], sure: bool, passed: bool, fails: int, budget: int) -> tuple[float, int]:
    """(environments expected, how many suspects to ask first), never needing more than `budget`.

    `weights` are the suspects' odds of being the guilty one, in their order. With equal odds it is halving; a strong
    suspicion is tried early, as far as the worst case allows.
    """
    size = len(weights)
    if not passed and fails == EAGER_FAILS:
        expected, cut = plan(weights, sure, True, 0, budget - 1)
        return 1 + expected, cut
    if size == 1:
        return (0.0 if sure else 1.0), 1
    options = []
    for cut in sorted({*range(1, min(size, 5)), size // 4, size // 3, size // 2, 2 * size // 3} - {0}):
        if 1 + max(_after(size, cut, passed, fails)) <= budget:
            fail = plan(weights[:cut], True, passed, 0 if passed else fails + 1, budget - 1)[0]
            clear = plan(weights[cut:], False, True, 0, budget - 1)[0]
            odds = sum(weights[:cut]) / sum(weights)
            options.append((1 + odds * fail + (1 - odds) * clear, cut))
    return min(options, default=(float(size), size // 2))


TRIED_CUTS = 12
PAIRED = 12


class Search:
    """One search: `changes` in the order of suspicion, `ask` a combination, `resolves` tells cheaply what is hopeless.

    `weights` are the odds of each change; `blamed` names changes that a combination seems to lack where it does not
    resolve.
    """

    def __init__(
        self,
        changes: Sequence[str],
        ask: Callable[[Changes], Answer],
        resolves: Callable[[Changes], bool],
        *,
        weights: Mapping[str, float] | None = None,
        blamed: Callable[[Changes], Changes] = lambda _: frozenset(),
    ) -> None:
        self.changes = list(changes)
        self.weights = dict.fromkeys(changes, 1.0) | dict(weights or {})
        self._blamed = blamed
        self.all = frozenset(changes)
        self._ask, self._resolves = ask, resolves
        self.passes: list[Changes] = []
        self.fails: list[Changes] = []
        self.untestable: set[Changes] = set()
        self.asked = 0
        self.left: int | None = None  # environments that are needed at most, while one guilty change is looked for

    def run(self, *, bad_first: bool = False) -> Found:
        """The smallest guilty set. Raises Nothing where one end is not what it is said to be.

        The ends are asked only when nothing else implies their answers; with `bad_first` the bad one at once.
        """
        if not self.all:
            raise Nothing("no change")
        if bad_first:
            self._check_bad()
        guilty = self._halving() or self._explained()
        guilty, together = self._smallest(self.completed(guilty))
        return Found(guilty, self._without(guilty), together)

    # --- one guilty change ---

    def _halving(self) -> Changes | None:
        """A combination that fails, of one guilty change and what it needs; None where nothing fails so."""
        suspects, sure = list(self.changes), False
        budget = worst(len(suspects), False, False, 0)
        while len(suspects) > 1:
            fails = 0 if self.passes else len([f for f in self.fails if f != self.all])
            if not self.passes and fails >= EAGER_FAILS:
                self._check_good()
                continue
            self.left = worst(len(suspects), sure, bool(self.passes), fails) + 1  # and one without the guilty change
            odds = tuple(self.weights[suspect] for suspect in suspects)
            _, cut = plan(odds, sure, bool(self.passes), fails, max(self.left - 1, budget - self.asked))
            first = next(self._parts(frozenset(), suspects, cut), None)
            if first is None:
                break
            answer = self.ask(first)
            if answer is not Answer.UNTESTABLE:
                sure = answer is Answer.FAIL
                suspects = [s for s in suspects if (s in first) == sure]
        self.left = 1 if sure else 2
        alone = self.completed(frozenset(suspects))
        return alone if self.ask(alone) is Answer.FAIL else None

    def _check_bad(self) -> None:
        if self.ask(self.all) is not Answer.FAIL:
            raise Nothing("bad")

    def _check_good(self) -> None:
        if self.ask(frozenset()) is not Answer.PASS:
            raise Nothing("good")

    # --- several that are guilty only together ---

    def _explained(self) -> Changes:
        self.left = None
        self._check_bad()
        self._check_good()
        return self._part_of(frozenset(), tuple(c for c in self.changes))

    def _part_of(self, background: Changes, suspects: Sequence[str]) -> Changes:
        """A small part of `suspects` that fails with `background`, which passes alone and fails with all of them."""
        whole = background | frozenset(suspects)
        for first in self._parts(background, suspects, len(suspects) // 2) if len(suspects) > 1 else ():
            if self.ask(first) is Answer.FAIL:
                return self._part_of(background, [s for s in suspects if s in first])
            rest = self.completed(whole - (first - background))
            if rest >= whole or Answer.UNTESTABLE in (self.ask(first), self.ask(rest)):
                continue
            if self.ask(rest) is Answer.FAIL:
                return self._part_of(background, [s for s in suspects if s in rest])
            return self._together(background, suspects, rest)
        return frozenset(suspects)

    def _together(self, background: Changes, suspects: Sequence[str], rest: Changes) -> Changes:
        """Both parts pass: the guilty of the one beside the whole of the other, then the guilty of the other beside those."""
        one = self._part_of(rest, [s for s in suspects if s not in rest])
        beside = self.completed(background | one)
        answer = self.ask(beside)
        if answer is Answer.FAIL:
            return beside - background
        if answer is Answer.UNTESTABLE:
            return frozenset(suspects)
        return (beside - background) | self._part_of(beside, [s for s in suspects if s not in beside])

    def _parts(self, background: Changes, suspects: Sequence[str], wanted: int) -> Iterator[Changes]:
        """Combinations that resolve and hold a part of the suspects: about `wanted` of them, then more, then fewer.

        Each holds what it needs to resolve; one that would hold all suspects parts nothing and is left out.
        """
        seen: set[Changes] = set()
        for cut in sorted(range(1, len(suspects)), key=lambda cut: abs(cut - wanted))[:TRIED_CUTS]:
            found = self.completed(background | frozenset(suspects[:cut]))
            if found not in seen and not found >= frozenset(suspects):
                seen.add(found)
                yield found
        for suspect in suspects:
            found = self.completed(background | {suspect})
            if found not in seen and not found >= frozenset(suspects):
                seen.add(found)
                yield found

    # --- the result ---

    def _smallest(self, guilty: Changes) -> tuple[Changes, bool]:
        """Without every member that is not needed; and whether some could not be told apart."""
        smaller = next(self._smaller(guilty), None)
        while smaller is not None:
            guilty = smaller
            smaller = next(self._smaller(guilty), None)
        alone = any(not self.resolves(guilty - {change}) for change in guilty) if len(guilty) > 1 else False
        return guilty, alone

    def _smaller(self, guilty: Changes) -> Iterator[Changes]:
        """Combinations without one member (and those that need it) that still fail."""
        for change in sorted(guilty, key=self.changes.index, reverse=True):
            rest = self.largest_within(guilty - {change})
            if rest and self.ask(rest) is Answer.FAIL:
                yield rest

    def _without(self, guilty: Changes) -> Changes | None:
        """The largest combination seen to pass that lacks one guilty change, else all of them: what may be upgraded."""
        left_out = [frozenset({change}) for change in self.changes if change in guilty]
        for out in left_out if len(guilty) == 1 else [*left_out, guilty]:
            rest = self.largest_within(self.all - out)
            answer = self.ask(rest)
            if answer is Answer.PASS:
                return rest
            if answer is Answer.FAIL and not self.passes and self.ask(frozenset()) is not Answer.PASS:
                raise Nothing("good")
        return None

    # --- knowledge ---

    def resolves(self, combination: Changes) -> bool:
        """Whether it is worth asking: it resolves, and was not untestable before."""
        return combination not in self.untestable and self._resolves(combination)

    def completed(self, wanted: Changes) -> Changes:
        """The smallest combination found that resolves and holds `wanted`.

        It grows by what is blamed for not resolving. Where that leads nowhere everything is thinned instead: members go
        one at a time, then two at a time, because packages of one family need each other exactly.
        """
        grown = wanted
        while not self.resolves(grown):
            more = self._blamed(grown) - grown
            if not more:
                break
            grown |= more
        else:
            return grown
        found = self.all
        for change in reversed(self.changes):
            if change not in wanted and self.resolves(found - {change}):
                found -= {change}
        extra = sorted(found - wanted, key=self.changes.index)
        for one, two in combinations(extra[:PAIRED], 2):
            if {one, two} <= found and self.resolves(found - {one, two}):
                found -= {one, two}
        return found

    def largest_within(self, wanted: Changes) -> Changes:
        """The largest combination found that resolves and holds nothing but `wanted`."""
        if self.resolves(wanted):
            return wanted
        found: Changes = frozenset()
        for change in self.changes:
            if change in wanted and change not in found:
                more = found | self.completed(frozenset({change}))
                if more <= wanted and self.resolves(more):
                    found = more
        return found

    def ask(self, combination: Changes) -> Answer:
        """What is known or follows, else what the environment says."""
        if combination in self.untestable:
            return Answer.UNTESTABLE
        if any(combination <= passing for passing in self.passes):
            return Answer.PASS
        if any(combination >= failing for failing in self.fails):
            return Answer.FAIL
        self.asked += 1
        answer = self._ask(combination)
        if answer is Answer.UNTESTABLE:
            self.untestable.add(combination)
        else:
            (self.passes if answer is Answer.PASS else self.fails).append(combination)
        return answer
