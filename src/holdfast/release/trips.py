"""What a gateway's breaker tells the controller: a command in a stream of its own, never a change of state.

A replica whose canary fails in a burst takes its own users back at once, and appends `tripped`. The controller reads the stream
at every tick and rolls back the attempt that a command names. A command names its attempt, so reading it twice, or long after
that attempt has ended, changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from holdfast.ledger import Event, Ledger
from holdfast.store import known_fields

TRIPPED = "tripped"


@dataclass(frozen=True, kw_only=True)
class Trip:
    """The breaker of `replica` opened for `canary` (a version) of the attempt `release`, under `epoch`; `reason`: a clause."""

    release: str
    canary: str = ""
    epoch: int = -1
    replica: str = "unknown"
    reason: str = "it does not say why"

    @property
    def told(self) -> str:
        """Why the release ends."""
        return f"the breaker of replica {self.replica} opened: {self.reason}"


def commands_of(model: str) -> str:
    """The ledger stream of what replicas ask of `model`'s controller."""
    return f"commands/{model}"


def append_trip(ledger: Ledger, model: str, trip: Trip) -> Event:
    """Write the command. Raises OutsideError where the store is away."""
    return ledger.append_latest(commands_of(model), TRIPPED, asdict(trip))


def trip_of(ledger: Ledger, model: str, release: str) -> Trip | None:
    """The first command that names `release`; None where there is none. Raises OutsideError where the store is away."""
    stream = commands_of(model)
    events = (event for event in ledger.follow(stream) if event.type == TRIPPED)
    found = (Trip(**known_fields(Trip, event.payload)) for event in events if event.payload.get("release") == release)
    return next(found, None)
