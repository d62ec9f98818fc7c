"""A try of the way back: the champion is made its own canary, and then back again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from holdfast.ledger import Event


@dataclass(frozen=True, kw_only=True)
class Drill:
    """The drill called `id`: out (some users are with the champion as its own canary), back, or ended with or without success.

    `ended` is UTC text; `router` and `champion` are those it was held with.
    """

    id: str
    share: float
    champion: str
    router: str
    began: str
    status: str = "out"
    ok: bool = False
    ended: str | None = None
    details: Mapping[str, Any] | None = None

    @property
    def is_out(self) -> bool:
        return self.status == "out"

    @property
    def is_living(self) -> bool:
        return self.status in ("out", "back")


def drill_after(drill: Drill | None, event: Event) -> Drill:
    """The drill after one of its events; ValueError for one that does not follow."""
    payload = event.payload
    if event.type == "drill_out":
        return Drill(
            id=payload["drill"],
            share=payload["share"],
            champion=payload["champion"],
            router=payload["router"],
            began=event.time,
        )
    if drill is None or not drill.is_living:
        raise ValueError(f"{event.type} without a drill")
    if event.type == "drill_back":
        return replace(drill, status="back")
    return replace(drill, status="ended", ok=payload["ok"], ended=event.time, details=payload)
