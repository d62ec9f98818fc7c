"""One answered request as the log keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, kw_only=True)  # not frozen: 15 fields would cost two microseconds more
class Record:
    """One request: `outputs` and `inputs` have one entry a row (JSON values), so the log's tables have one row each.

    `variant` is as assigned, `served_by` the version that answered; `version` is the assigned variant's version. `fault` is
    why the assigned version did not answer. `time` is UTC microseconds of arrival, `latency_ms` of the assigned version's
    call. `inputs` holds what the project asks to be kept: None, a digest, or some columns.
    """

    prediction_id: str
    time: int
    model: str
    version: str
    variant: str
    served_by: str
    unit: str | None
    latency_ms: float
    fault: str | None
    outputs: list[Any]
    release: str | None = None
    epoch: int = 0
    share: float = 0.0
    override: bool = False
    inputs: list[Any] | None = None
