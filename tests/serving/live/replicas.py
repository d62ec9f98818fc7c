"""Replicas, their common log and a clock that a test turns: requests and outcomes happen, processes die and come back."""

from __future__ import annotations

import dataclasses
import itertools
import random
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pyarrow as pa

from holdfast.config.schema import ReleaseConfig
from holdfast.evidence.log import MemoryLog, Position, Slice
from holdfast.evidence.own import Mark
from holdfast.evidence.summary import Summary, merge
from holdfast.release.attempt import Attempt, Status
from holdfast.release.canary.planning import canary_plan
from holdfast.release.routing import Routing
from holdfast.release.sources import begin_of, new_step, ours, since, taken_of
from holdfast.release.summaries import step_key
from holdfast.serving.live import LiveEvidence, LiveProfile
from holdfast.serving.payload import Payload
from holdfast.serving.records import Record
from holdfast.store import Store
from holdfast.verdict import utc_text

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
US = 1_000_000
MODEL = "ranker"
PLAN = canary_plan(
    ReleaseConfig.model_validate(
        {
            "canary": {"steps": [{"share": 0.2, "hours": 1}, {"share": 0.4}], "max_hours": 48, "unit_window": "6h"},
            "guardrails": {
                "click": {"max_drop": 0.03, "absent": "zero", "delay": "20s"},
                "spend": {"max_drop": 0.3, "absent": "missing", "delay": "50s", "cap": 5},
                "error": {"max_rise": 0.05},
                "latency_p99_ms": {"max_rise": 50},
            },
        }
    ),
    slow_ms=100.0,
)
PREDICTIONS = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("time", pa.timestamp("us", "UTC")),
        ("variant", pa.string()),
        ("unit", pa.string()),
        ("latency_ms", pa.float64()),
        ("fault", pa.string()),
        ("override", pa.bool_()),
        ("row", pa.int32()),
        ("release", pa.string()),
        ("epoch", pa.int64()),
    ]
)
OUTCOMES = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("time", pa.timestamp("us", "UTC")),
        ("name", pa.string()),
        ("value", pa.float64()),
        ("row", pa.int32()),
    ]
)


def attempt(**changes: Any) -> Attempt:
    begun = utc_text(BEGIN)
    fields = {"status": Status.RUNNING, "began": begun, "since": begun, "shifted": 7, "share": 0.2, **changes}
    return Attempt(id=fields.pop("id", "r1"), candidate="2", champion="1", plan=PLAN, started=begun, **fields)


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    @property
    def micros(self) -> int:
        return round(self.now.timestamp() * US)

    def on(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Written(MemoryLog):
    """A log to which rows are appended one by one."""

    def __init__(self) -> None:
        super().__init__(PREDICTIONS.empty_table(), OUTCOMES.empty_table())
        self.rows: dict[pa.Schema, list[dict[str, Any]]] = {PREDICTIONS: [], OUTCOMES: []}

    def read(self, after: Position | None) -> tuple[Slice, Position]:
        tables = [pa.Table.from_pylist(rows, schema) if rows else None for schema, rows in self.rows.items()]
        self.append(*tables)
        self.rows = {schema: [] for schema in self.rows}
        return super().read(after)


class World:
    """Replicas by name in front of one log. What a replica has logged is in its own segments until it hands it over."""

    def __init__(self, store: Store, names: str, seed: int = 0) -> None:
        self.store, self.rng = store, random.Random(seed)
        self.clock, self.log = Clock(), Written()
        self.segments: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        self.attempt: Attempt | None = None
        self.answered: list[Record] = []
        self.options: dict[str, Any] = {}
        self.profiles: dict[str, LiveProfile] = {}
        self._numbers = itertools.count()
        self.replicas = {name: self.begun(name) for name in names}

    def begun(self, name: str) -> LiveEvidence:
        """A new process called so."""
        profile = self.profiles.get(name)
        return LiveEvidence(
            name, self.store, MODEL, self.log, settle=lambda: self.hand_over(name), clock=self.clock, profile=profile,
            **self.options,
        )  # fmt: skip

    def restart(self, name: str) -> None:
        """kill -9, and the same name again."""
        self.replicas[name] = self.begun(name)
        self.replicas[name].tell(self.attempt)

    def tell(self, attempt: Attempt | None) -> None:
        self.attempt = attempt
        for replica in self.replicas.values():
            replica.tell(attempt)

    def hand_over(self, name: str) -> None:
        self.log.rows[PREDICTIONS] += self.segments[name]
        self.segments[name] = []

    def answer(self, name: str, unit: str | None = None, inputs: Payload | None = None, **changes: Any) -> Record:
        """One request, logged and observed."""
        rng, told = self.rng, self.attempt
        named = unit is not None or rng.random() > 0.03
        unit = unit or f"user-{rng.randrange(60)}"
        routing = Routing(
            model=MODEL,
            epoch=told.shifted if told else 0,
            champion="1",
            canary="2" if told else None,
            share=told.share if told else 0,
            release=told.id if told else None,
        )
        rows = rng.choice([1, 1, 1, 1, 3])
        record = Record(
            prediction_id=f"{Mark.of(name).text}-{next(self._numbers)}",
            time=self.clock.micros - rng.randrange(900_000),
            model=MODEL,
            version="1",
            variant=routing.variant_of(unit),
            served_by="1",
            unit=unit if named else None,
            latency_ms=rng.choice([20.0, 100.0, 100.5, 350.0]),
            fault=rng.choice([None] * 9 + ["raised"]),
            outputs=[0.5] * rows,
            override=rng.random() < 0.05,
            release=routing.release,
            epoch=routing.epoch,
        )
        record = dataclasses.replace(record, **changes)
        self.segments[name] += rows_of(record)
        self.replicas[name].observe(record, inputs)
        self.answered.append(record)
        return record

    def outcome(self, record: Record, seconds: float | None = None, **changes: Any) -> None:
        """What came of one request, as any replica may have received it."""
        rng = self.rng
        delay = rng.choice([rng.randint(0, 80 * US), 20 * US, 20 * US + 1, 0, -1]) if seconds is None else seconds * US
        row = {
            "prediction_id": record.prediction_id,
            "time": record.time + round(delay),
            "name": rng.choice(["click", "click", "spend", "other"]),
            "value": rng.choice([0.0, 1.0, 1.0, 0.5, 7.0, float("nan")]),
            "row": rng.choice([None, 0, 1]),
            **changes,
        }
        self.log.rows[OUTCOMES].append(row)

    def flush(self) -> None:
        for replica in self.replicas.values():
            replica.flush()

    def summaries(self, of: Attempt) -> dict[str, Summary]:
        prefix = f"{step_key(MODEL, of)}/"
        return {
            key.removeprefix(prefix): Summary.from_bytes(self.store.get(key) or b"") for key in self.store.list(prefix)
        }

    def sum(self, of: Attempt) -> Summary:
        return reduce(merge, self.summaries(of).values())

    def logged(self, of: Attempt) -> Summary:
        """What the log says of a step up to now, to whoever reads all of it at once."""
        for name in self.segments:
            self.hand_over(name)
        taken = taken_of(self.log, None, of.plan)
        step = new_step(of)
        step.feed(ours(taken.rows, of), since(taken.outcomes, begin_of(of)))
        step.block(0, 1, (self.clock.micros - begin_of(of)) // US)
        return step.summary()


def rows_of(record: Record) -> list[dict[str, Any]]:
    """The log's rows of a record."""
    fields = {name: getattr(record, name) for name in PREDICTIONS.names if name != "row"}
    return [{**fields, "row": row} for row in range(len(record.outputs))]
