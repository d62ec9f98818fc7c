"""A report as Markdown, JUnit XML, GitHub annotations, and on a terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from holdfast.reports import numbers
from holdfast.reports.differences import SHOWN, differences, markdown_differences, pieces
from holdfast.reports.html import MARKS, WORDS, grouped, reason
from holdfast.reports.picture import as_text
from holdfast.verdict import CheckResult, Report, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.text import Text

SUMMARY_BYTES = 1_000_000  # GitHub takes 1 MiB for a step's summary
ANNOTATIONS = 10  # of one kind that GitHub shows for a step
_COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow", Verdict.ERROR: "magenta"}
_ASCII = {Verdict.PASS: "ok", Verdict.FAIL: "X", Verdict.INCONCLUSIVE: "?", Verdict.ERROR: "!"}
_ROOM_FOR_PICTURE = 100
_SHORT = 36  # characters of a difference that stands on one line


def render_markdown(report: Report) -> str:
    """For a pull request's comment or a step's summary; never more than GitHub takes."""
    lines = [
        f"## {MARKS[report.verdict]} {report.title} {WORDS[report.verdict]}: {_cell(report.model or '')}".rstrip(": "),
        "",
    ]
    lines += [_cell(reason(report)), "", *(f"> {_cell(notice)}" for notice in report.notices), ""]
    lines += ["| | check | estimate | limit | n | |", "| --- | --- | --- | --- | --- | --- |"]
    quiet = [check for check in report.checks if check.kind == "slice" and check.counts_as in (None, Verdict.PASS)]
    for _, checks in grouped(report.checks):
        lines += [_row(check) for check in checks if check not in quiet]
    lines += ["", _quiet_slices(len(quiet))] if quiet else []
    for check in report.checks:
        lines += ["", *block] if (block := markdown_differences(check)) else []
    lines += ["", f"<sub>{_cell(report.created)} · holdfast {_cell(report.holdfast)}</sub>", ""]
    text = "\n".join(lines)
    if len(text.encode()) > SUMMARY_BYTES:
        text = text.encode()[:SUMMARY_BYTES].decode(errors="ignore").rpartition("\n")[0] + "\n\n… cut: see the page.\n"
    return text


def _quiet_slices(count: int) -> str:
    return "1 slice does not stand against it." if count == 1 else f"{count} slices do not stand against it."


def _row(check: CheckResult) -> str:
    figures = f"{numbers.figure(check, check.estimate)} {numbers.interval(check)}" if check.estimate is not None else ""
    cells = [MARKS[check.verdict], f"`{_cell(check.name)}`", figures, numbers.limit(check), numbers.units(check)]
    return "| " + " | ".join([*cells, _cell(check.message)]) + " |"


def _cell(text: str) -> str:
    """Text that can neither end a table's cell nor become markup or a mention."""
    text = " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|").replace("`", "'")
    text = text.replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"@(?=[A-Za-z])", "@\u200b", text)


def render_junit(report: Report) -> str:
    """JUnit XML: what stops is a failure, what could not be measured an error, an open check that only informs skipped."""
    suite = ET.Element("testsuite", name=_xml(report.title), tests=str(len(report.checks)))
    counts = {"failures": 0, "errors": 0, "skipped": 0}
    for check in report.checks:
        case = ET.SubElement(suite, "testcase", classname=f"holdfast.{check.kind}", name=_xml(check.name))
        tag = _junit_tag(check)
        if tag is not None:
            counts["failures" if tag == "failure" else "errors" if tag == "error" else "skipped"] += 1
            ET.SubElement(case, tag, message=_xml(check.message))
    for name, count in counts.items():
        suite.set(name, str(count))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _junit_tag(check: CheckResult) -> str | None:
    counts = check.counts_as
    if counts is None:
        return None if check.verdict is Verdict.PASS else "skipped"
    return {Verdict.PASS: None, Verdict.ERROR: "error"}.get(counts, "failure")


