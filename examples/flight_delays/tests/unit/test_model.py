"""The classifier on a small table, and the table itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flight_delays import data
from flight_delays.model import Delays

LATER = {"arr_delay", "dep_delay", "arr_time", "dep_time", "air_time", "tailnum"}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """4,000 flights of which those in the evening are late more often."""
    draw = np.random.default_rng(0)
    hours = draw.integers(0, 24, 4_000)
    times = pd.Timestamp("2013-01-01T05:00", tz="UTC") + pd.to_timedelta(hours, unit="h")
    return pd.DataFrame(
        {
            "scheduled": pd.Series(times).astype("datetime64[ns, UTC]"),
            "carrier": draw.choice(["UA", "AA"], 4_000),
            "origin": "EWR",
            "dest": draw.choice(["IAH", "ORD"], 4_000),
            "distance": draw.uniform(100, 3_000, 4_000),
            "late": (draw.uniform(size=4_000) < hours / 30).astype(int),
        }
    )


def test_it_learns_the_evening_and_comes_back_from_its_files(rows: pd.DataFrame, tmp_path: Path) -> None:
    model = Delays.fit(rows, rounds=20, seed=1)
    model.save(tmp_path / "delays")
    again = Delays.load(tmp_path / "delays").predict(rows)
    assert again.tolist() == model.predict(rows).tolist() == Delays.fit(rows, rounds=20, seed=1).predict(rows).tolist()
    late, early = again[rows["late"] == 1].mean(), again[rows["late"] == 0].mean()
    assert late > early + 0.1
    assert {path.name for path in (tmp_path / "delays").iterdir()} == {"booster.txt", "rates.json"}


def test_a_row_does_not_depend_on_the_others(rows: pd.DataFrame) -> None:
    model = Delays.fit(rows, rounds=5)
    assert model.predict(rows)[10:13].tolist() == model.predict(rows.iloc[10:13]).tolist()
    assert len(model.predict(rows.head(0))) == 0


def test_cancelled_flights_and_what_is_known_later_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    source = pd.DataFrame(
        {
            "time_hour": ["2013-01-01T11:00:00Z", "2013-01-01T10:00:00Z", "2013-01-01T12:00:00Z"],
            "arr_delay": [15.0, 16.0, None],
            "distance": 1400,
            **dict.fromkeys(["carrier", "origin", "dest"], "X"),
            **dict.fromkeys(LATER - {"arr_delay"}, 1.0),
        }
    )
    monkeypatch.setattr(data, "flights", lambda: source)
    made = data.table()
    assert made["flight_id"].tolist() == ["f000001", "f000000"]
    assert made["late"].tolist() == [1, 0]
    assert not LATER & set(made)
