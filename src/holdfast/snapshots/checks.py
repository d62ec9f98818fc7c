"""From a snapshot and what the functions give now to one check a function. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.config.schema import SnapshotFunction
from holdfast.snapshots.comparing import changed_rows
from holdfast.snapshots.running import Ran
from holdfast.snapshots.snapshot import PARTS, Golden
from holdfast.snapshots.telling import marked, shared_traits, shown_input, trait_text
from holdfast.verdict import CheckResult, Verdict

EXAMPLES = 8
Rows = Mapping[str, Sequence[tuple[Any, ...]]]  # the inputs of one function by part


@dataclass(frozen=True)
class Affected:
    """How many different real inputs give another output now, of how many that were asked."""

    changed: int
    inputs: int


@dataclass(frozen=True)
class Difference:
    """One function's changed rows by part, and which kinds of output changed."""

    rows: Mapping[str, list[int]]
    kinds: list[str]

    @property
    def count(self) -> int:
        return sum(map(len, self.rows.values()))

    def __bool__(self) -> bool:
        return self.count > 0 or bool(self.kinds)


def difference(golden: Golden, ran: Ran, function: SnapshotFunction) -> Difference:
    """What is not as it was recorded."""
    rows = {
        part: changed_rows(golden.outputs[part], ran.outputs[part], function)
        for part in PARTS
        if part in golden.outputs and part in ran.outputs
    }
    kinds = [
        f"{name or 'the output'} was {golden.kinds[name]}, is {ran.kinds[name]}"
        for name in golden.kinds.keys() & ran.kinds.keys()
        if golden.kinds[name] != ran.kinds[name]
    ]
    return Difference(rows, sorted(kinds))


def check_function(
    name: str, golden: Golden, ran: Ran, function: SnapshotFunction, inputs: Rows, affected: Affected | None = None
) -> CheckResult:
    """PASS where nothing changed, FAIL with the changed inputs, ERROR where the function cannot be run any more."""
    if ran.error is not None:
        return _result(name, Verdict.ERROR, f"{name}: {ran.error}", reason_code=ran.error.reason_code)
    n = sum(len(outputs) for outputs in golden.outputs.values())
    if ran.unsteady is not None:
        return _unsteady(name, ran, function, inputs, n)
    found = difference(golden, ran, function)
    if not found:
        return _result(name, Verdict.PASS, f"{name}: {n:,} inputs give what was recorded.", n=n, estimate=0.0)
    changed = {part: [inputs[part][row] for row in rows] for part, rows in found.rows.items()}
    traits = shared_traits(*_texts(inputs, found))
    details = {
        "function": function.function,
        "changed": {part: len(rows) for part, rows in changed.items()},
        "kinds": found.kinds,
        "characters": [
            {"trait": trait_text(trait), "changed": trait.changed, "unchanged": trait.unchanged} for trait in traits
        ],
        "affected": None if affected is None else {"changed": affected.changed, "inputs": affected.inputs},
        "examples": _examples(golden, ran, found, inputs),
    }
    message = f"{name}: {_sentence(found, n, [trait_text(trait) for trait in traits], affected)}"
    return _result(
        name, Verdict.FAIL, message, n=n, estimate=found.count / n, reason_code="snapshot_differs", details=details
    )


def _result(name: str, verdict: Verdict, message: str, **extra: Any) -> CheckResult:
    return CheckResult(
        name=f"snapshot.{name}",
        kind="snapshot",
        verdict=verdict,
        message=message,
        metric="changed_share",
        threshold=0.0,
        direction="lower",
        unit="input",
        scale="relative",
        **extra,
    )


def _unsteady(name: str, ran: Ran, function: SnapshotFunction, inputs: Rows, n: int) -> CheckResult:
    part, row = ran.unsteady or ("", 0)
    message = (
        f"{name}: {function.function} gave two answers for one input ({shown_input(inputs[part][row], 40)}), so nothing can "
        "be compared: it depends on the hash seed, on chance, on the time, or on what was asked before."
    )
    return _result(name, Verdict.FAIL, message, n=n, reason_code="not_deterministic")


def _texts(inputs: Rows, found: Difference) -> tuple[list[str], list[str]]:
    """Changed and unchanged inputs as texts; hostile ones only where no real one changed."""
    parts = ["data"] if found.rows.get("data") else list(found.rows)
    changed: list[str] = []
    unchanged: list[str] = []
    for part in parts:
        which = set(found.rows[part])
        for row, values in enumerate(inputs[part]):
            text = " ".join(value for value in values if isinstance(value, str))
            (changed if row in which else unchanged).append(text)
    return changed, unchanged


def _sentence(found: Difference, n: int, traits: list[str], affected: Affected | None) -> str:
    parts = [f"{found.count:,} of {n:,} inputs changed"] if found.count else []
    real, hostile = len(found.rows.get("data", [])), len(found.rows.get("hostile", []))
    if found.count and hostile:
        parts[0] += f" ({real:,} real, {hostile:,} hostile)"
    if traits:
        parts.append(f"they share {' or '.join(traits[:3])}")
    if affected is not None:
        share = affected.changed / max(1, affected.inputs)
        parts.append(f"{affected.changed:,} of {affected.inputs:,} different real inputs are affected ({share:.1%})")
    return "; ".join(parts + found.kinds) + "."


def _telling(given: Sequence[Any], before: Any, after: Any) -> tuple[float, int]:
    """Of numbers those that moved most come first, of everything else the shortest inputs."""
    number = isinstance(before, (int, float)) and isinstance(after, (int, float))
    return (-abs(after - before) if number else 0.0), len(str(given))


def _examples(golden: Golden, ran: Ran, found: Difference, inputs: Rows) -> list[dict[str, str]]:
    """Changed inputs, real ones first, before and after."""
    examples: list[dict[str, str]] = []
    for part in (part for part in PARTS if found.rows.get(part)):
        before_after = golden.outputs[part], ran.outputs[part]
        rows = sorted(
            found.rows.get(part, []), key=lambda row: _telling(inputs[part][row], *(o[row] for o in before_after))
        )
        for row in rows[: EXAMPLES - len(examples)]:
            before, after = marked(golden.outputs[part][row], ran.outputs[part][row])
            given = shown_input(inputs[part][row])
            examples.append({"input": given, "before": before, "after": after, "from": part})
    return examples
