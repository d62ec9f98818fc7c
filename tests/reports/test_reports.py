"""One report in every form: right, escaped, and looked at in a real browser."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import numpy as np
import pytest
from rich.console import Console

import holdfast
from holdfast.errors import OutsideError
from holdfast.reports import (
    render_annotations,
    render_html,
    render_junit,
    render_markdown,
    render_terminal,
    report_schema,
    write_report,
)
from holdfast.reports.numbers import figure, limit, number, units
from holdfast.reports.picture import as_text, picture_of
from holdfast.verdict import CheckResult, Report, Verdict

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = '<script>alert("x")</script> | `@everyone` ::error::\r\n%0A \u202e-- ™ — ヘ'


def check(verdict: Verdict = Verdict.FAIL, **more: object) -> CheckResult:
    given = {
        "name": "ndcg@10.regression",
        "kind": "regression",
        "message": "It is beyond the margin.",
        "metric": "ndcg@10",
        "estimate": -0.097,
        "low": -0.145,
        "high": -0.048,
        "confidence": 0.95,
        "threshold": -0.02,
        "direction": "higher",
        "method": "cluster bootstrap-t",
        "unit": "query",
        "n": 113,
    }
    return CheckResult(**{**given, "verdict": verdict, **more})


LATENCY = check(
    Verdict.PASS,
    name="latency.p99",
    kind="latency",
    estimate=2.1,
    low=None,
    high=2.4,
    threshold=200.0,
    direction="lower",
    unit="call",
    n=3000,
)
OPEN = check(Verdict.INCONCLUSIVE, name="slice", kind="slice", on_inconclusive="report", low=-0.05, high=0.01)
BROKEN = check(
    Verdict.ERROR,
    name="broken",
    kind="data",
    estimate=None,
    low=None,
    high=None,
    message=HOSTILE,
    details={"rows": [{"title": HOSTILE}]},
)
INPUTS = {"holdout": "sha256:" + "ab" * 32, "data": None, "commit": "c0ffee"}
MIXED = Report(
    title="Gate",
    model="m",
    candidate=HOSTILE,
    checks=(check(), LATENCY, OPEN, BROKEN),
    inputs=INPUTS,
    notices=(HOSTILE,),
)


@pytest.mark.parametrize(
    "report",
    [
        MIXED,
        Report(checks=(), inputs=INPUTS),
        holdfast.compare(
            np.arange(40) % 2, np.arange(40) % 2, np.ones(40, dtype=int), metric="accuracy", max_regression=0.1
        ),
    ],
)
def test_reports_follow_the_published_schema(report: Report) -> None:
    jsonschema.Draft202012Validator(report_schema()).validate(report.to_json())


def test_the_schema_notices_a_wrong_report() -> None:
    document = MIXED.to_json()
    document["checks"][0]["verdict"] = "good"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, report_schema())


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (-0.02, {}, "−0.0200"),
        (0.1448, {"sign": True}, "+0.1448"),
        (0.0, {"sign": True}, "0.0000"),
        (0.258, {"percent": True}, "25.8 %"),
        (12345.6, {}, "12,346"),
        (2.1, {}, "2.100"),
        (0.00001, {}, "1.0e-05"),
        (None, {}, "·"),
        (float("nan"), {}, "·"),
    ],
)
def test_numbers(value: float | None, options: dict, text: str) -> None:
    assert number(value, **options) == text


def test_figures_carry_their_unit_and_sign() -> None:
    assert figure(LATENCY, 2.1) == "2.100 ms"
    assert figure(check(), 0.03) == "+0.0300"
    assert figure(check(scale="relative"), 0.03) == "+3.0 %"
    assert (limit(LATENCY), limit(check())) == ("≤ 200.0 ms", "≥ −0.0200")
    assert (units(check()), units(check(n=1)), units(check(n=1234, unit="row"))) == (
        "113 queries",
        "1 query",
        "1,234 rows",
    )


def test_the_picture_keeps_the_order_of_its_marks() -> None:
    found = picture_of(check())
    assert 0 < found.low < found.estimate < found.high < found.threshold < found.zero < 1
    assert found.good == "right"
    assert picture_of(BROKEN) is None
    assert picture_of(LATENCY).open_low


def test_the_picture_as_text() -> None:
    line = as_text(check(), 30)
    assert len(line) == 30
    assert line.index("├") < line.index("●") < line.index("┤") < line.index("│")
    assert as_text(check(), 30, ascii_only=True).isascii()


def test_html_escapes_what_is_hostile() -> None:
    page = render_html(MIXED, story=[HOSTILE])
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count('<svg class="picture"') == 3
    assert "http://" not in page
    assert "https://" not in page


def test_the_worst_kind_stands_first() -> None:
    page = render_html(MIXED)
    assert page.index("broken") < page.index("ndcg@10.regression") < page.index("latency.p99")


def test_an_empty_report_says_that_nothing_was_measured() -> None:
    assert "Nothing was measured" in render_html(Report(checks=()))


def test_markdown_is_one_row_a_check_and_cannot_be_broken_out_of() -> None:
    text = render_markdown(MIXED)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 3
    assert "1 slice does not stand against it" in text
    assert "<script" not in text
    assert "@everyone" not in text
    assert all(line.replace("\\|", "").count("|") == 7 for line in rows)
    many = Report(checks=tuple(check(name=f"c{i}", message="x" * 2000) for i in range(1000)))
    assert len(render_markdown(many).encode()) < 1_048_576


def test_junit_counts() -> None:
    suite = ET.fromstring(render_junit(MIXED))
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }


def test_annotations_are_escaped_and_at_most_ten_of_a_kind() -> None:
    text = render_annotations(MIXED)
    assert len(text.splitlines()) == 3
    assert text.count("::error title=") == 2
    assert "%0D%0A%250A" in text
    many = replace(MIXED, checks=tuple(check(name=f"c:{i},") for i in range(30)))
    lines = render_annotations(many).splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("::error title=c%3A0%2C::")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_terminal_at_every_width(width: int, encoding: str) -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding)
    render_terminal(MIXED, Console(file=stream, width=width, highlight=False))
    stream.flush()
    text = buffer.getvalue().decode(encoding)
    assert "ndcg@10.regression" in text
    assert "113 queries" in text
    assert ("[" in text) if encoding == "ascii" else ("−0.0970" in text)


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    paths = write_report(MIXED, html=tmp_path / "a" / "r.html", markdown=tmp_path / "r.md", junit=tmp_path / "r.xml")
    assert all(path.stat().st_size for path in paths)
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(OutsideError, match="could not be written"):
        write_report(MIXED, html=blocked / "r.html")


@pytest.mark.skipif(not CHROMIUM.exists() and not os.environ.get("CI"), reason="there is no Chromium here")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(tmp_path: Path, scheme: str) -> None:
    from playwright.sync_api import sync_playwright

    page_file = tmp_path / "r.html"
    page_file.write_text(render_html(MIXED, story=["a", "b"]), "utf-8")
    asked: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator("svg.picture").count() == 3
        boxes = [box.bounding_box() for box in page.locator("svg.picture .threshold").all()]
        assert all(box is not None and box["height"] > 5 for box in boxes)
        ink, paper = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        assert ink != paper
        browser.close()
    assert asked == [page_file.as_uri()]
