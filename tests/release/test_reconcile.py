"""What others do to the registry, and whose it is."""

from __future__ import annotations

import json

import pytest

from holdfast.errors import Damaged, OutsideError, Refused, UserError
from holdfast.ledger import Ledger
from holdfast.release import HEAD_TAG, LEDGER_TAG, adopt, guard_first_release, stage, stream_of
from holdfast.release.reconcile import PROJECTED_TAG, foreign_aliases
from tests.fixtures.registries import MemoryRegistry
from tests.release.world import MODEL, World, settled


@pytest.fixture
def released(world: World) -> World:
    """Version 2 is champion, 1 previous, 3 candidate."""
    world.release("one")
    world.release("two")
    world.stage("three")
    return world


@pytest.mark.parametrize(
    ("wanted", "actual", "ours", "expected"),
    [
        ({"champion": "2"}, {"champion": "2"}, {}, {}),
        ({"champion": "2"}, {}, {"champion": ["2"]}, {}),
        ({"champion": "2"}, {"champion": "1"}, {"champion": ["1"]}, {}),
        ({"champion": "2"}, {"champion": "1"}, {"champion": ["1", "2"]}, {}),
        ({"champion": "2"}, {"champion": "3"}, {"champion": ["2"]}, {"champion": "3"}),
        ({"champion": "2"}, {"champion": "1"}, {}, {"champion": "1"}),
        ({"previous": None}, {"previous": "1"}, {"previous": [None]}, {"previous": "1"}),
        ({}, {"champion": "3", "mine": "1"}, {}, {}),
    ],
)
def test_whose_hand_it_was(wanted: dict, actual: dict, ours: dict, expected: dict) -> None:
    assert foreign_aliases(wanted, actual, ours) == expected


def test_lost_aliases_come_back_and_others_are_left_alone(released: World) -> None:
    released.registry.set_alias(MODEL, "mine", "1")
    for alias in ("champion", "previous"):
        released.registry.delete_alias(MODEL, alias)
    assert released.reconcile() == ("champion = version 2", "previous = version 1")
    assert released.aliases == {"champion": "2", "previous": "1", "candidate": "3", "mine": "1"}
    settled(released)


def test_only_what_the_ledger_has_spoken_of_is_touched(world: World) -> None:
    world.registry.ensure_model(MODEL)
    number = world.register("one").version
    world.registry.set_alias(MODEL, "previous", number)
    world.stage("two")
    assert world.aliases == {"previous": number, "candidate": "2"}
    assert world.reconcile() == ()


def test_a_version_that_is_gone_does_not_stop_the_rest(released: World) -> None:
    assert isinstance(released.registry, MemoryRegistry)
    released.registry.lose(MODEL, "2")
    released.registry.delete_alias(MODEL, "previous")
    with pytest.raises(OutsideError, match="version 2 of ranker, the champion"):
        released.reconcile()
    assert released.aliases == {"previous": "1", "candidate": "3"}


@pytest.mark.parametrize("alias", ["champion", "previous", "candidate"])
def test_an_alias_that_others_moved_is_noted_once_and_stops_everything(released: World, alias: str) -> None:
    target = "1" if alias != "previous" else "3"
    ours = released.aliases[alias]
    released.registry.set_alias(MODEL, alias, target)
    for act in (released.reconcile, released.promote, released.rollback, released.reconcile):
        with pytest.raises(Refused, match=f"moved the alias {alias} from version {ours} to version {target}") as caught:
            act()
        assert caught.value.reason_code == "foreign_change"
        assert "--accept" in str(caught.value)
    assert released.types.count("foreign_change") == 1
    assert released.types[-1] == "foreign_change"
    assert released.aliases[alias] == target
    assert released.reconcile(foreign="restore") == (f"{alias} = version {ours} again (was version {target})",)
    assert released.aliases[alias] == ours
    settled(released)
    released.promote()


