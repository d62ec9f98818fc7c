"""Golden features: what the project's functions gave for a sample of real inputs and a hostile corpus."""

from __future__ import annotations

from holdfast.snapshots.recording import check, record
from holdfast.snapshots.running import Place
from holdfast.snapshots.snapshot import (
    Golden,
    Snapshot,
    accept,
    accepted,
    baseline,
    load_snapshot,
    save_snapshot,
)

__all__ = [
    "Golden",
    "Place",
    "Snapshot",
    "accept",
    "accepted",
    "baseline",
    "check",
    "load_snapshot",
    "record",
    "save_snapshot",
]
