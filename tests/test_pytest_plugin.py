"""The fixture `holdfast_snapshot` as a user has it: in a test session of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TEST = """
import itertools
counter = itertools.count()
def lower(text): return text.lower()
def upper(text): return text.upper()
def twice(x): return x * 2.0
def chance(text): return next(counter)
def strange(text): return object()
def picky(text):
    if "\\u2014" in text: raise ValueError("no dash")
    return text

def test_it(holdfast_snapshot):
    holdfast_snapshot(FUNCTION)
"""


def run(folder: Path, function: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_user.py").write_text(TEST.replace("FUNCTION", function))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        *("-p", "no:cacheprovider"),
        *("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:xdist"),  # only slow to import
        *("-c", "/dev/null", "--rootdir", ".", "test_user.py"),
    ]
    return subprocess.run([*command, *words], cwd=folder, capture_output=True, text=True, check=False)


def recorded(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "snapshots" / "test_user" / "test_it.json").read_text()))


def test_record_then_hold_then_differ_then_accept(tmp_path: Path) -> None:
    missing = run(tmp_path, "lower")
    assert missing.returncode == 1
    assert "no snapshot is recorded" in missing.stdout
    assert not (tmp_path / "snapshots").exists()  # nothing is written unasked
    first = run(tmp_path, "lower", "--holdfast-record")
    assert first.returncode == 0
    assert "recorded" in first.stdout
    assert run(tmp_path, "lower").returncode == 0
    before = recorded(tmp_path)
    differs = run(tmp_path, "upper")
    assert differs.returncode == 1
    assert "[-" in differs.stdout
    assert recorded(tmp_path) == before
    accepted = run(tmp_path, "upper", "--holdfast-record")
    assert "accepted:" in accepted.stdout
    assert run(tmp_path, "upper").returncode == 0


@pytest.mark.parametrize(
    ("function", "said"),
    [("chance", "gave two answers"), ("strange", "cannot be compared")],
)
def test_what_cannot_be_golden(tmp_path: Path, function: str, said: str) -> None:
    done = run(tmp_path, function, "--holdfast-record")
    assert done.returncode == 1
    assert said in done.stdout
    assert not (tmp_path / "snapshots").exists()


def test_what_is_raised_is_recorded(tmp_path: Path) -> None:
    assert run(tmp_path, "picky", "--holdfast-record").returncode == 0
    assert "no dash" in json.dumps(recorded(tmp_path))
    assert run(tmp_path, "lower").returncode == 1


def test_given_inputs_and_tolerance(tmp_path: Path) -> None:
    call = "twice, inputs=[1.0, (2.0,)], relative=0.1"
    assert run(tmp_path, call, "--holdfast-record").returncode == 0
    assert run(tmp_path, call.replace("twice", "lambda x: x * 2.1")).returncode == 0
    assert run(tmp_path, call.replace("twice", "lambda x: x * 2.5")).returncode == 1
    assert "not recorded" in run(tmp_path, call.replace("[1.0", "[3.0, 1.0")).stdout


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    run(tmp_path, "lower", "--holdfast-record")
    (tmp_path / "snapshots" / "test_user" / "test_it.json").write_text("{")
    assert "is no JSON" in run(tmp_path, "lower").stdout


def test_the_plugin_loads_nothing_heavy() -> None:
    heavy = "[m for m in ('numpy', 'pyarrow', 'pydantic', 'mlflow') if m in sys.modules]"
    code = f"import sys, holdfast.pytest_plugin; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