def test_an_accepted_champion_has_a_way_back(released: World) -> None:
    released.registry.set_alias(MODEL, "champion", "3")
    assert released.reconcile(foreign="accept") == (
        "accepted champion = version 3",
        "previous = version 2 (was version 1)",
    )
    assert released.aliases == {"champion": "3", "previous": "2", "candidate": "3"}
    settled(released)
    released.rollback()
    assert released.aliases["champion"] == "2"


def test_a_version_made_by_hand_can_be_accepted(released: World) -> None:
    made = released.registry.register(MODEL, "runs:/by-hand/model", None, {})
    released.registry.set_alias(MODEL, "champion", made.version)
    released.reconcile(foreign="accept")
    champion = released.state.champion
    assert champion is not None
    assert (champion.version, champion.digest) == (made.version, f"unknown:models:/{MODEL}/{made.version}")


def test_all_three_moved_at_once(released: World) -> None:
    for alias, number in {"champion": "1", "previous": "3", "candidate": "2"}.items():
        released.registry.set_alias(MODEL, alias, number)
    released.reconcile(foreign="restore")
    assert released.aliases == {"champion": "2", "previous": "1", "candidate": "3"}
    settled(released)


def test_what_was_moved_back_by_hand_is_settled(released: World) -> None:
    released.registry.set_alias(MODEL, "champion", "1")
    with pytest.raises(Refused):
        released.reconcile()
    released.registry.set_alias(MODEL, "champion", "2")
    assert released.reconcile() == ("champion is where it belongs again",)
    assert released.state.foreign == {}
    released.promote()


def test_moved_twice_is_noted_twice(released: World) -> None:
    for number in ("1", "3"):
        released.registry.set_alias(MODEL, "champion", number)
        with pytest.raises(Refused):
            released.reconcile()
    assert released.types.count("foreign_change") == 2
    released.reconcile(foreign="accept")
    assert released.state.roles()["champion"] == "3"


def test_the_registry_remembers_the_ledger_and_its_head(released: World) -> None:
    tags = released.registry.model_tags(MODEL)
    assert tags[LEDGER_TAG] == released.events[0].id
    assert tags[HEAD_TAG] == released.events[-1].digest
    assert json.loads(tags[PROJECTED_TAG]) == {"champion": ["2"], "previous": ["1"], "candidate": ["3"]}


def test_a_cut_tail_is_seen_and_not_forgotten(released: World) -> None:
    last = released.events[-1].number
    released.ledger.store.delete(f"ledger/{stream_of(MODEL)}/{last:08d}.json")
    again = World(released.registry, released.ledger.store)
    for act in (again.reconcile, again.promote, again.rollback):
        with pytest.raises(Damaged, match="lost its last events"):
            act()
    (check,) = again.ledger.verify(stream_of(MODEL), {stream_of(MODEL): again.registry.model_tags(MODEL)[HEAD_TAG]})
    assert check.verdict == "fail"


def test_a_second_ledger_is_refused(released: World) -> None:
    other = World(released.registry)
    for act in (
        lambda: other.register("one"),
        other.promote,
        lambda: guard_first_release(other.state, other.registry, MODEL),
    ):
        with pytest.raises(UserError, match="does not know") as caught:
            act()
        assert caught.value.exit_status == 2
        assert "holdfast ledger adopt" in str(caught.value)
    other.judge("four")
    for alias in ("champion", "previous", "candidate"):
        released.registry.delete_alias(MODEL, alias)
    with pytest.raises(Refused, match="belongs to another ledger"):
        other.register("four")
    assert other.types == ["judged"]


