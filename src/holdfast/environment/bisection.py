"""Which package change makes a check fail: combinations of old and new packages, each installed for real and asked."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.environment.build import Environment, Unbuildable, build_environment, conflict
from holdfast.environment.locks import Pin
from holdfast.environment.relevance import Moved
from holdfast.environment.search import Answer, Changes, Found, Nothing, Search
from holdfast.environment.trials import Trial, read_trials, write_trials
from holdfast.errors import UserError
from holdfast.verdict import CheckResult, Verdict

Check = Callable[[Environment], CheckResult]
SAFE_LEAD = 5  # answers of one kind beyond the other, once a check changed its mind: lies of 20 % then win 1 in 1,000
MOST_ANSWERS = 25  # of one environment, before it is called untestable
_ENDS = {"bad": "the check passes in the bad environment", "good": "the check does not pass in the good environment"}


@dataclass(frozen=True)
class Ends:
    """The two environments between which to search: their packages, and the Python of each."""

    good: Mapping[str, Pin]
    bad: Mapping[str, Pin]
    python: str
    bad_python: str | None = None  # where it is another one

    def pins(self, combination: Changes) -> dict[str, Pin]:
        """The packages of the good environment with these changes made."""
        chosen = {name: pin for name, pin in self.good.items() if name not in combination}
        return chosen | {name: self.bad[name] for name in combination if name in self.bad}

    def python_of(self, combination: Changes) -> str:
        return self.bad_python if self.bad_python and "python" in combination else self.python


@dataclass(frozen=True, kw_only=True)
class Bisection:
    """What was found: the guilty changes, what may be upgraded without them, and what it took."""

    changes: tuple[Moved, ...]
    guilty: tuple[Moved, ...]
    passing: Changes | None  # the changes of the largest environment without the guilty ones that was seen to pass
    together: bool = False
    flaky: bool = False
    environments: int = 0
    seconds: float = 0.0
    untestable: tuple[tuple[tuple[str, ...], str], ...] = ()
    failing_result: CheckResult | None = None
    passing_result: CheckResult | None = None
    notices: tuple[str, ...] = field(default=())

    @property
    def held_back(self) -> list[Moved]:
        """The changes that must wait: the guilty ones, and what needs them."""
        return [change for change in self.changes if self.passing is None or change.package not in self.passing]

    @property
    def pins(self) -> list[str]:
        """The pins that keep the check passing, as requirements."""
        return [f"{m.package}=={m.old}" if m.old else f"# leave out {m.package}" for m in self.held_back]


class Laboratory:
    """Asks combinations of real environments, remembers every answer in a file, and repeats where a check wavers.

    `existing` names interpreters of combinations that are installed already: these are asked where they are.
    """

    def __init__(
        self,
        ends: Ends,
        check: Check,
        folder: Path,
        *,
        cwd: Path,
        memory: Path,
        lead: int = 1,
        order: Iterable[str] = (),
        existing: Mapping[Changes, Path] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.ends, self.check, self.folder, self.cwd, self.memory = ends, check, folder, cwd, memory
        self.lead, self.say, self.order, self.existing = lead, say, list(order), dict(existing or {})
        self.trials: dict[Changes, Trial] = read_trials(memory)
        self.conflicts: dict[Changes, str | None] = {}
        self.environments = 0
        self.flaky = False
        self.search: Search | None = None

    def resolves(self, combination: Changes) -> bool:
        """Whether uv can resolve exactly these packages; asked once."""
        if combination not in self.conflicts:
            pins, python = self.ends.pins(combination), self.ends.python_of(combination)
            self.conflicts[combination] = conflict(pins, self.folder, python=python, cwd=self.cwd)
        return self.conflicts[combination] is None

    def blamed(self, combination: Changes) -> Changes:
        """The changes that uv's reason names beside those of the combination: probably what it lacks."""
        words = set(re.findall(r"[A-Za-z0-9][\w.-]*[A-Za-z0-9]", self.conflicts.get(combination) or ""))
        return frozenset({change for change in self.order if change in words}) - combination

    def ask(self, combination: Changes) -> Answer:
        """The check's answer in this combination, from the record or from an environment made for it."""
        trial = self.trials.setdefault(combination, Trial())
        if (answer := trial.answer(self.lead)) is not None:
            return answer
        if combination in self.existing:
            self.say(f"  {self._told(combination)}: the environment that is there")
            self._ask_there(Environment(self.existing[combination], {}), trial)
            write_trials(self.memory, self.trials)
            return self._answered(trial)
        self.environments += 1
        self.say(f"  environment {self.environments}: {self._told(combination)}{self._left()}")
        place = Path(tempfile.mkdtemp(prefix="environment-", dir=_made(self.folder)))
        try:
            self._build_and_ask(combination, trial, place / "venv")
        finally:
            shutil.rmtree(place, ignore_errors=True)
            write_trials(self.memory, self.trials)
        return self._answered(trial)

    def _answered(self, trial: Trial) -> Answer:
        answer = trial.answer(self.lead) or Answer.UNTESTABLE
        word = {Answer.PASS: "passes", Answer.FAIL: "fails", Answer.UNTESTABLE: f"cannot be asked: {trial.reason}"}[
            answer
        ]
        self.say(f"    {word}  ({trial.built:.1f} s to build, {trial.asked:.1f} s to ask)")
        return answer

    def _build_and_ask(self, combination: Changes, trial: Trial, place: Path) -> None:
        start = time.monotonic()
        try:
            python = self.ends.python_of(combination)
            environment = build_environment(self.ends.pins(combination), place, python=python, cwd=self.cwd)
        except Unbuildable as error:
            trial.reason = error.message
            return
        trial.built = time.monotonic() - start
        self._ask_there(environment, trial)

    def _ask_there(self, environment: Environment, trial: Trial) -> None:
        start = time.monotonic()
        while trial.answer(self.lead) is None:
            self._count(trial, self.check(environment))
        trial.asked = time.monotonic() - start

    def _count(self, trial: Trial, result: CheckResult) -> None:
        trial.result = result
        if result.verdict is Verdict.ERROR:
            trial.reason = result.message
        elif result.counts_as in (None, Verdict.PASS):
            trial.passes += 1
        else:
            trial.fails += 1
        if trial.passes and trial.fails and not self.flaky:
            self.waver()
        if trial.passes + trial.fails >= MOST_ANSWERS and trial.answer(self.lead) is None:
            trial.reason = f"the check passed {trial.passes} times and failed {trial.fails} times there"

    def waver(self) -> None:
        """The check has changed its mind: from now on an answer must lead by several."""
        self.flaky, self.lead = True, max(self.lead, SAFE_LEAD)
        self.say(f"  the check is not steady: every answer now needs a lead of {self.lead}")

    def _told(self, combination: Changes) -> str:
        """A combination in few words, the most suspicious changes first."""
        if not combination:
            return f"none of {len(self.order)} changes"
        names = sorted(combination, key=lambda name: self.order.index(name) if name in self.order else len(self.order))
        if len(names) == len(self.order):
            return f"all {len(names)} changes"
        if len(names) > len(self.order) - 3:
            return f"all changes but {', '.join(name for name in self.order if name not in combination)}"
        return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more changes"

    def _left(self) -> str:
        left = self.search.left if self.search else None
        return f"; at most {left - 1} more after it" if left is not None and left > 1 else ""


