"""Canaries that contradict themselves, each with its place and its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config.canary import full_name
from holdfast.config.loader import load_project
from holdfast.errors import ConfigError

HEAD = """\
model: ranker
data: {train: t.parquet, label: y}
release:
"""
CANARY = "  canary: {steps: [{share: 0.01, hours: 4}, {share: 0.10}], min_hours: 24, max_hours: 96}\n"
CLICK = "  guardrails: {click: {max_drop: 0.005, absent: zero, delay: 30m}}\n"


def load(folder: Path, release: str) -> None:
    file = folder / "holdfast.yaml"
    file.write_text(HEAD + release, "utf-8")
    load_project(file, {})


def test_the_good_one(tmp_path: Path) -> None:
    load(tmp_path, CANARY + CLICK)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("share: 0.01", "share: 0", 4, "greater than 0"),
        ("share: 0.10", "share: 1", 4, "less than 1"),
        ("share: 0.10", "share: 0.01", 4, "the share falls from 0.01 to 0.01"),
        (", hours: 4", "", 4, "does not say how long it lasts"),
        ("max_hours: 96", "max_hours: 20", 4, "less than min_hours (24)"),
        ("share: 0.10}", "share: 0.10, hours: 12}", 4, "the last step lasts 12 h, less than min_hours 24"),
        ("max_hours: 96", "max_hours: 96, unit_window: 96h", 4, "unit_window 96 h is not shorter than max_hours 96"),
        ("max_hours: 96", "max_hours: 30, unit_window: 25h", 4, "no whole day of the last step (26 h) is later"),
        ("max_hours: 96", "max_hours: 96, on_undecided: promote", 4, "release.canary.on_undecided"),
        (CLICK, "", 4, "a canary without a guardrail"),
        ("max_drop: 0.005, ", "", 5, "says neither max_drop nor max_rise"),
        ("max_drop: 0.005", "max_drop: 0.005, max_rise: 1", 5, "has max_drop and max_rise"),
        ("absent: zero, ", "", 5, "what a request without that outcome means"),
        (", delay: 30m", "", 5, "how late that outcome may come"),
        ("click: {", "outcomes.click: {max_drop: 0.1, absent: zero, delay: 1m}, click: {", 5, "are the same guardrail"),
        (
            "click: {max_drop: 0.005, absent: zero, delay: 30m}",
            "builtin.p50: {max_rise: 1}",
            5,
            "no built-in guardrail 'p50'",
        ),
        (
            "click: {max_drop: 0.005, absent: zero, delay: 30m}",
            "error: {max_drop: 1}",
            5,
            "a drop of builtin.error harms nobody",
        ),
        ("click: {max_drop: 0.005, absent", "error: {max_rise: 0.005, absent", 5, "is measured by Holdfast itself"),
        (
            "click: {max_drop: 0.005, absent: zero, delay: 30m}",
            "requests_per_unit: {max_drop: 0.1, max_rise: 0.2}",
            5,
            "two different margins",
        ),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    release = CANARY + CLICK
    assert old in release
    with pytest.raises(ConfigError) as found:
        load(tmp_path, release.replace(old, new, 1))
    assert words in str(found.value)
    assert found.value.line == line
    assert found.value.hint is not None or "found" in str(found.value)


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("click", "outcomes.click"),
        ("error", "builtin.error"),
        ("outcomes.error", "outcomes.error"),
        ("builtin.x", "builtin.x"),
    ],
)
def test_short_names(short: str, full: str) -> None:
    assert full_name(short) == full
