"""Who answers on this replica, from what ledger and document say and what is loaded here. Pure.

A controller makes every change in this order: event in the ledger (intent), document of that epoch (renewed at every tick),
`routed` in the ledger (confirmation). It may die between any two, and a replica may read at any moment, so it holds one of
these pairs (it looks for the document of the ledger's epoch alone, and keeps the one before until that is there):

    ledger   document      what it means                                what is routed
    new      old           between intent and document,          away from a canary: the ledger at once; towards one,
                           or a crash there                      or to a larger share: the document, while it is renewed
    new      new           told                                  as both say, while the document is renewed
    new      none, still   the controller died or is cut off     everybody to the ledger's champion
    old      new           never, by the order of reading        of the two the smaller share; nobody, where the document
                                                                 speaks of another canary or of none

So nobody gets a canary that one of the two does not speak of, nobody a share that one of the two calls too large, and of two
equal shares the older epoch counts, whose requests are no evidence for the step that has not been told yet. A champion is
taken from the ledger alone: it needs no lease, and the document is never ahead of the ledger that it was made from.

Where this replica takes no part in a release that is under way (the lease is over, the canary is not loaded), its requests
name no release at all. Counted as the champion's they would put the canary's users into the wrong arm.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace

from holdfast.release.routing import Routing
from holdfast.serving.served import ServedModel
from holdfast.serving.table import RoutingTable

Ready = Callable[[str], ServedModel | None]


def everybody(routing: Routing) -> Routing:
    """`routing` with everybody at the champion, as part of no release."""
    return replace(routing, canary=None, share=0.0, release=None)


def agreed(ledger: Routing, told: Routing | None) -> Routing:
    """What ledger and document allow together. `told` is None where nobody stands by a document any more."""
    if ledger.canary is None:
        return ledger
    if told is None or _who(told) != _who(ledger):
        return everybody(ledger)
    return min(ledger, told, key=lambda routing: (routing.share, routing.epoch))


def switched(
    table: RoutingTable | None, wanted: Routing, previous: str | None, ready: Ready, tripped: Container[str | None]
) -> RoutingTable | None:
    """The table after `table` that comes nearest to `wanted`; None where nobody can answer yet.

    `ready` gives a version that is loaded, warm and alive. A version that has a role in `table` keeps it without being asked
    again; no other gets one before it is ready. Leaving a canary waits for nothing. `tripped` names the releases whose breaker
    opened here: assignment stays, nobody is sent.
    """
    champion = (
        table.champion if table is not None and table.champion.version == wanted.champion else ready(wanted.champion)
    )
    if champion is None:
        return None if table is None else _alone(table)
    canary = None if wanted.canary is None else _canary(table, wanted.canary, ready)
    if wanted.share > 0 and canary is None:
        wanted = everybody(wanted)
    if wanted.release in tripped:
        canary = None
    return RoutingTable(wanted, champion, canary, None if previous is None else ready(previous))


def _alone(table: RoutingTable) -> RoutingTable:
    """The old champion goes on until the new one is ready, without a canary."""
    return replace(table, routing=everybody(table.routing), canary=None)


def _canary(table: RoutingTable | None, version: str, ready: Ready) -> ServedModel | None:
    loaded = () if table is None else (table.champion, table.canary)
    return next((model for model in loaded if model is not None and model.version == version), None) or ready(version)


def _who(routing: Routing) -> tuple[str, str | None, str | None]:
    return routing.champion, routing.canary, routing.release
