"""What one request contributes to a guardrail: a value, a weight, and the moment from which both are final. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from holdfast.store import known_fields

Source = Literal["outcome", "error", "latency", "requests"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number about requests.

    `source` says where it comes from: an outcome called `outcome`, faults, latency (1 where a request was slower than
    `slower_than_ms`), or the number of requests itself. `delay` is in seconds: an outcome that is not there so long after its
    request is absent, and counts as 0 (`absent="zero"`) or not at all (`"missing"`). Values above `cap` count as `cap`.
    """

    name: str
    source: Source
    outcome: str | None = None
    absent: Literal["zero", "missing"] = "zero"
    delay: float = 0.0
    slower_than_ms: float | None = None
    cap: float | None = None

    @property
    def is_share(self) -> bool:
        """Whether its values are 0 or 1 whatever happens."""
        return self.source in {"error", "latency"}

    def to_json(self) -> dict[str, Any]:
        """The document that `from_json` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """A measure from its document; fields of later releases of Holdfast are ignored."""
        return cls(**known_fields(cls, document))