def bisect(laboratory: Laboratory, changes: Iterable[Moved]) -> Bisection:
    """The smallest set of `changes` (in the order of suspicion) that makes the check fail.

    Raises UserError where the good environment does not pass, the bad one does not fail, or one of them cannot be made.
    """
    ordered = tuple(changes)
    start = time.monotonic()
    laboratory.order = [change.package for change in ordered]
    notices = _end_conflicts(laboratory, ordered)
    found = _certain(laboratory, {change.package: change.weight for change in ordered})
    results = {name: laboratory.trials[part].result for name, part in _parts(found) if part in laboratory.trials}
    return Bisection(
        changes=ordered,
        guilty=tuple(change for change in ordered if change.package in found.guilty),
        passing=found.passing,
        together=found.together,
        flaky=laboratory.flaky,
        environments=laboratory.environments,
        seconds=time.monotonic() - start,
        untestable=tuple(_untestable(laboratory)),
        failing_result=results.get("failing"),
        passing_result=results.get("passing"),
        notices=notices,
    )


def _parts(found: Found) -> list[tuple[str, Changes]]:
    return [("failing", found.guilty), *([("passing", found.passing)] if found.passing is not None else [])]


def _end_conflicts(laboratory: Laboratory, changes: tuple[Moved, ...]) -> tuple[str, ...]:
    """Where an end does not resolve by itself, resolution tells nothing: then every combination is installed as it is."""
    everything = frozenset(change.package for change in changes)
    reasons = [laboratory.conflicts[end] for end in (frozenset[str](), everything) if not laboratory.resolves(end)]
    if not reasons:
        return ()
    laboratory.resolves = lambda combination: True  # type: ignore[method-assign]  # noqa: ARG005
    return (f"an end does not resolve by itself ({reasons[0]}), so combinations were installed without asking that.",)


