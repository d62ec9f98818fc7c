from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.serving.live.sweeping import obsolete, sweep
from holdfast.store import Store
from holdfast.store.backend import Folder

NAMES = [
    "r1-aaaaaa-4/a",
    "r1-aaaaaa-4.source",
    "r1-aaaaaa.course",
    "r11-bbbbbb-14/a",
    "r11-bbbbbb-15/a",
    "r11-bbbbbb-15.source",
    "r11-bbbbbb.course",
    "profile/2026-03-01T23/a",
    "profile/2026-03-02T00/a",
]


@pytest.mark.parametrize(
    ("living", "before", "expected"),
    [
        ("r11-bbbbbb", None, NAMES[:3]),
        ("r1-aaaaaa", None, NAMES[3:7]),
        (None, None, NAMES[:7]),
        ("r11-bbbbbb", date(2026, 3, 2), [*NAMES[:3], NAMES[7]]),
    ],
)
def test_what_goes(living: str | None, before: date | None, expected: list[str]) -> None:
    assert list(obsolete(NAMES, living, before)) == expected


def test_the_ledger_is_asked_after_the_listing(tmp_path: Path) -> None:
    """A release that begins between the two loses nothing."""
    store = Store(Folder(tmp_path), "memory://")
    store.put("live/m/r1-aaaaaa-4/a", b"x")

    def living() -> str:
        store.put("live/m/r2-cccccc-9/a", b"x")
        return "r2-cccccc"

    assert sweep(store, "m", living, datetime(2026, 3, 1, tzinfo=UTC), timedelta(days=1)) == 1
    assert store.list("live/") == ["live/m/r2-cccccc-9/a"]
