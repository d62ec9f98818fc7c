"""What became of the outcomes in the log, name by name: the join that judges releases, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from holdfast.evidence._arrow import python_texts
from holdfast.evidence.contributions import fates
from holdfast.evidence.delta import LogTable
from holdfast.evidence.delta_log import DeltaLog
from holdfast.evidence.firsts import NEVER
from holdfast.evidence.log import take
from holdfast.evidence.measures import Measure
from holdfast.evidence.outcomes import join
from holdfast.serving.log.appending import steadily

_FOR_EVER = 1e9  # seconds: an outcome that no guardrail gives a delay is never late


@dataclass(frozen=True)
class OutcomeCounts:
    """`joined` are those that count: the first of their request, in time. `delay` in seconds, None without a guardrail."""

    name: str
    delay: float | None
    received: int
    joined: int
    repeated: int
    contradictory: int
    unknown: int
    late: int
    unusable: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def outcome_counts(
    log: DeltaLog, table: LogTable, delays: Mapping[str, float]
) -> tuple[list[OutcomeCounts], list[str]]:
    """The counts of every name, and sentences of what was left out before any joining. `delays` by name, in seconds."""
    names = sorted({*names_in(table), *delays})
    taken = take(log, None, names, per_request=True)
    found = []
    for name in names:
        measure = Measure(name=name, source="outcome", outcome=name, delay=delays.get(name, _FOR_EVER))
        marks = taken.outcomes.of(name)
        first, unknown = join(taken.rows, marks)
        fate = fates(measure, taken.rows, first)
        late, unusable, repeated, contradictory = (
            fate.total(f"{kind}:{name}") for kind in ("late", "unusable", "duplicate", "contradictory")
        )
        came = int(np.count_nonzero(first.when != NEVER))
        late_firsts = late + repeated + contradictory - len(first.others.at)
        found.append(
            OutcomeCounts(
                name,
                delays.get(name),
                received=len(marks),
                joined=came - late_firsts - unusable,
                repeated=repeated,
                contradictory=contradictory,
                unknown=len(unknown),
                late=late,
                unusable=unusable,
            )
        )
    lost = [sentence for sentence in taken.left_out.sentences() if sentence.startswith("Outcomes")]
    return found, lost


def names_in(table: LogTable) -> list[str]:
    """The names of the outcomes in the table."""
    table.refresh()
    return sorted(steadily(table, lambda: _names(table)))


def _names(table: LogTable) -> set[str]:
    found: set[str] = set()
    for file in table.files():
        found |= {name for name in python_texts(pc.unique(table.read(file, ["name"]).column(0))) if name is not None}
    return found
