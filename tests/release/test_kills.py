"""SIGKILL of real processes at random moments: nothing acknowledged is lost, and what remains converges."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fixtures.registries import fresh_sqlite, log_files
from tests.release.kills import NAMES, Outcome, Place, kill_many


@pytest.fixture
def place(any_store_url: str, tmp_path: Path) -> Place:
    """A store on a folder and on S3, MLflow on SQLite with one run for each name, a routing file."""
    registry = fresh_sqlite(tmp_path)
    sources = {name: log_files(registry) for name in NAMES}
    environ = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return Place(any_store_url, registry, str(tmp_path / "routing.json"), sources, environ)


def check(outcome: Outcome) -> None:
    print(outcome)
    assert outcome.lost == 0
    assert outcome.diverged == 0


def test_kills(place: Place) -> None:
    check(kill_many(place, 8, seed=1))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_thousand_kills(place: Place) -> None:
    outcome = kill_many(place, 200 if place.store.startswith("s3:") else 800, seed=2)
    check(outcome)
    assert {"shifted", "promoting", "returned", "routed", "drilled"} <= set(outcome.types)
