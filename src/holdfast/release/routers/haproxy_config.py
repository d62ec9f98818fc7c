"""The HAProxy configuration that `HAProxyRouter` steers, written whole."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from holdfast.errors import OutsideError, UserError
from holdfast.release.routers.addresses import parsed
from holdfast.release.routers.haproxy_entry import HEX_DIGITS, KEY, PARTS, SLOTS, Slot, field_number, other

PREFIX = "holdfast"
_PLAIN = re.compile(r"[A-Za-z0-9_./:*@-]+")
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")
_CHECK = "check inter 1s fastinter 200ms downinter 500ms rise 2 fall 2"


def haproxy_config(
    *,
    bind: str,
    socket: str,
    folder: str | Path,
    champion: str,
    spare: str,
    prefix: str = PREFIX,
    health: str = "/v2/health/ready",
) -> str:
    """The whole configuration, for HAProxy 2.6 or newer.

    `bind` is where users connect (`*:8080`), `socket` the runtime API (a path, or `tcp://host:port`, which has no
    password: keep it on a private address). `champion` is `host:port` of the server that answers everybody until the
    router is told something, `spare` of the other one; their slots are `blue` and `green`. `health` is the path that
    answers 2xx or 3xx while a server is well. `folder`, absolute, holds PREFIX.map and PREFIX.state, which `first_files`
    makes before HAProxy's first start. Several models on one HAProxy take one `prefix` each.

    Raises UserError for what cannot stand in such a file.
    """
    place = Path(folder)
    _check(bind=bind, socket=socket, folder=str(place), health=health, prefix=prefix)
    if not place.is_absolute():
        raise UserError(f"HAProxy's folder must be an absolute path, found {place}.")
    servers: dict[Slot, str] = {"blue": champion, "green": spare}
    for address in servers.values():
        parsed(address)
    backends = [_alone(slot, servers, prefix, place, health) for slot in SLOTS]
    backends += [_with_champion(slot, servers, prefix, place) for slot in SLOTS]
    return "\n".join([_global(socket), _frontend(bind, prefix, place), *backends])


def first_files(folder: str | Path, prefix: str = PREFIX) -> None:
    """Make the two files that HAProxy reads when it starts, saying nothing; files that are there stay. Raises OutsideError."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, text in ((f"{prefix}.map", ""), (f"{prefix}.state", "1\n")):
            with contextlib.suppress(FileExistsError), (Path(folder) / name).open("x") as file:
                file.write(text)
    except OSError as error:
        raise OutsideError(f"HAProxy's files in {folder} cannot be made: {error}.") from None


def backend_names(slot: Slot, prefix: str) -> list[str]:
    """The backends that the server of `slot` stands in: alone (with its health check), as canary, as the other's champion."""
    return [f"{prefix}_{slot}", f"{prefix}_{slot}_canary", f"{prefix}_{other(slot)}_canary"]


def _check(**values: str) -> None:
    for name, value in values.items():
        if not (_PREFIX if name == "prefix" else _PLAIN).fullmatch(value):
            raise UserError(f"the {name} {value!r} cannot stand in HAProxy's configuration.")


def _global(socket: str) -> str:
    listen = f"ipv4@{socket.removeprefix('tcp://')}" if socket.startswith("tcp://") else f"{socket} mode 660"
    return f"""\
# Written by Holdfast. Users are sent to one of two servers, blue and green; which of them is the champion, and who
# meets the canary, stands in one map entry that Holdfast changes at run time. Nothing is ever reloaded.
global
    stats socket {listen} level admin expose-fd listeners

defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
"""


def _field(name: str) -> str:
    return f"var(txn.holdfast),field({field_number(name)},|)"


