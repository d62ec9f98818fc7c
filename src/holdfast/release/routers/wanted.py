"""What a routing must be before it is written into another program's language."""

from __future__ import annotations

import math
import re
from urllib.parse import quote, unquote

from holdfast.errors import UserError
from holdfast.release.routing import Routing

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:@+=/-]{0,127}")
_LONGEST = 1024


def checked(routing: Routing) -> Routing:
    """`routing` itself. Raises UserError for a version that cannot stand in a header, a command or a configuration,
    for a share outside [0, 1], a lease of no length, and an attempt without a name.
    """
    for version in (routing.champion, *([] if routing.canary is None else [routing.canary])):
        if not _VERSION.fullmatch(version):
            raise UserError(
                f"a router cannot name the version {version[:80]!r}: expected letters, digits and . _ ~ : @ + = / -, "
                "at most 128 of them."
            )
    if not 0 <= routing.share <= 1:
        raise UserError(f"the canary's share must be between 0 and 1, found {routing.share}.")
    if not (math.isfinite(routing.lease_seconds) and routing.lease_seconds > 0):
        raise UserError(f"the lease must be longer than 0 seconds, found {routing.lease_seconds}.")
    if routing.release == "":
        raise UserError("the release has no name; expected one, or none at all.")
    return routing


def encoded(text: str) -> str:
    """`text` in letters, digits and % _ . - ~ only. Raises UserError where that is longer than 1024 characters."""
    found = quote(text, safe="", errors="surrogatepass")
    if len(found) > _LONGEST:
        raise UserError(f"the name {text[:40]!r}… is too long for a router.")
    return found


def decoded(text: str) -> str:
    """What `encoded` was given."""
    return unquote(text, errors="surrogatepass")


def whole_share(share: float, whole: int, router: str) -> int:
    """`share` as so many parts of `whole`. Raises UserError where it is between two: shares are never rounded silently."""
    parts = share * whole
    if abs(parts - round(parts)) > 1e-6:
        raise UserError(
            f"{router} takes shares in steps of {1 / whole:g}, and {share:g} is between two of them.",
            hint=f"Write {math.floor(parts) / whole:g} or {math.ceil(parts) / whole:g} in the release's steps.",
        )
    return round(parts)
