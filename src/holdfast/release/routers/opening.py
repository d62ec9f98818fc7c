"""From the text `release.router` of a project to its router."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from holdfast.errors import UserError
from holdfast.release.routers.addresses import AddressOf, by_file, by_template
from holdfast.release.routers.documents import DocumentRouter
from holdfast.release.routers.files import FileRouter
from holdfast.release.routers.gateway import TOKEN, GatewayRouter
from holdfast.release.routers.haproxy import HAProxyRouter
from holdfast.release.routers.haproxy_config import PREFIX
from holdfast.release.routers.kubernetes import http_route, inference_service, rollout
from holdfast.release.routers.memory import MemoryRouter
from holdfast.release.routers.nginx import NginxRouter
from holdfast.release.routing import TrafficRouter
from holdfast.store import Store

_HINT = (
    "Write one of gateway: (Holdfast's own), file:PATH, haproxy:SOCKET?addresses=FILE, "
    "nginx:PATH?addresses=FILE, kserve:PATH?name=…&storage=…, "
    "gateway:PATH?name=…&gateway=…, argo:PATH?name=…&image=…&traffic=FILE, memory: (docs/routers.md)."
)
Options = dict[str, str]
Make = Callable[[str, Path, Options], TrafficRouter]


def open_router(url: str, root: Path, *, store: Store | None = None, model: str = "") -> TrafficRouter:
    """The router that `url` names; paths in it are relative to `root`. Nothing is reached yet.

    `gateway:` alone is Holdfast's own, which is told through the project's `store` who answers for `model`.
    Options stand behind a `?`, as in `haproxy:/run/haproxy.sock?addresses=addresses.json&prefix=search`.
    Raises UserError for an unknown kind or option, and for one that is missing.
    """
    kind, colon, rest = url.partition(":")
    place, _, query = rest.partition("?")
    make = (_KINDS if place else _without_place(store, model)).get(kind)
    if not colon or make is None:
        raise UserError(f"the router {url!r} is not one that Holdfast knows.", hint=_HINT)
    options = _options(url, query)
    router = make(place, root, options)
    _spent(url, options)
    return router


def _file(place: str, root: Path, _: Options) -> TrafficRouter:
    return FileRouter(root / place)


def _without_place(store: Store | None, model: str) -> Mapping[str, Make]:
    def own(_: str, __: Path, options: Options) -> TrafficRouter:
        if store is None:
            raise UserError("the router gateway: needs the project's store, and there is none here.")
        return GatewayRouter(store, model, token=options.pop("token", TOKEN))

    return {"memory": lambda *_: MemoryRouter(), "gateway": own}


def _haproxy(place: str, root: Path, options: Options) -> TrafficRouter:
    keep = _yes_or_no(options, "keep")
    socket: str | Path = place if place.startswith("tcp://") else root / place
    return HAProxyRouter(socket, _addresses(root, options), prefix=options.pop("prefix", PREFIX), keep=keep)


def _nginx(place: str, root: Path, options: Options) -> TrafficRouter:
    command = [options.pop("nginx", "nginx")]
    if "conf" in options:
        command += ["-c", str((root / options.pop("conf")).resolve())]
    return NginxRouter(root / place, _addresses(root, options), nginx=command)


def _kserve(place: str, root: Path, options: Options) -> TrafficRouter:
    made = partial(
        inference_service,
        name=_needed(options, "name"),
        storage=_needed(options, "storage"),
        model_format=options.pop("format", "mlflow"),
        namespace=options.pop("namespace", None),
    )
    return DocumentRouter("kserve", root / place, made, champion_first=True)


def _gateway(place: str, root: Path, options: Options) -> TrafficRouter:
    name = _needed(options, "name")
    made = partial(
        http_route,
        name=name,
        gateway=_needed(options, "gateway"),
        service=options.pop("service", f"{name}-{{version}}"),
        port=_number(options, "port", 80),
        hostnames=[part for part in options.pop("hostnames", "").split(",") if part],
        namespace=options.pop("namespace", None),
    )
    return DocumentRouter("gateway", root / place, made)


def _argo(place: str, root: Path, options: Options) -> TrafficRouter:
    made = partial(
        rollout,
        name=_needed(options, "name"),
        image=_needed(options, "image"),
        traffic=_object(root / _needed(options, "traffic")),
        port=_number(options, "port", 8080),
        replicas=_number(options, "replicas", 2),
        namespace=options.pop("namespace", None),
    )
    return DocumentRouter("argo", root / place, made, champion_first=True)


_KINDS: Mapping[str, Make] = {
    "file": _file,
    "haproxy": _haproxy,
    "nginx": _nginx,
    "kserve": _kserve,
    "gateway": _gateway,
    "argo": _argo,
}


def _options(url: str, query: str) -> Options:
    try:
        pairs = parse_qsl(query, strict_parsing=True, keep_blank_values=True) if query else []
    except ValueError:
        raise UserError(
            f"the options of the router {url!r} cannot be read.", hint="Write ?name=value&name=value."
        ) from None
    if len({name for name, _ in pairs}) < len(pairs):
        raise UserError(f"the router {url!r} has an option twice.")
    return dict(pairs)


def _spent(url: str, options: Options) -> None:
    if options:
        raise UserError(f"the router {url!r} does not know the option {', '.join(sorted(options))}.", hint=_HINT)


def _needed(options: Options, name: str) -> str:
    if not options.get(name):
        raise UserError(f"the router needs the option {name}.", hint=_HINT)
    return options.pop(name)


def _number(options: Options, name: str, otherwise: int) -> int:
    text = options.pop(name, str(otherwise))
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"the router's option {name} must be a whole number, found {text!r}.")
    return int(text)


def _yes_or_no(options: Options, name: str) -> bool | None:
    text = options.pop(name, None)
    if text not in {None, "yes", "no"}:
        raise UserError(f"the router's option {name} must be yes or no, found {text!r}.")
    return None if text is None else text == "yes"


def _addresses(root: Path, options: Options) -> AddressOf:
    if ("address" in options) == ("addresses" in options):
        raise UserError(
            "the router must know where versions answer.",
            hint="Write either addresses=FILE (JSON, version to host:port) or address=search-{version}:8080.",
        )
    if "address" in options:
        return by_template(options.pop("address"))
    return by_file(root / options.pop("addresses"))


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.", hint="It holds Argo's trafficRouting as JSON.") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} must hold one JSON object, Argo's trafficRouting.")
    return found
