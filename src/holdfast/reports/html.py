"""A report as one page: no network, no script, light and dark, readable on a phone."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from holdfast.reports import numbers
from holdfast.reports.course import course_of
from holdfast.reports.differences import pieces
from holdfast.reports.picture import picture_of
from holdfast.verdict import CheckResult, Report, Verdict

KINDS = {
    "absolute": "Limits",
    "regression": "Against the champion",
    "slice": "Slices",
    "latency": "Latency",
    "data": "Data",
    "leak": "Leaks",
    "snapshot": "Snapshots",
    "environment": "Environment",
    "drift": "Drift",
    "guardrail": "Guardrails",
}
MARKS = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.INCONCLUSIVE: "?", Verdict.ERROR: "!"}
WORDS = {
    Verdict.PASS: "passed",
    Verdict.FAIL: "failed",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.ERROR: "could not be judged",
}


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("holdfast.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = short
    environment.filters["marked"] = marked
    return environment.get_template("report.html.j2")


def render_html(report: Report, *, story: Iterable[str] = ()) -> str:
    """The page of `report`, with the ledger's `story` at its end."""
    return _template().render(
        report=report,
        verdict=report.verdict,
        word=WORDS[report.verdict],
        reason=reason(report),
        groups=grouped(report.checks),
        marks=MARKS,
        picture_of=picture_of,
        course_of=course_of,
        pictures=any(picture_of(check) is not None for check in report.checks),
        courses=any(course_of(check) is not None for check in report.checks),
        numbers=numbers,
        examples=examples,
        facts=facts(report),
        story=list(story),
    )


def reason(report: Report) -> str:
    """Why the verdict is what it is, in one sentence."""
    if report.failed:
        more = f" ({len(report.failed) - 1} more)" if len(report.failed) > 1 else ""
        return report.failed[0].message + more
    if not report.checks:
        return "Nothing was measured, and no measurement is never a pass."
    return f"All {len(report.checks)} checks were asked and none stands against it."


def grouped(checks: Iterable[CheckResult]) -> list[tuple[str, list[CheckResult]]]:
    """Checks by kind, the worst kind and the worst check first."""
    kinds: dict[str, list[CheckResult]] = {}
    for check in checks:
        kinds.setdefault(check.kind, []).append(check)
    for found in kinds.values():
        found.sort(key=severity, reverse=True)
    order = sorted(kinds.items(), key=lambda item: severity(item[1][0]), reverse=True)
    return [(KINDS.get(kind, kind), found) for kind, found in order]


def severity(check: CheckResult) -> tuple[int, int]:
    counts = check.counts_as
    return (-1 if counts is None else counts.severity, check.verdict.severity)


def examples(check: CheckResult) -> tuple[list[str], list[list[str]]] | None:
    """Column names and rows of the example rows that a check carries; None without."""
    rows: Any = check.details.get("rows") or check.details.get("examples")
    if not isinstance(rows, (list, tuple)) or not rows or not all(isinstance(row, dict) for row in rows):
        return None
    columns = list(rows[0])
    return columns, [[str(row.get(name, "")) for name in columns] for row in rows]


def facts(report: Report) -> list[tuple[str, str]]:
    """What went in, by name."""
    named = {"model": report.model, "candidate": report.candidate, "champion": report.champion}
    named |= {f"{name}": value for name, value in report.inputs.items()}
    named |= {f"environment {name}": value for name, value in report.environment.items()}
    named |= {"made": report.created, "by": f"holdfast {report.holdfast}".strip()}
    return [(name, str(value)) for name, value in named.items() if value not in (None, "")]


def marked(text: str) -> Markup:
    """A cell in which what is gone is struck out and what is new underlined."""
    tags = {"gone": Markup("<del>{}</del>"), "new": Markup("<ins>{}</ins>"), "": Markup("{}")}
    return Markup("").join(tags[kind].format(piece) for kind, piece in pieces(text))


def short(text: str) -> str:
    """A digest by its first twelve digits."""
    return text[:19] + "…" if text.startswith("sha256:") and len(text) > 24 else text