def test_a_lost_store_is_taken_over_by_adoption_and_the_old_ledger_refused(released: World) -> None:
    new = World(released.registry)
    done = adopt(new.ledger, new.registry, MODEL)
    assert done.message == "adopted version 2 as the champion of ranker."
    assert "belonged to the ledger" in done.notices[0]
    assert new.state.roles() == {"champion": "2", "previous": "1", "candidate": "3"}
    assert new.state.versions["2"].digest == released.state.versions["2"].digest
    with pytest.raises(Refused, match="knows a champion already"):
        adopt(new.ledger, new.registry, MODEL)
    with pytest.raises(Refused, match="belongs to another ledger"):
        released.promote()
    new.rollback()
    assert new.aliases["champion"] == "1"
    settled(new)


def test_a_crash_right_after_the_adoption_is_mended(released: World, monkeypatch: pytest.MonkeyPatch) -> None:
    new = World(released.registry)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryRegistry, "set_model_tag", crash)
        with pytest.raises(OutsideError):
            adopt(new.ledger, new.registry, MODEL)
    new.reconcile()
    assert released.registry.model_tags(MODEL)[LEDGER_TAG] == new.events[0].id
    settled(new)


def crash(*args: object) -> None:
    raise OutsideError("the line is cut.")


def by_hand(world: World, **aliases: str) -> None:
    for name in ("a", "b", "c"):
        world.registry.register(MODEL, f"runs:/{name}/model", None, {"holdfast.digest": f"sha256:{name}"})
    for alias, number in aliases.items():
        world.registry.set_alias(MODEL, alias, number)


def test_a_champion_set_by_hand_is_no_first_release(world: World) -> None:
    by_hand(world, champion="2", previous="1")
    with pytest.raises(UserError, match=r"has a champion of ranker \(version 2\)") as caught:
        world.stage("one")
    assert caught.value.reason_code == "unknown_champion"
    assert world.types == []
    known = {"2": {"digest": "sha256:measured", "lineage": {"environment": "sha256:e"}}}
    adopt(world.ledger, world.registry, MODEL, known)
    state = world.state
    assert state.roles() == {"champion": "2", "previous": "1", "candidate": None}
    assert (state.versions["2"].digest, state.versions["1"].digest) == ("sha256:measured", "sha256:a")
    assert state.anchor == state.champion
    number = world.release("one")
    assert world.aliases == {"champion": number, "previous": "2"}


def test_a_candidate_set_by_hand_is_asked_about_before_anything_is_written(world: World) -> None:
    by_hand(world, candidate="2")
    number = world.register("one").version
    world.judge("one")
    before = world.types
    with pytest.raises(UserError, match=r"has a candidate of ranker \(version 2\)"):
        stage(world.ledger, world.registry, MODEL, number)
    assert world.types == before
    adopt(world.ledger, world.registry, MODEL)
    stage(world.ledger, world.registry, MODEL, number)
    assert world.aliases == {"candidate": number}


def test_nothing_to_adopt(world: World) -> None:
    with pytest.raises(UserError, match="nothing to adopt"):
        adopt(world.ledger, world.registry, MODEL)


def test_an_empty_ledger_reconciles_to_nothing(world: World) -> None:
    by_hand(world, champion="1")
    assert world.reconcile() == ()
    assert world.registry.model_tags(MODEL) == {}
    assert Ledger(world.ledger.store).streams() == []


def test_deleted_and_moved_at_once_is_settled_by_restore_and_mended_by_rollback(released: World) -> None:
    """The champion's version is gone and its alias stands elsewhere: nothing can put it back, so the way on stays open."""
    released.registry.lose(MODEL, "2")
    released.registry.set_alias(MODEL, "champion", "3")
    with pytest.raises(Refused, match="somebody else moved the alias champion"):
        released.reconcile()
    with pytest.raises(OutsideError, match="version 2 of ranker, the champion, no longer exists"):
        released.reconcile(foreign="restore")
    assert released.aliases["champion"] == "3"
    with pytest.raises(OutsideError):
        released.reconcile()  # it says so again, and accuses nobody
    assert released.types.count("foreign_change") == 1
    released.rollback("1")
    assert released.aliases["champion"] == "1"
    released.reconcile()
