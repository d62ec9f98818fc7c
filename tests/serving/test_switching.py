"""What a replica routes, as a table over what ledger and document say and what is loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.release.routing import Routing
from holdfast.serving.switching import agreed, everybody, switched
from holdfast.serving.table import RoutingTable
from tests.serving.followers import FakeModel

ALONE = Routing(model="m", epoch=3, champion="1")
WARMING = Routing(model="m", epoch=5, champion="1", canary="2", share=0.0, release="r")
FIRST = replace(WARMING, epoch=6, share=0.01)
SECOND = replace(WARMING, epoch=8, share=0.05)
AGAIN = replace(SECOND, epoch=9)
ALL = replace(WARMING, epoch=10, share=1.0)
BACK = replace(ALONE, epoch=11)
PROMOTED = replace(ALONE, epoch=11, champion="2")
OTHER = replace(FIRST, epoch=14, canary="3", release="s")
DRILL = replace(FIRST, epoch=4, canary="1", release="d", share=0.1)


@pytest.mark.parametrize(
    ("ledger", "told", "routed"),
    [
        # between intent and document, or a crash there
        (WARMING, ALONE, everybody(WARMING)),
        (FIRST, WARMING, WARMING),
        (SECOND, FIRST, FIRST),
        (AGAIN, SECOND, SECOND),
        (ALL, SECOND, SECOND),
        (PROMOTED, ALL, PROMOTED),
        (BACK, SECOND, BACK),
        (BACK, ALL, BACK),
        (OTHER, BACK, everybody(OTHER)),
        (OTHER, FIRST, everybody(OTHER)),
        (DRILL, ALONE, everybody(DRILL)),
        # told
        *((one, one, one) for one in (ALONE, WARMING, FIRST, SECOND, AGAIN, ALL, BACK, PROMOTED, OTHER, DRILL)),
        (FIRST, replace(FIRST, lease_seconds=5.0), FIRST),
        # nobody stands by it any more, or nobody ever did
        *((one, None, everybody(one)) for one in (WARMING, FIRST, ALL, DRILL)),
        (BACK, None, BACK),
        # this replica's ledger lags
        (FIRST, SECOND, FIRST),
        (WARMING, FIRST, WARMING),
        (SECOND, AGAIN, SECOND),
        (SECOND, BACK, everybody(SECOND)),
        (ALL, PROMOTED, everybody(ALL)),
        (SECOND, OTHER, everybody(SECOND)),
        (BACK, OTHER, BACK),
        # a controller that was asleep has put an old document over a new one
        (ALL, WARMING, WARMING),
        (BACK, WARMING, BACK),
        (ALONE, DRILL, ALONE),
    ],
)
def test_ledger_and_document(ledger: Routing, told: Routing | None, routed: Routing) -> None:
    assert agreed(ledger, told) == routed


@pytest.mark.parametrize("routing", [WARMING, FIRST, SECOND, ALL, OTHER, DRILL])
def test_nobody_gets_more_than_both_say(routing: Routing) -> None:
    for told in (None, ALONE, WARMING, FIRST, SECOND, AGAIN, ALL, BACK, PROMOTED, OTHER, DRILL):
        found = agreed(routing, told)
        assert found.share <= routing.share
        assert found.share == 0 or (told is not None and told.canary == found.canary and found.share <= told.share)
        assert found.champion == routing.champion


ONE, TWO, THREE = FakeModel("1"), FakeModel("2"), FakeModel("3")
NOW = RoutingTable(FIRST, ONE, TWO)


@pytest.mark.parametrize(
    ("table", "wanted", "ready", "expected"),
    [
        (None, ALONE, "", None),
        (None, ALONE, "1", RoutingTable(ALONE, ONE)),
        (None, FIRST, "2", None),
        (None, FIRST, "1", RoutingTable(everybody(FIRST), ONE)),  # not loaded: no part of the release
        (None, WARMING, "1", RoutingTable(WARMING, ONE)),
        (None, WARMING, "12", RoutingTable(WARMING, ONE, TWO)),
        (None, FIRST, "12", NOW),
        (NOW, FIRST, "", NOW),  # a role is kept, whatever becomes of the model
        (NOW, BACK, "", RoutingTable(BACK, ONE)),  # leaving waits for nothing
        (NOW, everybody(FIRST), "", RoutingTable(everybody(FIRST), ONE)),
        (NOW, PROMOTED, "12", RoutingTable(PROMOTED, TWO)),
        (NOW, PROMOTED, "1", RoutingTable(everybody(FIRST), ONE)),  # the new champion is not there: the old one, alone
        (NOW, OTHER, "12", RoutingTable(everybody(OTHER), ONE)),
        (NOW, OTHER, "123", RoutingTable(OTHER, ONE, THREE)),
        (RoutingTable(ALONE, ONE), DRILL, "", RoutingTable(DRILL, ONE, ONE)),
    ],
)
def test_what_is_loaded(table: RoutingTable | None, wanted: Routing, ready: str, expected: RoutingTable | None) -> None:
    models = {model.version: model for model in (ONE, TWO, THREE) if model.version in ready}
    assert switched(table, wanted, None, models.get, set()) == expected


def test_the_previous_champion_is_kept_where_it_is_loaded() -> None:
    assert switched(None, PROMOTED, "1", {"1": ONE, "2": TWO}.get, set()) == RoutingTable(PROMOTED, TWO, None, ONE)
    assert switched(None, PROMOTED, "1", {"2": TWO}.get, set()) == RoutingTable(PROMOTED, TWO)


def test_an_open_breaker_leaves_the_assignment_and_sends_nobody() -> None:
    models = {"1": ONE, "2": TWO, "3": THREE}
    assert switched(NOW, SECOND, None, models.get, {"r"}) == RoutingTable(SECOND, ONE)
    assert switched(NOW, OTHER, None, models.get, {"r"}) == RoutingTable(OTHER, ONE, THREE)
