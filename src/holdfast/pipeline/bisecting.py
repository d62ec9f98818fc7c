"""Bisection of a project's environments: what to ask in each, and the story of what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from holdfast._version import __version__
from holdfast.environment import Fingerprint
from holdfast.environment.bisection import SAFE_LEAD, Bisection, Ends, Laboratory, bisect
from holdfast.environment.locks import Locked
from holdfast.environment.relevance import Moved, by_relevance, imported_packages, moved
from holdfast.environment.search import Answer
from holdfast.pipeline.bisect_checks import check_of, plain_result
from holdfast.pipeline.environments import environment_of, pins_of
from holdfast.pipeline.golden import in_force
from holdfast.pipeline.workspace import Workspace
from holdfast.snapshots.telling import cut
from holdfast.store import canonical_json, digest
from holdfast.verdict import CheckResult, Report, Verdict, utc_text

Say = Callable[[str], None]
TRIED_ALONE = 3  # imported packages that are tried alone for a change that costs nothing


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A bisection with its story: the report, which snapshots the culprit changes, and who was cleared of what."""

    bisection: Bisection
    report: Report
    cleared: tuple[tuple[Moved, tuple[str, ...]], ...] = ()


def bisect_project(
    workspace: Workspace, *, good: str = "champion", bad: str = "running", asked: str = "gate", lead: int = 1, say: Say
) -> Explained:
    """Find the change between two environments that makes a check fail.

    `asked` is `gate` (the champion re-scored costs too much), `snapshot` (a declared function gives something else), or a
    command that exits 0 where all is well and 125 where it cannot tell. Raises UserError where the ends do not differ in
    that check or are not to be built from.
    """
    one, two = environment_of(workspace, good), environment_of(workspace, bad)
    changes = by_relevance(changes_between(one, two), imported_packages(workspace.root))
    say(f"{len(changes)} changes from {good} to {bad}, the most suspicious first: {_first(changes)}")
    ends = Ends(pins_of(one), pins_of(two), *_pythons(workspace, one, two))
    laboratory = _laboratory(workspace, ends, asked, lead, say)
    if bad == "running":
        laboratory.existing[frozenset(change.package for change in changes)] = workspace.python
    found = bisect(laboratory, changes)
    cleared = _cleared(workspace, ends, found, say) if asked == "gate" else ()
    changed = _changed_inputs(workspace, ends, found, say) if asked == "gate" else ()
    return Explained(
        bisection=found, report=_report(workspace, found, good, bad, asked, changed, cleared), cleared=cleared
    )


def changes_between(a: Fingerprint | Locked, b: Fingerprint | Locked) -> list[Moved]:
    """The changes that can be made one by one: packages by version, and Python."""
    return [m for m in moved(a, b) if m.package != "unicode" and (m.package == "python" or not _same_version(m))]


def _same_version(change: Moved) -> bool:
    return change.old is not None and change.new is not None and change.old.split()[0] == change.new.split()[0]


def _pythons(workspace: Workspace, one: Fingerprint | Locked, two: Fingerprint | Locked) -> tuple[str, str | None]:
    """The interpreter for both ends, and another for the bad one where fingerprints name another version."""
    python = str(workspace.python)
    old, new = (e.python if isinstance(e, Fingerprint) else None for e in (one, two))
    if old and new and old != new:
        return old, new
    return old if old and old != workspace.fingerprint.python else python, None


def _laboratory(workspace: Workspace, ends: Ends, asked: str, lead: int, say: Say, *, count: bool = True) -> Laboratory:
    folder = workspace.cache / "bisect"
    key = {
        "good": {name: pin.version for name, pin in ends.good.items()},
        "bad": {name: pin.version for name, pin in ends.bad.items()},
        "python": [ends.python, ends.bad_python],
        "check": [asked, count],
        "champion": workspace.champion_lineage().get("environment"),
        "policy": workspace.policy_digest,
        "snapshot": in_force(workspace) if asked != "gate" else None,
    }
    memory = folder / f"{digest(canonical_json(key)).removeprefix('sha256:')[:24]}.json"
    check = check_of(workspace, asked, count=count)
    return Laboratory(ends, check, folder, cwd=workspace.root, memory=memory, lead=lead, say=say)


# --- the story ------------------------------------------------------------------------------------------------------


def _changed_inputs(workspace: Workspace, ends: Ends, found: Bisection, say: Say) -> tuple[CheckResult, ...]:
    """The snapshot's functions that the culprit alone changes, with inputs before and after."""
    if not workspace.config.snapshots.functions or in_force(workspace) is None:
        return ()
    say("the inputs that the culprit changes:")
    laboratory = _laboratory(workspace, ends, "snapshot", 1, say)
    laboratory.order = [change.package for change in found.changes]
    guilty = frozenset(change.package for change in found.guilty)
    laboratory.ask(guilty)
    return _snapshot_failures(laboratory, guilty)


