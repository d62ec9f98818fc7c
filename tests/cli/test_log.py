from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.serving.log.kept import kept_unit
from holdfast.serving.log.segments import sealed
from tests.cli.conftest import Type
from tests.project import PROGRAM
from tests.serving.log.segments_of import outcomes, predictions, write_segments

CONFIG = """
version: 1
model: m
store: store
data: {train: train.parquet, label: y}
release:
  guardrails:
    click: {max_drop: 0.1, absent: zero, delay: 30m}
serving:
  log: {folder: segments%s}
"""
UNIT = "somebody@example.org"


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose gateway has logged something and is gone."""
    monkeypatch.chdir(tmp_path)
    Path("holdfast.yaml").write_text(CONFIG % "")
    write_segments(Path("segments"), [predictions(0, 1, 2), predictions(3, unit=UNIT)])
    write_segments(Path("segments"), [outcomes(0, 3)], stream="outcomes")
    return tmp_path


def test_the_log_is_shown_compacted_and_forgotten(serving: Path, type_: Type) -> None:
    before = json.loads(type_("log", "show", "--json").stdout)
    assert (before["predictions"]["rows"], before["waiting"]["records"], before["lag_seconds"]) == (0, 6, None)
    assert "4 predictions and 2 outcomes of 3 segments" in type_("log", "compact").output
    shown = type_("log", "show").output
    assert "predictions: 4 rows in 2 files" in shown
    assert "variants: 2 canary, 2 champion." in shown
    assert "0 records in 0 bytes wait" in shown
    found = json.loads(type_("log", "show", "--json").stdout)
    assert found["variants"] == {"canary": 2, "champion": 2}
    assert found["predictions"]["days"] == ["2026-09-21", "2026-09-21"]
    assert found["outcomes"]["rows"] == 2
    assert found["lag_seconds"] > 0
    assert "1 predictions and 1 outcomes are removed" in type_("log", "forget", "--unit", UNIT).output
    again = json.loads(type_("log", "forget", "--unit", UNIT, "--json").stdout)
    assert (again["rows"], again["outcomes"], again["left"]) == (0, 0, [])
    assert not any(UNIT.encode() in path.read_bytes() for path in serving.rglob("*") if path.is_file())
    assert "unit_erased" in type_("ledger", "show", "--stream", "log/m").output
    type_("ledger", "verify", "--offline")


def test_a_hashed_unit_is_found_by_its_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_: Type) -> None:
    monkeypatch.chdir(tmp_path)
    Path("holdfast.yaml").write_text(CONFIG % ", unit_key: UNIT_SECRET")
    write_segments(Path("segments"), [predictions(0, unit=kept_unit(UNIT, b"of the log"))])
    type_("log", "compact")
    assert "UNIT_SECRET, and it is not set" in type_("log", "forget", "--unit", UNIT, status=2).output
    monkeypatch.setenv("UNIT_SECRET", "of the log")
    monkeypatch.setenv("OTHER", "another one")
    assert "0 predictions" in type_("log", "forget", "--unit", UNIT, "--unit-key-env", "OTHER").output
    assert "1 predictions" in type_("log", "forget", "--unit", UNIT).output


@pytest.mark.usefixtures("serving")
def test_old_days_are_deleted(type_: Type) -> None:
    type_("log", "compact")
    assert "expected how old" in type_("log", "retain", status=2).output
    assert "--older-than soon: expected a duration" in type_("log", "retain", "--older-than", "soon", status=2).output
    dry = json.loads(type_("log", "retain", "--older-than", "0s", "--dry-run", "--json").stdout)
    assert (dry["dry_run"], dry["rows"], dry["outcomes"]) == (True, 4, 2)
    assert "0 predictions" in type_("log", "retain", "--older-than", "36500d").output
    assert "4 predictions and 2 outcomes from before" in type_("log", "retain", "--older-than", "0s").output
    assert json.loads(type_("log", "show", "--json").stdout)["predictions"]["rows"] == 0
    assert "log_retained" in type_("ledger", "show", "--stream", "log/m").output


@pytest.mark.usefixtures("serving")
def test_what_cannot_be_compacted_is_said(type_: Type) -> None:
    write_segments(Path("segments"), [[b"X1 nothing that this release knows, long enough to have a head"]])
    found = type_("log", "compact", status=4).output
    assert "holds what is no record of this release" in found
    assert "4 predictions" in found


@pytest.mark.usefixtures("serving")
def test_outcomes_are_added_and_shown(type_: Type) -> None:
    type_("log", "compact")
    entries = [
        {"prediction_id": "p-0", "name": "click", "value": 0, "time": BEGIN_TEXT, "event_id": "x"},
        {"prediction_id": "p-9", "name": "click", "value": 1, "time": BEGIN_TEXT},
        {"prediction_id": "p-1", "name": "click", "value": "yes"},
    ]
    Path("late.ndjson").write_text("\n".join(map(json.dumps, entries)))
    first = type_("outcomes", "add", "late.ndjson", status=2).output
    assert "2 outcomes are added, 0 were there already, 1 are refused." in first
    assert "entry 3: expected value to be a number or a boolean, found str." in first
    again = json.loads(type_("outcomes", "add", "late.ndjson", "--json", status=2).stdout)
    assert (again["added"], again["repeated"], len(again["refused"])) == (0, 2, 1)
    shown = json.loads(type_("outcomes", "show", "--json").stdout)
    (click,) = shown["outcomes"]
    assert (click["received"], click["joined"], click["contradictory"], click["unknown"]) == (4, 2, 1, 1)
    assert click["delay"] == 1800
    assert "click: 4 received, 2 joined, 1 contradictory, 1 of unknown requests." in type_("outcomes", "show").output
    assert "expected either a file, or" in type_("outcomes", "add", status=2).output
    assert "expected either a file, or" in type_("outcomes", "add", "x.csv", "--sql", "sqlite://", status=2).output
    assert (
        "has no column" in type_("outcomes", "add", "--sql", "sqlite://", "--query", "SELECT 1 AS x", status=2).output
    )


BEGIN_TEXT = "2026-09-21T14:13:21Z"


def test_before_anything_was_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_: Type) -> None:
    monkeypatch.chdir(tmp_path)
    Path("holdfast.yaml").write_text(CONFIG % "")
    assert "predictions: 0 rows in 0 files" in type_("log", "show").output
    assert "no outcomes were received." in type_("outcomes", "show").output
    assert not Path("store").exists()
    assert "0 predictions and 0 outcomes of 0 segments" in type_("log", "compact").output
    assert "click: 0 received, 0 joined." in type_("outcomes", "show").output


def test_compaction_goes_on_until_it_is_interrupted(serving: Path) -> None:
    program = subprocess.Popen([PROGRAM, "log", "compact", "--every", "100ms"], cwd=serving, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: not sealed("segments", "predictions"))
        write_segments(Path("segments"), [predictions(7)])
        wait_for(lambda: not sealed("segments", "predictions"))
    finally:
        program.send_signal(signal.SIGTERM)
        _, said = program.communicate(timeout=20)
    assert (program.returncode, said) == (0, b"")


def wait_for(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)
