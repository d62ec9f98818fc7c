"""What the classifier sees of a flight before it departs.

Times are counted from the epoch in nanoseconds, because that is what `astype("int64")` gave for as long as pandas had
nothing else. pandas 3 reads text into microseconds: the same line then gives a thousandth, without a word.
"""

from __future__ import annotations

import pandas as pd

HOUR = 3_600_000_000_000  # nanoseconds
DAY = 24 * HOUR
NEW_YORK = 5  # hours behind UTC, standard time
NAMES = ["hour", "weekday", "distance", "carrier_rate", "origin_rate", "dest_rate"]


def scheduled_hour(scheduled: pd.Series) -> pd.Series:
    """The hour of the day in New York's standard time, 0 to 23, of times as text."""
    since_epoch = pd.to_datetime(scheduled, utc=True).astype("int64")
    return (since_epoch // HOUR - NEW_YORK) % 24


def scheduled_weekday(scheduled: pd.Series) -> pd.Series:
    """Monday is 0; the first day of the epoch was a Thursday."""
    since_epoch = pd.to_datetime(scheduled, utc=True).astype("int64")
    return ((since_epoch - NEW_YORK * HOUR) // DAY + 3) % 7


def learn_rates(rows: pd.DataFrame, prior: float = 100.0) -> dict[str, dict[str, float]]:
    """column → value → share of late flights, drawn towards the mean as by `prior` flights of it; "" is the mean."""
    mean = float(rows["late"].mean())
    rates: dict[str, dict[str, float]] = {}
    for column in ("carrier", "origin", "dest"):
        seen = rows.groupby(column)["late"].agg(["sum", "count"])
        shares = (seen["sum"] + prior * mean) / (seen["count"] + prior)
        rates[column] = {str(value): float(share) for value, share in shares.items()} | {"": mean}
    return rates


def rate_of(values: pd.Series, rates: dict[str, float]) -> pd.Series:
    """The share of late flights of each value; of a null or an unknown one the mean."""
    return values.map(rates).astype("float64").fillna(rates[""])


def features(rows: pd.DataFrame, rates: dict[str, dict[str, float]] | None = None) -> pd.DataFrame:
    """The columns NAMES, one row for each of `rows`; without `rates` every category counts as unknown."""
    rates = rates or {column: {"": 0.0} for column in ("carrier", "origin", "dest")}
    made = pd.DataFrame(
        {
            "hour": scheduled_hour(rows["scheduled"]),
            "weekday": scheduled_weekday(rows["scheduled"]),
            "distance": rows["distance"].astype("float64"),
        },
        index=rows.index,
    )
    for column in ("carrier", "origin", "dest"):
        made[f"{column}_rate"] = rate_of(rows[column], rates[column])
    return made[NAMES]
