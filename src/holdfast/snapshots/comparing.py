"""Whether two recorded outputs are the same, each number within its tolerance. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from holdfast.config.schema import SnapshotFunction, Tolerance


def changed_rows(before: Sequence[Any], after: Sequence[Any], function: SnapshotFunction) -> list[int]:
    """The rows whose output is not the same any more."""
    return [row for row, pair in enumerate(zip(before, after, strict=True)) if not same_output(*pair, function)]


def same_output(before: Any, after: Any, function: SnapshotFunction) -> bool:
    """Whether two outputs of one row agree; an output by name may have a tolerance of its own."""
    if named(before) and named(after):
        one, two = before["dict"], after["dict"]
        return one.keys() == two.keys() and all(
            same(one[name], two[name], function.outputs.get(name, function.tolerance)) for name in one
        )
    return same(before, after, function.tolerance)


def same(before: Any, after: Any, tolerance: Tolerance) -> bool:
    """Numbers within the tolerance, everything else exactly; what was raised by its type, because wording changes."""
    if _is_number(before) and _is_number(after):
        return bool(before == after) or (float in (type(before), type(after)) and _within(before, after, tolerance))
    if type(before) is not type(after):
        return False
    if isinstance(before, list):
        return len(before) == len(after) and all(same(x, y, tolerance) for x, y in zip(before, after, strict=True))
    if isinstance(before, dict):
        return _same_dict(before, after, tolerance)
    return bool(before == after)


def _same_dict(before: dict[str, Any], after: dict[str, Any], tolerance: Tolerance) -> bool:
    if named(before) and named(after):
        before, after = before["dict"], after["dict"]  # the user's own names, `raises` possibly among them
    elif "raises" in before or "raises" in after:
        return bool(before.get("raises") == after.get("raises"))
    return before.keys() == after.keys() and all(same(before[key], after[key], tolerance) for key in before)


def _within(before: float, after: float, tolerance: Tolerance) -> bool:
    try:
        distance = abs(float(after) - float(before))
        return (
            distance <= tolerance.absolute + tolerance.relative * max(abs(before), abs(after)) and distance < math.inf
        )
    except OverflowError:  # an int beyond all floats
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def named(output: Any) -> bool:
    """Whether an output consists of several by name."""
    return isinstance(output, dict) and isinstance(output.get("dict"), dict)
