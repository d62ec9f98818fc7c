"""The incident is run for real, and the page that tells it holds what is printed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.timeout(900)
def test_the_page_tells_what_is_printed(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("tell_incident", ROOT / "docs" / "tell_incident.py")
    teller = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(teller)
    printed = teller.run(tmp_path)
    told = teller.tell(printed, tmp_path)
    assert "HTTP 200" in told
    assert "rapidfuzz 2.15.2 → 3.14.3 did it" in told
    assert "nltk 3.8.1 → 3.9.1 changes words, and it does not cost" in told
    committed = (ROOT / "docs" / "incident.md").read_text("utf-8")
    assert teller.comparable(told) == teller.comparable(committed), "type `make docs-incident`"
