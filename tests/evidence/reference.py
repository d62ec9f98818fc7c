"""The evidence of a step, slowly and obviously: dictionaries and loops over rows as Python has them."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from holdfast.data.hashing import hash_array
from holdfast.evidence.measures import Measure
from holdfast.evidence.sums import ARMS, BUCKETS
from holdfast.stats.assignment import burst_log_evidence, share_of_error

Row = dict[str, Any]
ARM = {"champion": 0, "canary": 1}
US = 1_000_000


@functools.cache
def hashed(text: str) -> int:
    return int(hash_array(pa.array([text]))[0])


def clean_rows(predictions: list[Row]) -> list[Row]:
    """The rows that are evidence, in the order of time; Python's sort is stable."""
    usable = [
        row
        for row in predictions
        if row["variant"] in ARM
        and row["unit"]
        and row["prediction_id"]
        and row["time"] is not None
        and not row.get("override")
    ]
    seen, found = set(), []
    for row in sorted(usable, key=lambda row: row["time"]):
        if row["prediction_id"] not in seen:
            seen.add(row["prediction_id"])
            found.append(row)
    return found


@dataclass
class Value:
    value: float
    mass: float
    missing: bool


def delay_of(measure: Measure) -> int:
    return round(measure.delay * US) if measure.source == "outcome" else 0


def firsts(outcomes: list[Row], name: str) -> dict[str, list[Row]]:
    """The outcomes of each request in the order of time, then of arrival."""
    found: dict[str, list[Row]] = defaultdict(list)
    for outcome in sorted((o for o in outcomes if o["name"] == name), key=lambda o: o["time"]):
        found[outcome["prediction_id"]].append(outcome)
    return found


def value_of(measure: Measure, row: Row, outcomes: dict[str, list[Row]]) -> Value:
    if measure.source == "requests":
        return Value(1.0, 1.0, False)
    if measure.source == "error":
        return Value(float(row["fault"] is not None), 1.0, False)
    if measure.source == "latency":
        assert measure.slower_than_ms is not None
        latency = row["latency_ms"]
        if latency is None:
            return Value(1.0, 1.0, False) if row["fault"] is not None else Value(0.0, 0.0, True)
        return Value(float(np.float32(latency) > np.float32(measure.slower_than_ms)), 1.0, False)
    came = outcomes.get(row["prediction_id"], [])
    if not came or came[0]["time"] > row["time"] + delay_of(measure):
        return Value(0.0, 1.0, False) if measure.absent == "zero" else Value(0.0, 0.0, True)
    value = came[0]["value"]
    if not math.isfinite(value):
        return Value(0.0, 0.0, True)
    return Value(value if measure.cap is None else min(value, measure.cap), 1.0, False)


def fates(measure: Measure, rows: list[Row], outcomes: list[Row]) -> dict[str, list[int]]:
    """What became of every outcome of the requests in `rows`; of all others it is unknown."""
    times = {row["prediction_id"]: row for row in rows}
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for name, came in firsts(outcomes, str(measure.outcome)).items():
        row = times.get(name)
        if row is None:
            found[f"unknown:{measure.name}"][2] += len(came)
            continue
        arm, due = ARM[row["variant"]], row["time"] + delay_of(measure)
        winner = came[0]
        for outcome in came:
            value, first = outcome["value"], winner["value"]
            if outcome["time"] > due:
                found[f"late:{measure.name}"][arm] += 1
            elif outcome is not winner:
                equal = value == first or (math.isnan(value) and math.isnan(first))
                found[f"{'duplicate' if equal else 'contradictory'}:{measure.name}"][arm] += 1
            else:
                if not math.isfinite(value):
                    found[f"unusable:{measure.name}"][arm] += 1
                if outcome["time"] < row["time"]:
                    found[f"early:{measure.name}"][arm] += 1
    return dict(found)


