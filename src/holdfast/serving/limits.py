"""What one client, and all of them together, may take of a replica."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from holdfast.config.serving import ServingConfig

FREE_BODY = 64 * 1024  # of each body; what is larger counts against the replica's budget
BODIES = 16  # of the largest size at once
KEEP_ALIVE = 75.0  # seconds that an idle connection is kept: longer than a load balancer keeps its end
_FILES_OF_OURS = 128  # open files that are no connections


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds. `request_seconds` is for a client to send a whole request, and for one to take an answer."""

    body: int = 16 * 2**20
    head: int = 64 * 2**10
    request_seconds: float = 10.0
    keep_alive: float = KEEP_ALIVE
    drain_seconds: float = 20.0
    connections: int = 10_000

    @classmethod
    def of(cls, config: ServingConfig) -> Limits:
        """As the project says; as many connections as the system lets this process have."""
        return cls(
            body=config.max_body,
            head=config.max_header_bytes,
            request_seconds=config.body_timeout.total_seconds(),
            drain_seconds=config.drain_timeout.total_seconds(),
            connections=most_connections(),
        )


def most_connections() -> int:
    """How many connections leave files for everything else. Raises the soft limit of open files to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 16
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return max(16, hard - _FILES_OF_OURS)


class BodyBudget:
    """Bytes of large bodies that are held at once: a few hundred clients with 16 MB each must not fill the memory.

    The first 64 KiB of a body are free, so that clients with large ones cannot keep out those with small ones.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    def take(self, before: int, after: int) -> bool:
        """Count a body that grew from `before` to `after` bytes; False where that is too much for now."""
        more = max(after - FREE_BODY, 0) - max(before - FREE_BODY, 0)
        if self.held + more > self.limit:
            return False
        self.held += more
        return True

    def give(self, size: int) -> None:
        """A body of `size` bytes is gone."""
        self.held -= max(size - FREE_BODY, 0)
