"""HAProxy by its runtime API: users are sticky, nothing is reloaded, and it keeps the lease itself."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from holdfast.errors import OutsideError, UserError
from holdfast.release.routers.addresses import AddressOf, Endpoint, endpoints
from holdfast.release.routers.haproxy_config import PREFIX, backend_names
from holdfast.release.routers.haproxy_entry import KEY, SLOTS, Entry, Slot, other
from holdfast.release.routers.haproxy_map import Held, Moved, RoutingMap
from holdfast.release.routers.haproxy_runtime import (
    RuntimeSocket,
    Server,
    parsed_servers,
    state_file,
)
from holdfast.release.routers.wanted import checked
from holdfast.release.routers.whole_files import locked, write_whole
from holdfast.release.routing import Routing, Sticky, fence

_TRIES = 20
UNHEALTHY = "version_unhealthy"
_LOOK_AGAIN_SECONDS = 0.05
_NOWHERE: Endpoint = ("", 0)


class HAProxyRouter:
    """Steers an HAProxy that runs with `haproxy_config`.

    `address_of` tells where a version answers (`host:port`). HAProxy has two slots, blue and green. A version that is
    in neither is put into the one that is not the champion's, by its address; promoting only changes which slot is
    called the champion, so that nothing restarts and no request fails. A slot never changes its address while users
    are sent to it, and a slot becomes the champion's only when its health check passes; `apply` waits for that at most
    `patience` seconds. A rollback of a canary, or a smaller share, asks for no address and waits for no server. A
    champion that is its own canary (a drill) is answered for from one slot.

    Fencing: the map is written as compare-and-swap by HAProxy's own numbers of the map's content, so of racing
    controllers on any hosts the higher epoch stays. Controllers of one host (and user, where nothing is kept) also wait
    for each other by a lock file. What remains over TCP, between hosts, and is put right by the next `apply` of the later
    decision: two controllers that at one moment put different versions into the same slot, and one that is stopped for
    a quarter of a second just before it commits.

    `keep` writes what HAProxy was told into its map and state files, so that it goes on after a reload or a restart;
    the default for a unix socket. Over TCP that cannot be: after a restart the map is empty, `read` gives None, and the
    server that the configuration calls champion answers everybody until somebody applies again.

    The lease ends by HAProxy's own clock, which it is asked for. Errors are those of `TrafficRouter`; UserError also
    for a version without an address, OutsideError (`version_unhealthy`) for a champion that fails its health check.
    """

    name = "haproxy"
    sticky: Sticky = "unit"
    keeps_lease = True

    def __init__(
        self,
        socket: str | Path,
        address_of: AddressOf,
        *,
        prefix: str = PREFIX,
        keep: bool | None = None,
        patience: float = 3.0,  # shorter than a controller's lease
    ) -> None:
        self.runtime = RuntimeSocket(socket)
        self.address_of = address_of
        self.map = RoutingMap(self.runtime, prefix)
        self.prefix = prefix
        self.keep = self.runtime.tcp is None if keep is None else keep
        self.patience = patience
        if self.keep and self.runtime.tcp is not None:
            raise UserError("HAProxy's files cannot be kept over TCP.", hint="Use its unix socket, or keep=no.")

    def read(self) -> Routing | None:
        return self.map.held().routing

    def apply(self, routing: Routing) -> None:
        checked(routing)
        path = self.map.held().state.path
        tries, end = 0, time.monotonic() + self.patience
        while tries < _TRIES:
            try:
                with self._alone(path):
                    held = self.map.held(path)
                    fence(held.routing, routing)
                    return (
                        self._take_back(held, routing)
                        if only_takes_back(held.routing, routing)
                        else self._route(held, routing)
                    )
            except Moved:
                tries += 1
            except OutsideError as error:
                if error.reason_code != UNHEALTHY or time.monotonic() > end:
                    raise
                time.sleep(_LOOK_AGAIN_SECONDS)  # without the lock: a rollback never waits for a server to come up
        raise self.runtime.away("does not keep what it is told: is another controller at work?")

    def health(self) -> Mapping[str, bool]:
        return {version: server.up for version, server in self._by_version().items()}

    def _by_version(self) -> dict[str, Server]:
        """The server of each version that HAProxy was told of."""
        entry = self.map.held().entry
        if entry is None:
            return {}
        servers, found = self._servers(), {}
        if entry.routing.canary is not None and entry.canary_slot is not None:
            found[entry.routing.canary] = servers[entry.canary_slot]
        return {**found, entry.routing.champion: servers[entry.slot]}

    def _take_back(self, held: Held, routing: Routing) -> None:
        """Fewer users to the servers that they already go to: depends on no address and no health."""
        slot = None if routing.canary is None or held.entry is None else held.entry.canary_slot
        self._swap(held, Entry(routing=routing, until=self._until(routing), slot=held.slot, canary_slot=slot))

    def _route(self, held: Held, routing: Routing) -> None:
        """From what is held to `routing`: first the champion's server, then the canary's, then the entry."""
        places, servers = self._places(routing), self._servers()
        champion = places[routing.champion]
        slot = slot_of(champion, servers, held.slot)
        wanted = Entry(routing=routing, until=0, slot=slot)
        if servers[slot].endpoint not in champion:
            held = self._parked(held)
            self._move(slot, champion[0])
        if slot != held.slot:
            self._demand_up(slot, routing.champion)
        if routing.canary == routing.champion:
            wanted = replace(wanted, canary_slot=slot)
        elif routing.canary is not None:
            wanted = replace(wanted, canary_slot=other(slot))
            if servers[other(slot)].endpoint not in places[routing.canary]:
                held = self._swap(held, wanted)  # everybody to the champion while the canary's server changes
                self._move(other(slot), places[routing.canary][0])
        self._swap(held, replace(wanted, until=self._until(routing)))

    def _until(self, routing: Routing) -> int:
        """The end of the lease on HAProxy's clock; without a canary there is nothing to take back."""
        return 0 if routing.canary is None else self.runtime.milliseconds() + round(routing.lease_seconds * 1000)

    def _parked(self, held: Held) -> Held:
        """The same routing with its lease ended, where somebody may still be sent to the slot that is not the champion's."""
        if held.entry is None or held.entry.canary_slot is None or held.entry.until == 0:
            return held
        return self._swap(held, replace(held.entry, until=0))

    def _swap(self, held: Held, entry: Entry) -> Held:
        """Write, and keep it for HAProxy's next start. Raises Moved where HAProxy does not hold `held` any more."""
        now = self.map.swap(held, entry)
        if self.keep:
            self._keep(Path(now.state.path), entry.text())
        return now

    def _places(self, routing: Routing) -> dict[str, list[Endpoint]]:
        versions = [routing.champion, *([] if routing.canary is None else [routing.canary])]
        places = {version: endpoints(self.address_of(version)) for version in versions}
        if len(places) == 2 and set.intersection(*(set(place) for place in places.values())):
            raise UserError(
                f"champion {routing.champion} and canary {routing.canary} have the same address; two servers are needed."
            )
        return places

    def _servers(self) -> dict[Slot, Server]:
        """The server of each slot. One whose copies in our backends have different addresses is nowhere: it is moved again."""
        found = {(server.backend, server.name): server for server in parsed_servers(self.runtime.servers())}
        try:
            copies = {slot: [found[name, slot] for name in backend_names(slot, self.prefix)] for slot in SLOTS}
        except KeyError:
            raise self.runtime.away(f"has no servers {self.prefix}_blue and {self.prefix}_green") from None
        return {
            slot: same[0] if len({server.endpoint for server in same}) == 1 else replace(same[0], endpoint=_NOWHERE)
            for slot, same in copies.items()
        }

    def _move(self, slot: Slot, place: Endpoint) -> None:
        """Give the slot's server another address. It counts as down until its health check passes there."""
        host, port = place
        backends = backend_names(slot, self.prefix)
        self.runtime.quiet(f"set server {backends[0]}/{slot} health down")
        for backend in backends:
            self.runtime.ask(f"set server {backend}/{slot} addr {host} port {port}")
        if self._servers()[slot].endpoint != place:
            raise Moved

    def _demand_up(self, slot: Slot, version: str) -> None:
        server = self._servers()[slot]
        if not server.up:
            host, port = server.endpoint
            raise OutsideError(
                f"version {version} at {host}:{port} does not pass HAProxy's health check; the champion was not changed.",
                hint="Start that version's server, then try again.",
                reason_code=UNHEALTHY,
            )

    def _keep(self, path: Path, text: str) -> None:
        """First the addresses, then the entry, as they were changed: a slot in use never has a wrong address on disk."""
        try:
            if not path.is_file():
                raise FileNotFoundError(f"no such file here: {path}")
            ours = {backend for slot in SLOTS for backend in backend_names(slot, self.prefix)}
            write_whole(path.with_suffix(".state"), state_file(self.runtime.servers(), ours), mode=0o644)
            write_whole(path, f"{KEY} {text}\n", mode=0o644)
        except OSError as error:
            raise OutsideError(
                f"HAProxy routes as it was told, but {path} cannot be written for its next start: {error}.",
                hint="Give the controller that folder, or use keep=no.",
                reason_code="router_not_kept",
            ) from None

    @contextlib.contextmanager
    def _alone(self, path: str) -> Iterator[None]:
        """The lock between controllers of one host: beside the map where that is kept, else one for each user."""
        who = hashlib.sha256(f"{self.runtime.address} {self.prefix}".encode()).hexdigest()[:16]
        place = Path(tempfile.gettempdir()) / f"holdfast-{os.getuid()}-{who}.lock"
        try:
            with locked(Path(path).with_suffix(".lock") if self.keep else place):
                yield
        except OSError as error:
            raise self.runtime.away(f"cannot be told safely: {error}") from None


def only_takes_back(now: Routing | None, wanted: Routing) -> bool:
    """Whether `wanted` sends nobody anywhere new: the same champion, and no canary or fewer users of the same release."""
    if now is None or wanted == now or wanted.champion != now.champion:
        return False
    same = (wanted.canary, wanted.release) == (now.canary, now.release)
    return wanted.canary is None or (same and wanted.share <= now.share)


def slot_of(place: list[Endpoint], servers: Mapping[Slot, Server], answering: Slot) -> Slot:
    """The slot for a champion at `place`: where it already is, else the one that does not answer as champion now."""
    if servers[answering].endpoint in place:
        return answering
    return other(answering)
