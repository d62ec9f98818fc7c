"""Two policies side by side: which limits became looser. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NO_LIMITS = {"calls", "batch_rows", "min_units", "warmup"}
_STRICTER_WHEN_HIGHER = ("min", "confidence")


def policy_notices(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    """One sentence for each limit that `new` sets looser than `old`: a lower min, a wider margin, a limit that is gone."""
    if old is None:
        return []
    before, after = dict(_limits(old)), dict(_limits(new))
    sentences = []
    for name, limit in before.items():
        if name not in after:
            sentences.append(f"the policy no longer has {name} (it was {limit:g}).")
            continue
        higher_is_stricter = name.rpartition(".")[2] in _STRICTER_WHEN_HIGHER
        if after[name] != limit and (after[name] < limit) == higher_is_stricter:
            sentences.append(f"the policy is looser: {name} went from {limit:g} to {after[name]:g}.")
    return sentences + _softened(old, new)


def _limits(policy: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Every number of a policy by its path, without what is no limit."""
    found: list[tuple[str, float]] = []
    for name, value in policy.items():
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(value, Mapping):
            found += _limits(value, path)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and name not in _NO_LIMITS:
            found.append((path, float(value)))
    return found


_SEVERITY = {"report": 0, "hold": 1, "fail": 2}


def _softened(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Sentences about every `on_inconclusive` that stops less than it did."""
    before, after = dict(_on_inconclusive(old)), dict(_on_inconclusive(new))
    return [
        f"the policy is looser: {path} went from {value} to {after[path]}."
        for path, value in before.items()
        if path in after and _SEVERITY.get(after[path], 2) < _SEVERITY.get(value, 2)
    ]


def _on_inconclusive(policy: Mapping[str, Any], prefix: str = "", default: str = "fail") -> list[tuple[str, str]]:
    """Every `on_inconclusive` by its path; where it says nothing, what it inherits."""
    found: list[tuple[str, str]] = []
    if "on_inconclusive" in policy:
        default = str(policy["on_inconclusive"] or default)
        found.append((f"{prefix}on_inconclusive", default))
    for name, value in policy.items():
        if isinstance(value, Mapping):
            found += _on_inconclusive(value, f"{prefix}{name}.", default)
    return found
