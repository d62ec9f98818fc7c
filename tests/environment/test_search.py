"""The search for the smallest guilty set, without any environment: random instances with a known answer."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.environment.search import Answer, Changes, Nothing, Search, plan, worst

Needs = Sequence[tuple[str, str]]  # (a, b): a resolves only beside b


def closed(changes: Changes, needs: Needs) -> bool:
    return all(b in changes for a, b in needs if a in changes)


def closure(changes: Changes, needs: Needs) -> Changes:
    while not closed(changes, needs):
        changes |= {b for a, b in needs if a in changes}
    return changes


class World:
    """Environments that fail where all of `guilty` are changed."""

    def __init__(self, guilty: Changes, needs: Needs = ()) -> None:
        self.guilty, self.needs, self.asked = guilty, needs, 0

    def ask(self, combination: Changes) -> Answer:
        self.asked += 1
        if not closed(combination, self.needs):
            return Answer.UNTESTABLE
        return Answer.FAIL if self.guilty <= combination else Answer.PASS

    def resolves(self, combination: Changes) -> bool:
        return closed(combination, self.needs)


def names_of(size: int) -> list[str]:
    return [f"p{number}" for number in range(size)]


def test_forty_changes_and_one_guilty_need_at_most_eight_environments() -> None:
    names = names_of(40)
    for guilty in names:
        world = World(frozenset({guilty}))
        found = Search(names, world.ask, world.resolves).run()
        assert found.guilty == {guilty}
        assert found.passing == frozenset(names) - {guilty}  # seen, not inferred
        assert world.asked <= 8


def test_hundreds_of_changes() -> None:
    names = names_of(600)
    world = World(frozenset({"p431"}))
    odds = random.Random(0)
    weights = {name: odds.choice([20.0, 10.0, 3.0, 1.0]) for name in names}
    assert Search(names, world.ask, world.resolves, weights=weights).run().guilty == {"p431"}
    assert world.asked <= 13


@pytest.mark.parametrize("first", ["p0", "p1"])
def test_a_strong_suspicion_is_tried_early(first: str) -> None:
    world = World(frozenset({first}))
    weights = {"p0": 20.0, "p1": 10.0}
    found = Search(names_of(40), world.ask, world.resolves, weights=weights).run()
    assert found.guilty == {first}
    assert world.asked <= 5


def test_two_that_are_guilty_only_together_are_both_named() -> None:
    rng = random.Random(0)
    for _ in range(100):
        names = names_of(40)
        guilty = frozenset(rng.sample(names, 2))
        world = World(guilty)
        found = Search(names, world.ask, world.resolves).run()
        assert found.guilty == guilty
        assert not found.together
        assert found.passing is not None
        assert len(found.passing) == 39  # holding back one of them is enough


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_always_a_smallest_guilty_set(data: st.DataObject) -> None:
    """Whatever needs what: the set fails, and without any of its members (and those that need it) it does not."""
    names = names_of(data.draw(st.integers(1, 24), label="changes"))
    guilty = frozenset(data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3), label="guilty"))
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names)).filter(lambda pair: pair[0] != pair[1])
    needs = data.draw(st.lists(pairs, max_size=3), label="needs")
    world = World(guilty, needs)
    found = Search(data.draw(st.permutations(names)), world.ask, world.resolves).run()
    assert found.guilty == closure(guilty, needs)
    assert found.passing is None or not guilty <= found.passing


def test_packages_that_need_each_other_are_named_together() -> None:
    needs = [("a", "b"), ("b", "a")]
    world = World(frozenset({"a"}), needs)
    found = Search(["x", "a", "y", "b", "z"], world.ask, world.resolves).run()
    assert found.guilty == {"a", "b"}
    assert found.together
    assert found.passing == {"x", "y", "z"}


def test_what_is_blamed_is_tried_first() -> None:
    needs = [("p3", "p30"), ("p7", "p31")]
    world, asked = World(frozenset({"p3"}), needs), []

    def resolves(combination: Changes) -> bool:
        asked.append(combination)
        return closed(combination, needs)

    def blamed(combination: Changes) -> Changes:
        return closure(combination, needs)

    found = Search(names_of(40), world.ask, resolves, blamed=blamed).run()
    assert found.guilty == {"p3", "p30"}
    without = len(asked)
    asked.clear()
    Search(names_of(40), World(frozenset({"p3"}), needs).ask, resolves).run()
    assert without < len(asked)


def test_untestable_environments_are_stepped_around() -> None:
    """Combinations that build but cannot be asked: anything with p1 and without p2."""
    world = World(frozenset({"p5"}), [("p1", "p2")])
    found = Search(names_of(12), world.ask, lambda _: True).run()
    assert found.guilty == {"p5"}


@pytest.mark.parametrize(("answer", "end"), [(Answer.PASS, "bad"), (Answer.FAIL, "good")])
def test_ends_that_are_not_what_they_are_said_to_be(answer: Answer, end: str) -> None:
    with pytest.raises(Nothing) as caught:
        Search(names_of(12), lambda _: answer, lambda _: True).run()
    assert caught.value.end == end


def test_nothing_changed() -> None:
    with pytest.raises(Nothing, match="no change"):
        Search([], lambda _: Answer.PASS, lambda _: True).run()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 40, 64, 150, 1000])
def test_the_plan_keeps_its_budget(size: int) -> None:
    needed = worst(size, False, False, 0)
    expected, cut = plan((1.0,) * size, False, False, 0, needed)
    assert expected <= needed
    assert 1 <= cut <= size
