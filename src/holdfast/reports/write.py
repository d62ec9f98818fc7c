"""Reports as files, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from holdfast.errors import OutsideError
from holdfast.reports.html import render_html
from holdfast.reports.text import render_junit, render_markdown
from holdfast.verdict import Report


def write_report(
    report: Report,
    *,
    html: Path | None = None,
    markdown: Path | None = None,
    junit: Path | None = None,
    story: Iterable[str] = (),
) -> list[Path]:
    """Write the forms that are asked for; the paths written. OutsideError where one cannot be."""
    written = []
    renders: list[tuple[Path | None, Callable[[], str]]] = [
        (html, lambda: render_html(report, story=story)),
        (markdown, lambda: render_markdown(report)),
        (junit, lambda: render_junit(report)),
    ]
    for path, render in renders:
        if path is not None:
            write_whole(path, render())
            written.append(path)
    return written


def write_html(report: Report, path: Path, *, story: Iterable[str] = ()) -> None:
    """Write the page of `report`."""
    write_whole(path, render_html(report, story=story))


def write_whole(path: Path, text: str) -> None:
    """Write `text` under another name and rename it, so that nobody sees half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutsideError(f"{path} could not be written: {error.strerror}.") from None
