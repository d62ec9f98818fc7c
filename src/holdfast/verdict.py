"""The one result type of the project: every judgement is a `CheckResult`, many of them a `Report`.

Standard library only, imports no other room. The JSON form is published as `report.schema.json`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Self

SCHEMA = 1

Kind = Literal[
    "absolute", "regression", "slice", "latency", "data", "leak", "snapshot", "environment", "drift", "guardrail"
]
OnInconclusive = Literal["fail", "hold", "report"]


class Verdict(StrEnum):
    """PASS < INCONCLUSIVE < FAIL < ERROR: the larger, the worse."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"
    ERROR = "error"

    @property
    def severity(self) -> int:
        return list(Verdict).index(self)

    @property
    def exit_status(self) -> int:
        """0 pass, 1 fail, 3 inconclusive, 4 error."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 3, Verdict.ERROR: 4}[self]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The most severe of `verdicts`; ERROR for none, because no measurement is never a pass."""
    return max(verdicts, key=lambda verdict: verdict.severity, default=Verdict.ERROR)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One question that was asked of data, a model or production, and its answer.

    `estimate`, `low`, `high` and `threshold` share the unit of `metric`; of a regression check they are
    candidate − champion (`scale="relative"`: as a share of the champion's value). `low`/`high` are two-sided at
    `confidence`; a bound that does not exist is None. `unit` is the unit of randomness and `n` how many of them
    were seen; `needed_n` is about how many would settle an inconclusive answer. A check of `level="notice"` never
    decides a report; `on_inconclusive` says what an inconclusive check of `level="stop"` does to it: make it fail,
    hold it inconclusive, or only be reported.
    """

    name: str
    kind: Kind
    verdict: Verdict
    message: str
    metric: str | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    threshold: float | None = None
    direction: Literal["higher", "lower"] | None = None
    method: str | None = None
    unit: str | None = None
    n: int | None = None
    needed_n: int | None = None
    scale: Literal["absolute", "relative"] = "absolute"
    level: Literal["stop", "notice"] = "stop"
    on_inconclusive: OnInconclusive = "fail"
    reason_code: str | None = None
    series: tuple[Mapping[str, Any], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def counts_as(self) -> Verdict | None:
        """What this check contributes to a report's verdict; None where it contributes nothing."""
        if self.level == "notice":
            return None
        if self.verdict is not Verdict.INCONCLUSIVE:
            return self.verdict
        return {"fail": Verdict.FAIL, "hold": Verdict.INCONCLUSIVE, "report": None}[self.on_inconclusive]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready mapping; numbers that are not finite become null."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read back what `to_json` gave; unknown fields are ignored."""
        known = {f.name for f in dataclasses.fields(cls)}
        values = {name: value for name, value in document.items() if name in known}
        values["verdict"] = Verdict(values["verdict"])
        values["series"] = tuple(values.get("series") or ())
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Report:
    """The judgement of one candidate, table or environment: checks, what went in, and one verdict."""

    checks: tuple[CheckResult, ...]
    title: str = "Report"
    model: str | None = None
    candidate: str | None = None
    champion: str | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    explanation: tuple[Mapping[str, Any], ...] = ()  # of a failure: what changed, and what each change alone brings
    created: str = field(default_factory=lambda: utc_text(datetime.now(UTC)))
    holdfast: str = ""

    @property
    def verdict(self) -> Verdict:
        """The worst of what the checks contribute; ERROR where nothing was measured.

        Checks that only inform (inconclusive with `on_inconclusive="report"`) leave a pass standing only beside
        at least one check that really passed.
        """
        return worst(v for v in (check.counts_as for check in self.checks) if v is not None)

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that keep this report from passing, worst first."""
        guilty = [c for c in self.checks if c.counts_as not in (None, Verdict.PASS)]
        return tuple(sorted(guilty, key=lambda c: -c.verdict.severity))

    def to_json(self) -> dict[str, Any]:
        """The document of the published schema."""
        document: dict[str, Any] = {"schema": SCHEMA, "verdict": self.verdict.value}
        for f in dataclasses.fields(self):
            if f.name != "checks":
                document[f.name] = _plain(getattr(self, f.name))
        document["checks"] = [check.to_json() for check in self.checks]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read back what `to_json` gave; unknown fields are ignored and the verdict is derived again."""
        known = {f.name for f in dataclasses.fields(cls)} - {"checks"}
        values = {name: value for name, value in document.items() if name in known}
        values["notices"] = tuple(values.get("notices") or ())
        values["explanation"] = tuple(values.get("explanation") or ())
        return cls(checks=tuple(CheckResult.from_json(c) for c in document.get("checks", ())), **values)


def utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC with a final Z; a naive time is an error."""
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone cannot be recorded")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    """`value` as JSON types; numpy scalars by their `item`, what is not finite as None."""
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "item") and not isinstance(value, (str, bytes)) and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return value
