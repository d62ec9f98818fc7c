"""What one request sees: who serves, who tries, and who gets which. Replaced whole, so that a switch is one assignment."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.release.routing import Routing, drawn
from holdfast.serving.served import ServedModel


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """A routing with its versions loaded. `canary` is None where nobody is sent there: none, its lease over, its breaker open.

    `previous` is kept loaded, so that the way back is as quick as the way there.
    """

    routing: Routing
    champion: ServedModel
    canary: ServedModel | None = None
    previous: ServedModel | None = None

    def is_canary(self, unit: str) -> bool:
        """Whether `unit` belongs to the canary by assignment, whoever can answer it."""
        routing = self.routing
        return routing.canary is not None and drawn(routing.release or "", unit) < routing.share
