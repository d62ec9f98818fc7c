"""The story is run as `make demo-canary` runs it, with real processes and real HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT


def told(root: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "canary.py"), "--root", str(root), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_rolled_back_invalid_and_promoted_through_a_crash(tmp_path: Path) -> None:
    said = told(tmp_path)
    for text in (
        "rolling back: outcomes.click of the canary differs by −",
        "the experiment is invalid",
        "kill -9",
        "version 3 became champion after version 1",
        " 0 of the answers are missing from the log",
    ):
        assert re.sub(r"\s+", " ", text).strip() in re.sub(r"\s+", " ", said), text
    pages = [page.read_text("utf-8") for page in (tmp_path / "demo-canary").glob("r*.html")]
    assert len(pages) == 3
    assert all("<svg" in page for page in pages)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.timeout(1300)
def test_the_bump_is_rolled_back_on_the_real_catalogue(tmp_path: Path, chorus_folder: Path) -> None:
    said = told(tmp_path, "--data", str(chorus_folder))
    assert "rolling back: outcomes.click of the canary differs by −" in said
    assert "0 of the answers are missing from the log" in said
