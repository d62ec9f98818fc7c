"""A report as a page, Markdown, JUnit, annotations, JSON by schema, and on a terminal."""

from holdfast.reports.html import render_html
from holdfast.reports.schema import report_schema
from holdfast.reports.text import render_annotations, render_junit, render_markdown, render_terminal
from holdfast.reports.write import write_html, write_report

__all__ = [
    "render_annotations",
    "render_html",
    "render_junit",
    "render_markdown",
    "render_terminal",
    "report_schema",
    "write_html",
    "write_report",
]
