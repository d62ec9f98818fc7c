"""The one map entry that tells HAProxy everything: fields between bars, so that a routing changes at once or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, Self

from holdfast.errors import OutsideError
from holdfast.release.routers.wanted import decoded, encoded
from holdfast.release.routing import Routing

Slot = Literal["blue", "green"]
SLOTS: tuple[Slot, Slot] = ("blue", "green")
KEY = "routing"
PARTS = 1_000_000  # resolution of the share
HEX_DIGITS = 15  # of the SHA-256 that HAProxy takes: 60 bits, which its signed integers hold
FIELDS = ("epoch", "model", "release", "share", "parts", "lease", "until", "champion", "slot", "canary", "canary_slot")


def field_number(name: str) -> int:
    """Which field HAProxy's `field()` finds `name` in, from 1."""
    return FIELDS.index(name) + 1


def other(slot: Slot) -> Slot:
    """The slot that `slot` is not."""
    return "green" if slot == "blue" else "blue"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A routing as HAProxy holds it: `until` is the end of its lease, milliseconds since 1970 on HAProxy's own clock
    (0 sends everybody to the champion), and the slots say which of its two servers answers for which version.
    """

    routing: Routing
    until: int
    slot: Slot
    canary_slot: Slot | None = None

    def text(self) -> str:
        """The value of the map entry. Raises UserError for names that are too long."""
        now = self.routing
        parts = 0 if now.canary is None else round(now.share * PARTS)
        values = {
            "epoch": now.epoch,
            "model": encoded(now.model),
            "release": encoded(now.release or ""),
            "share": repr(now.share),
            "parts": parts,
            "lease": repr(now.lease_seconds),
            "until": self.until,
            "champion": now.champion,
            "slot": self.slot,
            "canary": now.canary or "",
            "canary_slot": self.canary_slot or "",
        }
        return "|".join(str(values[name]) for name in FIELDS)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The entry that `text` was made from. Raises OutsideError where Holdfast did not write it."""
        try:
            values = dict(zip(FIELDS, text.split("|"), strict=True))
            routing = Routing(
                model=decoded(values["model"]),
                epoch=int(values["epoch"]),
                champion=values["champion"],
                canary=values["canary"] or None,
                share=float(values["share"]),
                release=decoded(values["release"]) or None,
                lease_seconds=float(values["lease"]),
            )
            canary_slot = _slot(values["canary_slot"]) if values["canary_slot"] else None
            return cls(routing=routing, until=int(values["until"]), slot=_slot(values["slot"]), canary_slot=canary_slot)
        except ValueError:
            raise OutsideError(
                f"HAProxy's map holds an entry that Holdfast did not write: {text[:80]!r}.",
                hint="Clear the map by its runtime API (`clear map`), and tell it again.",
                reason_code="router_unavailable",
            ) from None


def drawn_by_haproxy(release: str | None, unit: str) -> float:
    """The number in [0, 1) that HAProxy draws for `unit`, in millionths: the canary answers where it is below the share."""
    digest = hashlib.sha256(f"{encoded(release or '')}|{unit}".encode()).hexdigest()
    return int(digest[:HEX_DIGITS], 16) % PARTS / PARTS


def _slot(text: str) -> Slot:
    for slot in SLOTS:
        if slot == text:
            return slot
    raise ValueError(text)