def _certain(laboratory: Laboratory, weights: Mapping[str, float]) -> Found:
    """The search's finding, seen with one's own eyes: inferences are asked where the finding rests on them."""
    while True:
        lead = laboratory.lead
        search = Search(list(weights), laboratory.ask, laboratory.resolves, weights=weights, blamed=laboratory.blamed)
        laboratory.search = search
        try:
            found = search.run(bad_first=search.all in laboratory.existing)
        except Nothing as nothing:
            if laboratory.lead == lead and not _wavers(laboratory, search, nothing):
                raise _nothing(laboratory, nothing, search) from None
            continue
        if laboratory.lead == lead and _stands(laboratory, found):
            return found
        if laboratory.lead == lead:
            laboratory.waver()


def _wavers(laboratory: Laboratory, search: Search, nothing: Nothing) -> bool:
    """Whether an end that was not what it is said to be changes its mind when it is asked once more."""
    end = search.all if nothing.end == "bad" else frozenset[str]()
    trial = laboratory.trials.get(end)
    if laboratory.flaky or trial is None or trial.reason is not None:
        return False
    before, laboratory.lead = laboratory.lead, laboratory.lead + 1
    laboratory.ask(end)
    if not laboratory.flaky:
        laboratory.lead = before
    return laboratory.flaky


def _stands(laboratory: Laboratory, found: Found) -> bool:
    """Several guilty changes rest on inferences (each alone passes); one alone was asked itself."""
    if len(found.guilty) == 1 or laboratory.flaky:
        return True
    parts = [found.guilty - {change} for change in found.guilty]
    testable = [part for part in parts if laboratory.resolves(part)]
    return laboratory.ask(found.guilty) is Answer.FAIL and all(laboratory.ask(p) is not Answer.FAIL for p in testable)


def _nothing(laboratory: Laboratory, nothing: Nothing, search: Search) -> UserError:
    if nothing.end == "no change":
        return UserError("the two environments have the same packages, so there is nothing to bisect.")
    trial = laboratory.trials.get(search.all if nothing.end == "bad" else frozenset())
    if trial is not None and trial.reason is not None:
        return UserError(f"the {nothing.end} environment cannot be asked: {trial.reason}", reason_code="end_untestable")
    said = f" ({trial.result.message.rstrip('.')})" if trial is not None and trial.result is not None else ""
    return UserError(
        f"{_ENDS[nothing.end]}{said}, so no package change can explain a failure.",
        hint="Look at code and data, or name other environments with --good and --bad.",
        reason_code=f"{nothing.end}_end",
    )


def _untestable(laboratory: Laboratory) -> Iterable[tuple[tuple[str, ...], str]]:
    for combination, trial in laboratory.trials.items():
        if trial.reason is not None:
            yield tuple(sorted(combination)), trial.reason
    seen: set[str] = set()
    for combination, reason in laboratory.conflicts.items():
        if reason is not None and reason not in seen:
            seen.add(reason)
            yield tuple(sorted(combination)), f"does not resolve: {reason}"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
