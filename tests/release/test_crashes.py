"""Killed between any two writes, then reconciled, then done again: the end is the same."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import pytest

from holdfast.errors import Refused
from holdfast.release import adopt, stage
from tests.release.killing import MortalWorld
from tests.release.world import MODEL, settled

Step = Callable[[MortalWorld], object]


def two_released(world: MortalWorld) -> None:
    world.release("one")
    world.release("two")
    world.judge("three")


def three_staged(world: MortalWorld) -> None:
    two_released(world)
    world.stage("three")


def moved(world: MortalWorld) -> None:
    three_staged(world)
    world.registry.set_alias(MODEL, "champion", "3")
    world.registry.set_alias(MODEL, "previous", "2")


def by_hand(world: MortalWorld) -> None:
    for name in ("one", "two"):
        world.registry.register(MODEL, f"runs:/{name}/model", None, {})
    world.registry.set_alias(MODEL, "champion", "2")
    world.registry.set_alias(MODEL, "previous", "1")


CASES: dict[str, tuple[Step, Step, dict[str, str]]] = {
    "register": (two_released, lambda w: w.register("three"), {"champion": "2", "previous": "1"}),
    "stage": (
        lambda w: (two_released(w), w.register("three")),
        lambda w: stage(w.ledger, w.registry, MODEL, "3"),
        {"champion": "2", "previous": "1", "candidate": "3"},
    ),
    "first promotion": (lambda w: w.stage("one"), lambda w: w.promote(), {"champion": "1"}),
    "promote": (three_staged, lambda w: w.promote(), {"champion": "3", "previous": "2"}),
    "rollback": (three_staged, lambda w: w.rollback("1"), {"champion": "1", "candidate": "3"}),
    "adopt": (by_hand, lambda w: adopt(w.ledger, w.registry, MODEL), {"champion": "2", "previous": "1"}),
    "accept": (moved, lambda w: w.reconcile(foreign="accept"), {"champion": "3", "previous": "2", "candidate": "3"}),
    "restore": (
        moved,
        lambda w: w.reconcile(foreign="restore"),
        {"champion": "2", "previous": "1", "candidate": "3"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_between_any_two_writes(case: str) -> None:
    prepare, act, expected = CASES[case]
    for left in range(30):
        world = MortalWorld()
        prepare(world)
        finished = world.attempt(functools.partial(act, world), left)
        with contextlib.suppress(Refused):  # somebody else's hand, which only the command itself may settle
            world.reconcile()
        with contextlib.suppress(Refused):  # it was done before the end came
            act(world)
        settled(world)
        assert world.aliases == expected, f"killed after {left} writes"
        # Accepting the first moved alias can put the second where it belongs.
        foreign = {"accept": (1, 2), "restore": (2,)}.get(case, (0,))
        assert world.types.count("foreign_change") in foreign
        if finished:
            assert left >= 2
            return
    raise AssertionError("it never came to its end")


def test_reconcile_itself_may_be_killed_any_number_of_times() -> None:
    world = MortalWorld()
    three_staged(world)
    world.attempt(world.promote, 1)
    assert world.types[-1] in ("staged", "promoted")
    for left in (0, 1, 0, 2, 1, 3):
        world.attempt(world.reconcile, left)
    world.reconcile()
    settled(world)
    assert world.types.count("foreign_change") == 0


def test_what_matches_is_not_written_again() -> None:
    world = MortalWorld()
    three_staged(world)
    world.writes = 0
    world.reconcile()
    assert world.writes == 0
