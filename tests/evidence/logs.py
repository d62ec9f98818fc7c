"""Random logs with everything that goes wrong in real ones, and how to hand them to what is tested."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pyarrow as pa

from holdfast.evidence.left_out import LeftOut
from holdfast.evidence.measures import Measure
from holdfast.evidence.outcomes import Outcomes, clean_outcomes
from holdfast.evidence.rows import Rows, clean
from tests.evidence.reference import US, Row

BEGIN = 1_790_000_000 * US
SECONDS = 300
MEASURES = {
    measure.name: measure
    for measure in (
        Measure(name="click", source="outcome", outcome="click", delay=30.0),
        Measure(name="click_soon", source="outcome", outcome="click", delay=5.0, absent="missing"),
        Measure(name="spend", source="outcome", outcome="spend", delay=60.0, absent="missing", cap=5.0),
        Measure(name="error", source="error"),
        Measure(name="slow", source="latency", slower_than_ms=100.0),
        Measure(name="requests", source="requests"),
    )
}
OUTCOMES = ("click", "spend")
PREDICTION_SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("time", pa.timestamp("us", "UTC")),
        ("variant", pa.string()),
        ("unit", pa.string()),
        ("latency_ms", pa.float64()),
        ("fault", pa.string()),
        ("override", pa.bool_()),
    ]
)
OUTCOME_SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("time", pa.timestamp("us", "UTC")),
        ("name", pa.string()),
        ("value", pa.float64()),
    ]
)


def make(seed: int, count: int = 120, *, repeats: bool = True) -> tuple[list[Row], list[Row]]:
    """Predictions and outcomes in no order at all. With `repeats` prediction ids come again, at other times too."""
    rng = random.Random(seed)
    units = [f"user-{k}" for k in range(rng.choice([3, 20, 200]))]
    home = {unit: rng.choice(["champion", "champion", "canary"]) for unit in units}
    rows = [_prediction(rng, k, rng.choice(units), home) for k in range(count)]
    if repeats:
        for row in rng.sample(rows, count // 10):
            again = dict(row)
            if (
                rng.random() < 0.5 and (row["time"] or 0) >= BEGIN
            ):  # who comes before the step and in it is two requests
                again |= {
                    "time": max(_moment(rng), BEGIN),
                    "variant": rng.choice(["champion", "canary"]),
                    "unit": rng.choice(units),
                }
            rows.append(again)
    rng.shuffle(rows)
    outcomes = [
        _outcome(rng, row) for row in rows for _ in range(rng.choice([0, 1, 1, 1, 2, 3])) if row["time"] is not None
    ]
    for outcome in rng.sample(outcomes, len(outcomes) // 10):
        outcomes.append({**outcome, "time": outcome["time"] + rng.choice([0, 1, 10 * US])})
    for _ in range(count // 20):
        outcomes.append({**_outcome(rng, rows[0] | {"time": _moment(rng)}), "prediction_id": f"nobody-{rng.random()}"})
    rng.shuffle(outcomes)
    return rows, outcomes


def predictions_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=PREDICTION_SCHEMA)


def outcomes_table(outcomes: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(outcomes), schema=OUTCOME_SCHEMA)


def cleaned(rows: Sequence[Row], outcomes: Sequence[Row]) -> tuple[Rows, Outcomes, LeftOut]:
    found, left_out = clean(predictions_table(rows))
    marks, lost = clean_outcomes(outcomes_table(outcomes), OUTCOMES)
    return found, marks, left_out + lost


def _moment(rng: random.Random) -> int:
    """A moment from shortly before the step to its end; often a whole ten seconds, so that moments and edges coincide."""
    if rng.random() < 0.3:
        return BEGIN + rng.randint(-2, SECONDS // 10) * 10 * US
    return BEGIN + rng.randint(-20 * US, SECONDS * US)


def _prediction(rng: random.Random, number: int, unit: str, home: dict[str, str]) -> Row:
    arm = home[unit] if rng.random() < 0.95 else rng.choice(["champion", "canary"])
    return {
        "prediction_id": f"p-{number}" if rng.random() > 0.02 else None,
        "time": _moment(rng) if rng.random() > 0.02 else None,
        "variant": arm if rng.random() > 0.04 else rng.choice(["shadow", "Canary", None]),
        "unit": unit if rng.random() > 0.04 else rng.choice(["", None]),
        "latency_ms": None if rng.random() < 0.1 else rng.choice([20.0, 100.0, 100.5, 350.0]),
        "fault": "timeout" if rng.random() < 0.15 else None,
        "override": rng.choice([None, None, False, False, rng.random() < 0.2]),
    }


def _outcome(rng: random.Random, row: Row) -> Row:
    delay = rng.choice([rng.randint(-10 * US, 5 * US), rng.randint(0, 90 * US), 5 * US, 30 * US, 30 * US + 1, 0])
    value = rng.choice([0.0, 1.0, 1.0, 0.5, -1.0, 7.0, float("nan"), float("inf")])
    name = rng.choice(["click", "click", "spend", "other"])
    return {"prediction_id": row["prediction_id"] or "p-0", "time": row["time"] + delay, "name": name, "value": value}