def _snapshot_failures(laboratory: Laboratory, combination: frozenset[str]) -> tuple[CheckResult, ...]:
    result = laboratory.trials[combination].result
    checks = [] if result is None else result.details.get("checks", [])
    return tuple(CheckResult.from_json(check) for check in checks if check["verdict"] == Verdict.FAIL.value)


def _cleared(workspace: Workspace, ends: Ends, found: Bisection, say: Say) -> tuple[tuple[Moved, tuple[str, ...]], ...]:
    """Who else changes what a function gives, although the check passes: suspects that are cleared by name."""
    if not workspace.config.snapshots.functions or in_force(workspace) is None or not found.passing:
        return ()
    say("what still changes without the culprit, and who does it:")
    laboratory = _laboratory(workspace, ends, "snapshot", 1, say, count=False)
    laboratory.order = [change.package for change in found.changes]
    laboratory.ask(found.passing)
    names = {check.name.removeprefix("snapshot.") for check in _snapshot_failures(laboratory, found.passing)}
    cleared: list[tuple[Moved, tuple[str, ...]]] = []
    suspects = [change for change in found.changes if change.package in found.passing]
    for change in suspects[:TRIED_ALONE]:
        alone = frozenset({change.package})
        if not names:
            break
        if laboratory.resolves(alone) and laboratory.ask(alone) is Answer.FAIL:
            own = {check.name.removeprefix("snapshot.") for check in _snapshot_failures(laboratory, alone)}
            cleared.append((change, tuple(sorted(own))))
            names -= own
    return tuple(cleared)


def _report(
    workspace: Workspace,
    found: Bisection,
    good: str,
    bad: str,
    asked: str,
    changed: tuple[CheckResult, ...],
    cleared: tuple[tuple[Moved, tuple[str, ...]], ...],
) -> Report:
    checks = [
        _culprit(found),
        *(_by_culprit(check, found) for check in changed),
        *(_clear(m, f, found) for m, f in cleared),
    ]
    return Report(
        title="Environment change",
        checks=tuple(checks),
        model=workspace.model,
        candidate=bad,
        champion=good,
        environment={"fingerprint": workspace.fingerprint.digest},
        inputs={"holdout": None, "data": None, "commit": None, "check": asked, "policy": workspace.policy_digest},
        notices=tuple(_told(found)),
        created=utc_text(workspace.clock()),
        holdfast=__version__,
    )


def _culprit(found: Bisection) -> CheckResult:
    """The guilty change as a check that fails, with the figures of the environment in which it alone was changed."""
    names = " and ".join(str(change) for change in found.guilty)
    together = ", only together" if len(found.guilty) > 1 else ""
    pin = f" The pin that helps: {', '.join(found.pins)}." if found.passing is not None else ""
    result = found.failing_result
    said = f": {result.message.rstrip('.')}" if result is not None else ""
    message = f"{names} did it{together}{said}.{pin}"
    base = result if result is not None else plain_result("bisect", Verdict.FAIL, message)
    details: Mapping[str, Any] = {
        "culprits": [change.to_json() for change in found.guilty],
        "pins": found.pins if found.passing is not None else [],
    }
    return replace(base, name="bisect.culprit", verdict=Verdict.FAIL, message=message, details=details)


def _by_culprit(check: CheckResult, found: Bisection) -> CheckResult:
    names = ", ".join(change.package for change in found.guilty)
    return replace(check, name=f"{check.name}[{names}]", level="notice")


def _clear(change: Moved, functions: tuple[str, ...], found: Bisection) -> CheckResult:
    result = found.passing_result
    said = f" ({result.message.rstrip('.')})" if result is not None else ""
    what = ", ".join(functions)
    message = f"{change} changes {what}, and it does not cost: with it, without the culprit, the check passes{said}."
    base = result if result is not None else plain_result("bisect", Verdict.PASS, message)
    return replace(base, name=f"bisect.cleared[{change.package}]", verdict=Verdict.PASS, message=message, details={})


def _told(found: Bisection) -> list[str]:
    total = len(found.changes)
    told = [
        f"{found.environments} environments for {total} changes (one by one: up to {total}), {found.seconds:.0f} s."
    ]
    if found.together:
        told.append("The culprits could not be told apart: no combination that separates them resolves.")
    if found.passing is None:
        told.append("No environment without the culprits was seen to pass: something else is wrong there too.")
    if found.flaky:
        told.append(f"The check is not steady; each answer was repeated until one side led by {SAFE_LEAD}.")
    if found.untestable:
        why, count = found.untestable[0][1], len(found.untestable)
        told.append(
            f"{count} kinds of combinations cannot be tested and were stepped around, such as: {cut(why, 140)}."
        )
    return [*told, *found.notices]


def _first(changes: list[Moved]) -> str:
    return ", ".join(str(change) for change in changes[:4]) + (" …" if changes[4:] else "")
