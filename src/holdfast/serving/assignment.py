"""Who is asked for one request, and whether that is evidence. Pure.

What counts as evidence is decided when a request arrives, from what was before it, and in the same way for both variants:

- A canary that was asked and failed is evidence: the row stays the canary's, with its fault, though the champion answered.
- A canary that this replica does not ask at all (pressed by load, breaker open, not loaded) is *withheld*. Its faults would
  be our own overload, and a row without fault would count the champion's answer for the canary. So while it is withheld no
  request of either variant is evidence: leaving out only the canary's would look like a broken assignment. A canary that is
  slow enough to cause the load was asked for the requests that did so, and those count.
- A tester's request is not evidence, nor is any while the canary only answers in the background.

`override` in the log says all three.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from holdfast.serving.table import RoutingTable

Variant = Literal["champion", "canary"]


class Assigned(NamedTuple):
    """`variant` as assigned, `unit` by which it was (None: none). The canary is `asked` first, or as a `shadow`.

    `override` where the request is no evidence, `withheld` why an assigned canary is not asked.
    """

    variant: Variant
    unit: str | None
    asked: bool = False
    shadow: bool = False
    override: bool = False
    withheld: str | None = None


def assign(
    table: RoutingTable,
    unit: str | None,
    wish: Variant | None,
    *,
    each: str | None = None,
    pressed: bool = False,
    shadow: bool = False,
) -> Assigned:
    """The assignment of a request by `unit`; `wish` is a tester's variant.

    `each` is the name of the request where the project draws requests without a unit one by one: each is then a unit.
    """
    unit = each if unit is None else unit
    if table.routing.canary is None:
        return Assigned("champion", unit, override=wish is not None)
    why = "withheld" if table.canary is None else "overloaded" if pressed else None
    if wish is not None:
        asked = wish == "canary" and why is None
        return Assigned("canary" if asked else "champion", unit, asked=asked, override=True)
    drawn = unit is not None and table.is_canary(unit)
    if shadow:
        return Assigned("champion", unit, shadow=drawn and why is None, override=True)
    if drawn:
        return Assigned("canary", unit, asked=why is None, override=why is not None, withheld=why)
    return Assigned("champion", unit, override=why is not None)
