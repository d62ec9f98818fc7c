from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.evidence.delta import open_tables
from holdfast.ledger import Ledger
from holdfast.serving.log.housekeeping import Housekeeping
from holdfast.store import open_store
from tests.serving.log.segments_of import BEGIN, ids_of, numbered, predictions, write_segments

NOW = datetime.fromtimestamp(BEGIN / 1e6, UTC)


def keeper(tmp_path: Path, said: list[str], keep: timedelta | None = None) -> Housekeeping:
    ledger = Ledger(open_store(tmp_path / "store"), who="tests")
    return Housekeeping(tmp_path / "log", ledger, "m", clock=lambda: NOW, complain=said.append, keep=keep)


def test_it_goes_on_and_takes_what_is_left_when_it_is_stopped(tmp_path: Path) -> None:
    said: list[str] = []
    stop = threading.Event()
    thread = threading.Thread(target=keeper(tmp_path, said).run, args=(timedelta(seconds=0.01), stop))
    thread.start()
    for number in range(5):
        write_segments(tmp_path / "log", [predictions(number)])
    stop.set()
    thread.join()
    assert ids_of(open_tables(open_store(tmp_path / "store"), "m").predictions) == numbered(range(5))
    assert said == []


def test_a_store_that_is_away_is_complained_of_once_and_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    keeping = keeper(tmp_path, said)
    write_segments(tmp_path / "log", [predictions(1)])
    (tmp_path / "store").write_text("in the way")
    for _ in range(3):
        assert keeping.once().rows == 0
    assert len(said) == 1
    assert "could not be reached" in said[0]
    (tmp_path / "store").unlink()
    assert keeping.once().rows == 1
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    (tmp_path / "store").write_text("in the way again")
    write_segments(tmp_path / "log", [predictions(2)])
    keeping.once()
    assert len(said) == 2
    (tmp_path / "store").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "store")
    assert keeping.once().rows == 1


def test_days_that_are_too_old_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.serving.log.housekeeping.TIDY_EVERY", 0.0)
    write_segments(tmp_path / "log", [predictions(1), predictions(2, time=BEGIN - 5 * 86_400 * 10**6)])
    keeper(tmp_path, [], timedelta(days=3)).once()
    assert ids_of(open_tables(open_store(tmp_path / "store"), "m").predictions) == ["p-1"]


def test_what_nobody_needs_of_live_evidence_goes(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    for key in ("r1-abc-4/a", "r1-abc-4.source", "profile/2020-01-01T00/a"):
        store.put(f"live/m/{key}", b"x")
    store.put("live/other/r1-abc-4/a", b"x")
    keeper(tmp_path, [], timedelta(days=3)).once()
    assert store.list("live/") == ["live/other/r1-abc-4/a"]