def _frontend(bind: str, prefix: str, folder: Path) -> str:
    """Rules in the order of a request. An empty map leaves every field unset, and so everybody to blue as champion."""
    return f"""\
frontend {prefix}
    bind {bind}
    # One look at the map a request: a change is seen whole or not at all.
    http-request set-var(txn.holdfast) str({KEY}),map_str({folder}/{prefix}.map)
    http-request set-var(txn.holdfast_slot) str(blue)
    http-request set-var(txn.holdfast_slot) {_field("slot")} if {{ {_field("slot")} -m found }}
    # The draw: the same for a user and an attempt, whatever the share.
    http-request set-var(txn.holdfast_unit) req.fhdr(x-holdfast-unit)
    http-request set-var(txn.holdfast_drawn) {_field("release")},concat(|,txn.holdfast_unit),\
sha2(256),hex,bytes(0,{HEX_DIGITS}),hex2i,mod({PARTS})
    http-request set-var(txn.holdfast_parts) {_field("parts")}
    http-request set-var(txn.holdfast_until) {_field("until")}
    acl holdfast_unit var(txn.holdfast_unit) -m len gt 0
    acl holdfast_drawn var(txn.holdfast_drawn),sub(txn.holdfast_parts) lt 0
    acl holdfast_lease date(0,ms),sub(txn.holdfast_until) lt 0
    http-request set-var(txn.holdfast_variant) str(champion)
    http-request set-var(txn.holdfast_variant) str(canary) if holdfast_unit holdfast_drawn holdfast_lease
    acl holdfast_canary var(txn.holdfast_variant) -m str canary
    http-request set-var(txn.holdfast_version) {_field("champion")}
    http-request set-var(txn.holdfast_version) {_field("canary")} if holdfast_canary
    http-request set-var(txn.holdfast_epoch) {_field("epoch")}
    acl holdfast_told var(txn.holdfast_version) -m found
    # What was assigned, to the server and to the user; what a user claims about it is dropped.
    http-request del-header x-holdfast-version
    http-request del-header x-holdfast-epoch
    http-request set-header x-holdfast-variant %[var(txn.holdfast_variant)]
    http-request set-header x-holdfast-version %[var(txn.holdfast_version)] if holdfast_told
    http-request set-header x-holdfast-epoch %[var(txn.holdfast_epoch)] if holdfast_told
    http-after-response set-header x-holdfast-variant %[var(txn.holdfast_variant)]
    http-after-response set-header x-holdfast-version %[var(txn.holdfast_version)] if holdfast_told
    http-after-response set-header x-holdfast-epoch %[var(txn.holdfast_epoch)] if holdfast_told
    # Who really answered: the champion stands in for a canary that is down.
    acl holdfast_by_champion srv_name,strcmp(txn.holdfast_slot) eq 0
    acl holdfast_answered srv_name -m found
    http-after-response del-header x-holdfast-served-by
    http-after-response set-header x-holdfast-served-by champion if holdfast_answered holdfast_by_champion
    http-after-response set-header x-holdfast-served-by canary if holdfast_answered !holdfast_by_champion
    acl holdfast_blue var(txn.holdfast_slot) -m str blue
    acl holdfast_own_canary {_field("canary_slot")},strcmp(txn.holdfast_slot) eq 0
    use_backend {prefix}_green_canary if holdfast_canary !holdfast_own_canary holdfast_blue
    use_backend {prefix}_blue_canary if holdfast_canary !holdfast_own_canary
    use_backend {prefix}_blue if holdfast_blue
    default_backend {prefix}_green
"""


def _kept(prefix: str, folder: Path) -> str:
    return f"""\
    load-server-state-from-file local
    server-state-file-name {folder}/{prefix}.state"""


def _alone(slot: Slot, servers: dict[Slot, str], prefix: str, folder: Path, health: str) -> str:
    """Everybody's backend while this slot is the champion; its health check is the one the others follow."""
    return f"""\
backend {prefix}_{slot}
{_kept(prefix, folder)}
    option httpchk GET {health}
    http-check expect status 200-399
    server {slot} {servers[slot]} {_CHECK}
"""


def _with_champion(slot: Slot, servers: dict[Slot, str], prefix: str, folder: Path) -> str:
    """The backend of users assigned to the canary in `slot`: use-server sends them there, and where that server is down
    or does not take the connection the balancing has only the champion, for the canary's weight is 0.
    """
    champion = other(slot)
    return f"""\
backend {prefix}_{slot}_canary
{_kept(prefix, folder)}
    retries 2
    option redispatch 1
    use-server {slot} if TRUE
    server {slot} {servers[slot]} weight 0 track {prefix}_{slot}/{slot}
    server {champion} {servers[champion]} weight 1 track {prefix}_{champion}/{champion}
"""
