"""SIGKILL of whole gateways at random moments: what was answered is logged exactly once, and what restarts agrees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.serving.gateway_kills import LOG, Killed, kill_many
from tests.serving.numbered import TOKEN, Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Its processes may nudge each other."""
    monkeypatch.setenv("HOLDFAST_ADMIN_TOKEN", TOKEN)
    return Place.made(tmp_path, LOG)


def check(found: Killed) -> None:
    print(found)
    assert found.troubles == []
    assert found.answers


@pytest.mark.slow
def test_kills(place: Place) -> None:
    check(kill_many(place, 4, seed=1, longest=0.5))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_thousand_kills(place: Place) -> None:
    wanted = int(os.environ.get("HOLDFAST_KILLS", "1000"))
    found = kill_many(place, wanted, seed=2)
    check(found)
    assert wanted < 200 or {"shifted", "promoting", "returned", "routed", "drilled"} <= set(found.types)
    assert "Traceback" not in (Path(place.folder) / "said.log").read_text()
