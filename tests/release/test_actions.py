"""The road of releases over a ledger and a registry in memory, one rule a test."""

from __future__ import annotations

import pytest

from holdfast.errors import Conflict, Damaged, OutsideError, Refused, UserError
from holdfast.ledger import Ledger
from holdfast.release import reset_anchor, stage, status, stream_of
from holdfast.store import digest
from holdfast.verdict import Verdict
from tests.fixtures.registries import MemoryRegistry
from tests.release.world import MODEL, POLICY, World, settled


def test_from_the_first_release_to_a_rollback(world: World) -> None:
    one = world.stage("one")
    assert world.aliases == {"candidate": one}
    first = world.promote()
    assert first.notices == ("first release: there is no champion yet, and nothing to roll back to.",)
    two = world.release("two")
    assert world.aliases == {"champion": two, "previous": one}
    done = world.rollback(reason="shoppers complained")
    assert done.message == "version 1 is the champion again; version 2 is not."
    assert world.aliases == {"champion": one}
    assert world.state.unhealthy == {two}
    assert world.types == ["registered", "judged", "staged", "promoted"] * 2 + ["rolled_back"]
    settled(world)


def test_a_rollback_after_a_rollback_goes_to_the_version_before(world: World) -> None:
    for name in ("one", "two", "three"):
        world.release(name)
    world.rollback()
    assert world.aliases == {"champion": "2", "previous": "1"}
    world.rollback()
    assert world.aliases == {"champion": "1"}
    with pytest.raises(Refused, match="nothing to roll back to"):
        world.rollback()
    world.release("four")
    assert world.aliases == {"champion": "4", "previous": "1"}


def test_a_rollback_goes_only_to_a_sound_earlier_champion(world: World) -> None:
    with pytest.raises(Refused, match="no champion"):
        world.rollback()
    world.release("one")
    world.release("two")
    world.register("never released")
    with pytest.raises(Refused, match="never champion"):
        world.rollback("3")
    with pytest.raises(UserError, match="no version 9"):
        world.rollback("9")
    world.rollback("1")
    before = world.types
    assert world.rollback("1").message == "version 1 is the champion already."
    assert world.types == before
    with pytest.raises(Refused, match="itself rolled back from"):
        world.rollback("2")


def test_a_champion_that_was_skipped_by_a_rollback_is_still_a_way_back(world: World) -> None:
    for name in ("one", "two", "three"):
        world.release(name)
    world.rollback("1")
    assert world.state.previous is None
    assert world.state.ways_back() == ["2"]
    world.rollback("2")
    assert world.aliases == {"champion": "2"}
    settled(world)


def test_a_rollback_needs_its_target_to_be_there(world: World) -> None:
    assert isinstance(world.registry, MemoryRegistry)
    for name in ("one", "two", "three"):
        world.release(name)
    world.registry.lose(MODEL, "2")
    with pytest.raises(OutsideError, match="can no longer be fetched") as caught:
        world.rollback()
    assert "holdfast release rollback --to 1" in str(caught.value)
    assert world.state.champion == world.state.versions["3"]
    world.rollback("1")
    assert world.aliases == {"champion": "1"}


def test_a_lost_champion_can_be_rolled_back_from(world: World) -> None:
    assert isinstance(world.registry, MemoryRegistry)
    world.release("one")
    world.release("two")
    world.registry.lose(MODEL, "2")
    with pytest.raises(OutsideError, match="version 2 of ranker, the champion, no longer exists") as caught:
        world.reconcile()
    assert caught.value.reason_code == "version_gone"
    assert world.aliases == {"previous": "1"}
    world.rollback()
    assert world.aliases == {"champion": "1"}
    settled(world)


def test_no_promotion_while_the_champion_could_not_be_gone_back_to(world: World) -> None:
    assert isinstance(world.registry, MemoryRegistry)
    world.release("one")
    world.release("two")
    world.stage("three")
    world.registry.lose(MODEL, "2")
    with pytest.raises(Refused, match="nothing to roll back to: version 2") as caught:
        world.promote(override="I know")
    assert caught.value.reason_code == "no_way_back"
    assert "rollback --to 1" in str(caught.value)
    assert world.state.roles()["champion"] == "2"