def _xml(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return "".join(
        c
        for c in text
        if c in "\t\n" or (ord(c) >= 32 and not 0xD800 <= ord(c) <= 0xDFFF and ord(c) not in (0xFFFE, 0xFFFF))
    )


def render_annotations(report: Report) -> str:
    """GitHub workflow commands: errors for what stops, warnings for what is open, at most ten of each."""
    found: dict[str, list[str]] = {"error": [], "warning": []}
    for check in report.checks:
        if check.verdict is Verdict.PASS:
            continue
        kind = "error" if check.counts_as in (Verdict.FAIL, Verdict.ERROR) else "warning"
        found[kind].append(f"::{kind} title={_property(check.name)}::{_data(check.message)}")
    return "".join(line + "\n" for lines in found.values() for line in lines[:ANNOTATIONS])


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def render_terminal(report: Report, console: Console) -> None:
    """A table of the checks, worst first, each with its interval as a line of text; then what stands against it."""
    from rich.table import Table
    from rich.text import Text

    plain = not (console.encoding or "").lower().startswith("utf")
    marks = _ASCII if plain else MARKS
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=True, header_style="dim")
    wide = console.width >= _ROOM_FOR_PICTURE
    for title in ("", "check", "estimate", "limit", "n", *(["interval and limit"] if wide else [])):
        table.add_column(title, no_wrap=title != "check", overflow="fold")
    small = [check for check in report.checks if is_small_slice(check)]
    for _, checks in grouped(report.checks):
        for check in (c for c in checks if not is_small_slice(c)):
            estimate = (
                "" if check.estimate is None else f"{numbers.figure(check, check.estimate)} {numbers.interval(check)}"
            )
            cells = [marks[check.verdict], check.name, estimate, numbers.limit(check), numbers.units(check)]
            cells += [as_text(check, ascii_only=plain)] if wide else []
            shown = [Text(_plain(cell, plain)) for cell in cells]
            shown[0].stylize(_COLOURS[check.verdict])
            table.add_row(*shown)
    if report.checks:
        console.print(table, soft_wrap=False)
    if small:
        console.print(Text(f"{len(small)} slices have too few units for a verdict of their own.", style="dim"))
    for notice in report.notices:
        console.print(Text(_plain(f"notice: {notice}", plain), style="yellow"))
    for check in (c for c in report.checks if c in report.failed or differences(c)):
        console.print(Text(_plain(f"{marks[check.verdict]} {check.message}", plain), style=_COLOURS[check.verdict]))
        for line in _differences(check, plain):
            console.print(line)
    word = WORDS[report.verdict]
    head = f"{marks[report.verdict]} {report.title} {word}"
    console.print(Text(_plain(head, plain), style=f"bold {_COLOURS[report.verdict]}"))


def _differences(check: CheckResult, plain: bool) -> Iterator[Text]:
    """Inputs before and after, the difference in colour and in brackets, so that it is seen without colour too."""
    from rich.text import Text

    shown = differences(check)[:SHOWN]
    for difference in shown:
        if len(difference.before) + len(difference.after) <= _SHORT:
            line = Text(_plain(f"    {difference.given}  ", plain), style="dim")
            line.append(_plain(difference.before, plain), "red").append(" → " if not plain else " -> ")
            yield line.append(_plain(difference.after, plain), "green")
            continue
        yield Text(_plain(f"    {difference.given}", plain), style="dim")
        for sign, text, colour in (("-", difference.before, "red"), ("+", difference.after, "green")):
            line = Text(f"      {sign} ", style=colour)
            for kind, piece in pieces(text):
                line.append(
                    _plain({"gone": f"[-{piece}-]", "new": f"{{+{piece}+}}"}.get(kind, piece), plain),
                    colour if kind else "",
                )
            yield line
    if len(differences(check)) > len(shown):
        yield Text(f"    and {len(differences(check)) - len(shown)} more (--html, --json)", style="dim")


def is_small_slice(check: CheckResult) -> bool:
    """A slice that is open for want of units and stops nothing: one line says how many there are."""
    return check.kind == "slice" and check.reason_code == "scarce_evidence" and check.counts_as is None


def _plain(text: str, ascii_only: bool) -> str:
    if not ascii_only:
        return text
    for sign, plain in (("−", "-"), ("≥", ">="), ("≤", "<="), ("·", "."), ("…", "...")):
        text = text.replace(sign, plain)
    return text.encode("ascii", "replace").decode()