@dataclass
class Look:
    """Everything at one look."""

    total: dict[str, np.ndarray] = field(default_factory=dict)
    mass: dict[str, np.ndarray] = field(default_factory=dict)
    missing: dict[str, np.ndarray] = field(default_factory=dict)
    open: dict[str, list[int]] = field(default_factory=dict)
    requests: list[int] = field(default_factory=lambda: [0, 0])
    units: list[int] = field(default_factory=lambda: [0, 0])
    crossed: int = 0


def cell(arm: int, unit: str) -> tuple[int, int]:
    return arm, hashed(unit) % BUCKETS


def look(predictions: list[Row], outcomes: list[Row], measures: dict[str, Measure], begin: int, now: int) -> Look:
    rows = [row for row in clean_rows(predictions) if begin <= row["time"] <= now]
    found = Look()
    met: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        found.requests[ARM[row["variant"]]] += 1
        met[row["unit"]].add(ARM[row["variant"]])
    found.units = [sum(arm in arms for arms in met.values()) for arm in range(ARMS)]
    found.crossed = sum(len(arms) == 2 for arms in met.values())
    for name, measure in measures.items():
        by_request = firsts(outcomes, str(measure.outcome))
        total, mass, missing = (np.zeros((ARMS, BUCKETS)) for _ in range(3))
        found.open[name] = [0, 0]
        for row in rows:
            arm = ARM[row["variant"]]
            if row["time"] + delay_of(measure) > now:
                found.open[name][arm] += 1
                continue
            value = value_of(measure, row, by_request)
            where = cell(arm, row["unit"])
            total[where] += value.value
            mass[where] += value.mass
            missing[where] += value.missing
        found.total[name], found.mass[name], found.missing[name] = total, mass, missing
    return found


def closed(
    predictions: list[Row], outcomes: list[Row], measures: dict[str, Measure], begin: int, now: int, window: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    longest = max([0, *(delay_of(measure) for measure in measures.values())])
    by_unit: dict[str, list[Row]] = defaultdict(list)
    for row in clean_rows(predictions):
        if begin <= row["time"] <= now:
            by_unit[row["unit"]].append(row)
    total = {name: np.zeros((ARMS, BUCKETS)) for name in measures}
    mass = {name: np.zeros((ARMS, BUCKETS)) for name in measures}
    units = np.zeros((ARMS, BUCKETS))
    for unit, rows in by_unit.items():
        first = rows[0]
        if first["time"] + window + longest > now:
            continue
        where = cell(ARM[first["variant"]], unit)
        units[where] += 1
        for name, measure in measures.items():
            by_request = firsts(outcomes, str(measure.outcome))
            for row in rows:
                if row["time"] < first["time"] + window:
                    value = value_of(measure, row, by_request)
                    total[name][where] += value.value
                    mass[name][where] += value.mass
    return total, mass, units


def bursts(
    predictions: list[Row], begin: int, ends: list[int], *, share: float, stretch: float, alpha: float
) -> list[float]:
    """The largest margin of the faults in each look; the last looks' ends are `ends`, the first look begins at `begin`."""
    found = [-math.inf] * len(ends)
    seen: dict[int, set[str]] = defaultdict(set)
    counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    faults = [row for row in clean_rows(predictions) if row["fault"] is not None and row["time"] >= begin]
    for row in sorted(faults, key=lambda row: (row["time"], hashed(row["unit"]), ARM[row["variant"]])):
        number = math.floor((row["time"] - begin) / US / stretch)
        if row["unit"] in seen[number] or row["time"] > ends[-1]:
            continue
        seen[number].add(row["unit"])
        counts[number][ARM[row["variant"]]] += 1
        h, k = counts[number]
        margin = float(burst_log_evidence(k, h, share)) + math.log(alpha * float(share_of_error(number + 1.0)))
        place = next(k for k, end in enumerate(ends) if row["time"] <= end)
        found[place] = max(found[place], margin if k >= 5 else -math.inf)
    return found
