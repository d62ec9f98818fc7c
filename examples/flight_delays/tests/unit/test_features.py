"""Single features. Times are given in nanoseconds here, so they mean the same in every pandas: text does not."""

from __future__ import annotations

import pandas as pd
import pytest

from flight_delays.features import NAMES, features, learn_rates, rate_of, scheduled_hour, scheduled_weekday

TIMES = [  # UTC, hour and weekday in New York's standard time
    ("1970-01-01T05:00", 0, 3),
    ("2013-01-01T10:00", 5, 1),
    ("2013-01-01T04:59", 23, 0),
    ("2013-07-04T12:30", 7, 3),
    ("2014-01-01T04:00", 23, 1),
]


def moments(*texts: str) -> pd.Series:
    return pd.Series(texts, dtype="datetime64[ns]").dt.tz_localize("UTC")


def flights(**columns: list[object]) -> pd.DataFrame:
    rows = len(next(iter(columns.values())))
    usual = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "distance": 1400.0}
    table = pd.DataFrame({name: [value] * rows for name, value in usual.items()} | columns)
    return table.assign(scheduled=moments(*["2013-01-01T10:00"] * rows))


@pytest.mark.parametrize(("time", "hour", "day"), TIMES)
def test_hour_and_weekday(time: str, hour: int, day: int) -> None:
    assert scheduled_hour(moments(time)).tolist() == [hour]
    assert scheduled_weekday(moments(time)).tolist() == [day]


def test_times_keep_their_index_and_none_give_none() -> None:
    times = moments("2013-01-01T10:00", "2013-01-01T11:00").set_axis([7, 3])
    assert scheduled_hour(times).to_dict() == {7: 5, 3: 6}
    assert len(scheduled_hour(moments())) == len(scheduled_weekday(moments())) == 0


@pytest.mark.parametrize(("value", "rate"), [("UA", 0.25), ("ZZ", 0.5), ("", 0.5), (None, 0.5), (float("nan"), 0.5)])
def test_an_unknown_or_null_category_counts_as_the_mean(value: object, rate: float) -> None:
    assert rate_of(pd.Series([value], dtype="object"), {"UA": 0.25, "": 0.5}).tolist() == [rate]


def test_rates_are_drawn_towards_the_mean() -> None:
    rows = flights(carrier=["UA", "UA", "AA", "AA"], late=[1, 1, 0, 0])
    assert learn_rates(rows, prior=0.0)["carrier"] == {"UA": 1.0, "AA": 0.0, "": 0.5}
    assert learn_rates(rows, prior=2.0)["carrier"] == {"UA": 0.75, "AA": 0.25, "": 0.5}


def test_features_of_a_table() -> None:
    rates = {"carrier": {"UA": 0.1, "": 0.3}, "origin": {"EWR": 0.2, "": 0.3}, "dest": {"": 0.3}}
    found = features(flights(carrier=["UA", None], distance=[100.0, None]).set_axis([5, 6]), rates)
    assert list(found) == NAMES
    assert found.loc[5].tolist() == [5, 1, 100.0, 0.1, 0.2, 0.3]
    assert found["carrier_rate"].tolist() == [0.1, 0.3]
    assert found["distance"].isna().tolist() == [False, True]


def test_an_empty_table_has_the_same_columns() -> None:
    found = features(flights(carrier=["UA"]).head(0))
    assert list(found) == NAMES
    assert found.empty
