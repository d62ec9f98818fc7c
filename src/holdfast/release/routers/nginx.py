"""nginx by an include file and a reload: users are sticky, but it keeps no lease."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.errors import OutsideError
from holdfast.release.routers.addresses import AddressOf, endpoints
from holdfast.release.routers.wanted import checked, encoded, whole_share
from holdfast.release.routers.whole_files import locked, write_whole
from holdfast.release.routing import Routing, Sticky, fence

_MARK = "# holdfast: "
_SECONDS = 30


def nginx_include(routing: Routing, address_of: AddressOf) -> str:
    """The include file, for the `http` block. Shares are hundredths of a percent: UserError for one in between."""
    champion, canary = _place(address_of(routing.champion)), _place(address_of(routing.canary or routing.champion))
    parts = whole_share(routing.share, 10_000, "nginx") if routing.canary else 0
    split = (
        f"{parts / 100:.2f}% canary; * champion;" if 0 < parts < 10_000 else f"* {'canary' if parts else 'champion'};"
    )
    return f"""\
{_MARK}{json.dumps(routing.to_json())}
split_clients "{encoded(routing.release or "")}|$http_x_holdfast_unit" $holdfast_drawn {{ {split} }}
map $http_x_holdfast_unit $holdfast_variant {{ "" champion; default $holdfast_drawn; }}
map $holdfast_variant $holdfast_version {{ champion "{routing.champion}"; canary "{routing.canary or routing.champion}"; }}
map $upstream_addr $holdfast_served_by {{ "" ""; "~(?:^|, ){re.escape(champion)}$" champion; default canary; }}
upstream holdfast_champion {{ server {champion}; }}
upstream holdfast_canary {{ server {canary}; {"" if canary == champion else f"server {champion} backup;"} }}
"""


def _place(address: str) -> str:
    """The first IP address and the port: nginx tells by it who answered."""
    host, port = endpoints(address)[0]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class NginxRouter:
    """Writes the include file `path`, tests the configuration and reloads nginx (`nginx` is how it is started).

    The server block passes requests to `http://holdfast_$holdfast_variant` and adds the headers; docs/routers.md has it.
    A reload takes a moment, closes idle connections, and lets requests under way finish by the old routing. nginx keeps
    no lease: where the controller is away the share stays, so prefer HAProxy. `address_of` gives `host:port` of a version.
    """

    name = "nginx"
    sticky: Sticky = "unit"
    keeps_lease = False

    def __init__(self, path: str | Path, address_of: AddressOf, *, nginx: Sequence[str] = ("nginx",)) -> None:
        self.path = Path(path)
        self.address_of = address_of
        self.nginx = tuple(nginx)

    def read(self) -> Routing | None:
        text = self._text()
        if not text.strip():
            return None
        try:
            return Routing.from_json(json.loads(text.splitlines()[0].removeprefix(_MARK)))
        except (ValueError, TypeError, AttributeError):
            raise self._away("was not written by Holdfast") from None

    def apply(self, routing: Routing) -> None:
        text = nginx_include(checked(routing), self.address_of)
        try:
            with locked(self.path.with_suffix(".lock")):
                fence(self.read(), routing)
                if text != self._text(self._loaded):
                    self._load(text)
        except OSError as error:
            raise self._away(f"cannot be written: {error}") from None

    def health(self) -> Mapping[str, bool]:
        return {}

    @property
    def _loaded(self) -> Path:
        """What nginx was last told to load: a crash before the reload is seen, and telling it again reloads nothing."""
        return self.path.with_suffix(".loaded")

    def _load(self, text: str) -> None:
        before = self._text()
        write_whole(self.path, text, mode=0o644)
        try:
            self._run("-t", "-q")
        except OutsideError:
            write_whole(self.path, before, mode=0o644)
            raise
        self._run("-s", "reload")
        write_whole(self._loaded, text)

    def _run(self, *options: str) -> None:
        command = [*self.nginx, *options]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._away(f"was not taken: `{' '.join(command)}` failed: {error}") from None
        if done.returncode:
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise self._away(f"was not taken: `{' '.join(command)}` says {said[-1] if said else 'nothing'}")

    def _text(self, path: Path | None = None) -> str:
        try:
            return (path or self.path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            raise self._away(f"cannot be read: {error}") from None

    def _away(self, what: str) -> OutsideError:
        return OutsideError(
            f"nginx's include file {self.path} {what}.",
            hint="Check that nginx runs, and try `nginx -t`.",
            reason_code="router_unavailable",
        )