def test_no_promotion_of_what_is_gone(world: World) -> None:
    assert isinstance(world.registry, MemoryRegistry)
    world.release("one")
    number = world.stage("two")
    world.registry.lose(MODEL, number)
    with pytest.raises(OutsideError, match="version 2 of ranker can no longer be fetched"):
        world.promote()
    with pytest.raises(OutsideError, match="can no longer be fetched"):
        stage(world.ledger, world.registry, MODEL, number)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda w: None, "no report on record"),
        (lambda w: w.judge("two", Verdict.FAIL), "is fail, not pass"),
        (lambda w: w.judge("two", Verdict.INCONCLUSIVE), "inconclusive|fail"),
        (lambda w: (w.judge("two"), w.judge("two", Verdict.ERROR)), "is error, not pass"),
        (lambda w: w.judge("another"), "no report on record"),
    ],
    ids=["none", "fail", "inconclusive", "a later error", "of another"],
)
def test_no_promotion_without_a_passing_report(world: World, prepare: object, words: str) -> None:
    world.release("one")
    number = world.register("two").version
    stage(world.ledger, world.registry, MODEL, number)
    prepare(world)  # type: ignore[operator]
    with pytest.raises(Refused, match=words):
        world.promote()
    assert world.state.roles()["champion"] == "1"
    done = world.promote(override="the shop asked for it")
    assert done.version == number
    assert world.events[-1].payload["override"] == "the shop asked for it"


def test_no_promotion_by_a_report_against_another_champion_or_policy(world: World) -> None:
    world.release("one")
    world.stage("two")
    world.stage("three")
    with pytest.raises(Refused, match="another policy"):
        world.promote(policy_digest="sha256:other")
    world.promote(version="2")
    with pytest.raises(Refused, match="compares it with version 1, and the champion is version 2"):
        world.promote(version="3")
    with pytest.raises(Refused, match="version 2 is the champion already"):
        world.promote(version="2")


def test_no_promotion_of_nothing_or_for_no_reason(world: World) -> None:
    world.release("one")
    with pytest.raises(Refused, match="no version is staged"):
        world.promote()
    world.stage("two")
    with pytest.raises(UserError, match="needs a reason"):
        world.promote(override="  ")


def test_a_named_report_must_be_the_one(world: World) -> None:
    world.release("one")
    good = world.judge("two", value=0.81)
    world.stage("two")
    with pytest.raises(Refused, match="report sha256:ffff"):
        world.promote(report="sha256:" + "f" * 64)
    bad = world.judge("two", Verdict.FAIL)
    with pytest.raises(Refused, match="is fail, not pass"):
        world.promote(report=good)
    world.judge("two", value=0.82)
    with pytest.raises(Refused, match="did not pass"):
        world.promote(report=bad)
    world.promote(report=good)
    assert world.events[-1].evidence == {"report": good}


@pytest.mark.parametrize(
    "changes", [{"candidate": "sha256:x"}, {"champion": "sha256:x"}, {"policy": "sha256:x"}, {"verdict": "fail"}]
)
def test_the_stored_report_itself_must_say_so(world: World, changes: dict[str, str]) -> None:
    """The ledger's word of a report is not enough."""
    world.release("one")
    number = world.register("two").version
    stage(world.ledger, world.registry, MODEL, number)
    if "verdict" in changes:
        stored = world.judge("two", Verdict.FAIL)
        payload = {**world.events[-1].payload, "verdict": "pass"}
        world.ledger.append_latest(stream_of(MODEL), "judged", payload, evidence={"report": stored})
    else:
        world.judge("two", **changes)
    with pytest.raises(Refused, match="the stored report on version 2"):
        world.promote()


def test_a_report_that_is_lost_is_no_evidence(world: World) -> None:
    world.stage("one")
    name = world.judge("one", value=0.9)
    world.ledger.store.delete(f"objects/sha256/{name[7:9]}/{name[7:]}")
    with pytest.raises(Damaged, match="lost"):
        world.promote()


