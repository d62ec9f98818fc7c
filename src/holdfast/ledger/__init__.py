"""The record of everything: append-only streams, hash-chained, with compare-and-swap."""

from holdfast.ledger.event import Event
from holdfast.ledger.ledger import Ledger

__all__ = ["Event", "Ledger"]
