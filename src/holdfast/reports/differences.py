"""Inputs before and after, as reports show them: gone text between `[-` and `-]`, new text between `{+` and `+}`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from holdfast.verdict import CheckResult

SHOWN = 4  # differences of one check on a terminal and in a comment; a page shows all that are recorded
_MARK = re.compile(r"\[-(.*?)-\]|\{\+(.*?)\+\}", re.DOTALL)


class Difference(NamedTuple):
    """One input and what was given for it, before and after."""

    given: str
    before: str
    after: str


def differences(check: CheckResult) -> list[Difference]:
    """The examples of a check that are differences; none for other checks."""
    examples: Any = check.details.get("examples")
    if not isinstance(examples, (list, tuple)):
        return []
    wanted = {"input", "before", "after"}
    return [
        Difference(str(e["input"]), str(e["before"]), str(e["after"]))
        for e in examples
        if isinstance(e, dict) and wanted <= e.keys()
    ]


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """(`gone`, `new` or empty, text) of a marked text, in order."""
    end = 0
    for match in _MARK.finditer(text):
        if match.start() > end:
            yield "", text[end : match.start()]
        yield ("gone", match[1]) if match[1] is not None else ("new", match[2])
        end = match.end()
    if end < len(text):
        yield "", text[end:]


def markdown_differences(check: CheckResult) -> list[str]:
    """A fenced block that GitHub colours; nothing for a check without differences."""
    found = differences(check)
    if not found:
        return []
    lines = [f"**{check.name}**", "", "````diff"]
    for difference in found[:SHOWN]:
        lines += [f"  {_line(difference.given)}", f"- {_line(difference.before)}", f"+ {_line(difference.after)}"]
    more = [f"  … and {len(found) - SHOWN} more in the report"] if len(found) > SHOWN else []
    return [*lines, *more, "````", ""]


def _line(text: str) -> str:
    """Text that can neither end the block nor its line."""
    return " ".join(text.split()).replace("````", "` ` ` `")