def test_what_failed_in_production_needs_a_new_report(world: World) -> None:
    world.release("one")
    world.release("two")
    world.rollback()
    with pytest.raises(Refused, match="since it was rolled back from"):
        world.promote(version="2")
    world.judge("two")
    done = world.promote(version="2")
    assert "version 2 was rolled back from before." in done.notices
    assert world.state.unhealthy == frozenset()


def test_a_looser_policy_is_told_with_its_numbers(world: World) -> None:
    world.release("one")
    world.stage("two")
    looser = {**POLICY, "metrics": {"ndcg@10": {"min": 0.4, "max_regression": 0.02}}}
    done = world.promote(override="why not", policy=looser, policy_digest="sha256:new")
    assert done.notices == ("the policy is looser: metrics.ndcg@10.min went from 0.5 to 0.4.",)


def test_the_same_content_is_registered_once(world: World) -> None:
    assert world.register("one") == world.register("one")
    assert world.types == ["registered"]
    world.source = "runs:/one/model"
    with pytest.raises(Refused, match="is version 1 already, which had other content"):
        world.register("other content at the same place")


def test_staging_twice_is_once_and_never_the_champion(world: World) -> None:
    number = world.stage("one")
    before = world.types
    stage(world.ledger, world.registry, MODEL, number)
    assert world.types == before
    world.promote()
    with pytest.raises(Refused, match="champion already"):
        stage(world.ledger, world.registry, MODEL, number)


def test_a_judgement_in_between_is_no_conflict(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.stage("one")
    between(world, monkeypatch, lambda other: other.judge("something else"))
    assert world.promote().version == "1"
    assert world.types[-2:] == ["judged", "promoted"]


def test_of_two_at_once_the_second_is_told_who_was_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.release("one")
    world.stage("two")
    world.stage("three")
    between(world, monkeypatch, lambda other: (other.judge("four"), other.promote(version="3")))
    with pytest.raises(Conflict, match="bob was first: version 3 became champion after version 1"):
        world.promote(version="2")
    assert world.aliases["champion"] == "3"
    settled(world)


def between(world: World, monkeypatch: pytest.MonkeyPatch, act: object) -> None:
    """Let bob act between the next decision and its writing."""
    real = Ledger.append
    bob = World(world.registry, world.ledger.store, who="bob")

    def append(self: Ledger, *args: object, **options: object) -> object:
        monkeypatch.setattr(Ledger, "append", real)
        act(bob)  # type: ignore[operator]
        return real(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "append", append)


def test_the_anchor_is_kept_with_its_score_and_reset_only_with_a_reason(world: World) -> None:
    world.release("one")
    world.release("two")
    assert world.events[-1].payload["score"] == {
        "metric": "ndcg@10",
        "value": 0.8,
        "direction": "higher",
        "holdout": "sha256:h",
    }
    assert world.state.anchor == world.state.versions["1"]
    world.release("three", anchor=True)
    assert world.state.anchor == world.state.versions["3"]
    world.release("four")
    with pytest.raises(UserError, match="needs a reason"):
        reset_anchor(world.ledger, world.registry, MODEL, reason=" ")
    assert reset_anchor(world.ledger, world.registry, MODEL, reason="new market").message == "version 4 is the anchor."
    assert reset_anchor(world.ledger, world.registry, MODEL, reason="new market").message.endswith("already.")
    assert world.types.count("anchor_reset") == 1


def test_status_is_plain_data(world: World) -> None:
    assert status(world.ledger, MODEL)["champion"] is None
    world.release("one")
    world.release("two", override="because")
    world.rollback(reason="it was worse")
    found = status(world.ledger, MODEL)
    assert found["champion"]["version"] == "1"
    assert found["champion"]["digest"] == digest(b"one")
    assert (found["previous"], found["candidate"], found["unhealthy"]) == (None, None, ["2"])
    last = found["history"][-1]
    assert (last["who"], last["what"], last["version"], last["why"]) == ("ada", "rolled_back", "1", "it was worse")
    assert [row["what"] for row in found["history"]] == ["staged", "promoted"] * 2 + ["rolled_back"]
    assert found["story"][-1].endswith("rolled back from version 2 to version 1: it was worse  (ada)")
