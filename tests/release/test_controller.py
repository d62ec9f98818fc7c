"""A controller's rounds: intent, change, confirmation; what is away; who may act; the way back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.errors import OutsideError, Refused, UserError
from holdfast.release.attempt import Status
from holdfast.release.canaries import finish, pause, resume, take_back
from holdfast.release.canary.judgement import Decision
from holdfast.release.trips import Trip, append_trip, commands_of
from tests.release.steered import REPORT, SteeredWorld, plan
from tests.release.world import MODEL, settled


@pytest.fixture
def world() -> SteeredWorld:
    return SteeredWorld()


def running(world: SteeredWorld) -> None:
    world.canary()
    world.tick()
    assert world.state.living is not None
    assert world.state.living.status is Status.RUNNING


def status(world: SteeredWorld) -> Status | None:
    return None if world.state.attempt is None else world.state.attempt.status


def types_since(world: SteeredWorld, event: str) -> list[str]:
    types = world.types
    return types[len(types) - 1 - types[::-1].index(event) :]


def test_every_change_is_written_made_and_confirmed(world: SteeredWorld) -> None:
    world.canary()
    ticked = world.tick()
    assert ticked.leader
    assert types_since(world, "started") == ["started", "routed", "warming", "routed", "shifted", "routed"]
    routing = world.router.read()
    assert routing is not None
    assert (routing.champion, routing.canary, routing.share) == ("1", "2", 0.01)
    assert routing.release == world.state.living.id


def test_steps_then_promotion_by_evidence(world: SteeredWorld) -> None:
    running(world)
    world.words(Decision.ADVANCE)
    world.tick()
    assert world.router.read().share == 0.05
    world.words(Decision.CONTINUE, look=0)
    world.tick()
    world.tick()
    assert world.types.count("looked") == 1
    world.words(Decision.PROMOTE, look=1)
    world.tick()
    assert status(world) is Status.PROMOTED
    promoted = next(event for event in world.events if event.type == "promoted" and event.payload.get("release"))
    assert promoted.evidence["canary"] == REPORT
    assert promoted.evidence["report"].startswith("sha256:")
    assert world.aliases == {"champion": "2", "previous": "1"}
    assert world.router.read().canary is None
    assert world.router.read().champion == "2"
    settled(world)


@pytest.mark.parametrize(
    ("decision", "ended"), [(Decision.ROLL_BACK, Status.ROLLED_BACK), (Decision.INVALID, Status.INVALID)]
)
def test_evidence_takes_everybody_back(world: SteeredWorld, decision: Decision, ended: Status) -> None:
    running(world)
    world.words(decision)
    world.tick()
    assert status(world) is ended
    assert types_since(world, "returning") == ["returning", "routed", "returned"]
    assert world.router.read().canary is None
    assert world.state.champion.version == "1"
    # A candidate that did harm has to be judged anew; a broken experiment is not its fault.
    harmed = decision is Decision.ROLL_BACK
    assert (world.state.candidate is None) is harmed
    world.words(Decision.CONTINUE)
    world.drill()
    if harmed:
        with pytest.raises(Refused, match="no report on record"):
            world.start(plan(), version="2")
    else:
        world.start(plan())


@pytest.mark.parametrize("state", ["pending", "warming", "running", "held", "promoting"])
def test_one_command_takes_everybody_back_from_every_living_state(world: SteeredWorld, state: str) -> None:
    world.canary()
    if state == "warming":
        world.router.broken.add("2")
        world.tick()
    elif state != "pending":
        world.tick()
        if state == "held":
            pause(world.ledger, MODEL, reason="lunch")
        if state == "promoting":
            finish(world.ledger, world.registry, world.router, MODEL, reason="I know")
    assert status(world) == state
    take_back(world.ledger, world.router, MODEL, reason="no")
    assert world.router.read().canary is None  # before any controller's round
    take_back(world.ledger, world.router, MODEL, reason="again")
    world.tick()
    assert status(world) is Status.ROLLED_BACK
    assert world.types.count("returning") == 1


def test_a_dead_canary_is_rolled_back_and_a_slow_one_waited_for(world: SteeredWorld) -> None:
    world.canary()
    world.router.broken.add("2")
    world.tick()
    assert status(world) is Status.WARMING
    assert world.router.read().share == 0.0
    world.clock.now += timedelta(minutes=11)
    world.tick()
    assert status(world) is Status.ROLLED_BACK


def test_never_back_to_the_one_that_is_dead(world: SteeredWorld) -> None:
    running(world)
    world.router.broken.add("1")
    world.words(Decision.ROLL_BACK)
    world.tick()
    assert status(world) is Status.HELD
    assert world.router.read().share == 0.01
    with pytest.raises(Refused, match="does not answer: traffic stays"):
        take_back(world.ledger, world.router, MODEL, reason="no")
    world.router.broken.clear()
    world.tick()
    assert status(world) is Status.ROLLED_BACK


def test_while_promoting_traffic_stays_with_the_healthy_one(world: SteeredWorld) -> None:
    running(world)
    finish(world.ledger, world.registry, world.router, MODEL, reason="I know")
    world.router.broken.add("1")
    world.tick()
    assert status(world) is Status.PROMOTED
    assert world.router.read().champion == "2"


def test_while_promoting_a_dead_candidate_goes_back(world: SteeredWorld) -> None:
    running(world)
    finish(world.ledger, world.registry, world.router, MODEL, reason="I know")
    assert world.router.read().share == 1.0
    world.router.broken.add("2")
    world.tick()
    assert status(world) is Status.ROLLED_BACK


def test_pause_holds_everything_but_harm(world: SteeredWorld) -> None:
    running(world)
    pause(world.ledger, MODEL, reason="lunch")
    for decision in (Decision.ADVANCE, Decision.PROMOTE, Decision.UNDECIDED):
        world.words(decision)
        world.tick()
        assert status(world) is Status.HELD
    resume(world.ledger, MODEL)
    assert status(world) is Status.RUNNING
    pause(world.ledger, MODEL, reason="again")
    world.words(Decision.ROLL_BACK)
    world.tick()
    assert status(world) is Status.ROLLED_BACK


@pytest.mark.parametrize(("policy", "expected"), [("hold", Status.HELD), ("rollback", Status.ROLLED_BACK)])
def test_undecided_as_the_policy_says(world: SteeredWorld, policy: str, expected: Status) -> None:
    world.release("one")
    world.stage("two")
    world.drill()
    world.start(plan(on_undecided=policy))
    world.tick()
    world.words(Decision.UNDECIDED)
    world.tick()
    assert status(world) is expected


class TestStart:
    def test_not_without_a_fresh_drill_of_this_champion_and_router(self, world: SteeredWorld) -> None:
        world.release("one")
        world.stage("two")
        with pytest.raises(Refused, match="never tried"):
            world.start(plan())
        world.drill()
        with pytest.raises(Refused, match="router memory, not with version 1 and haproxy"):
            world.start(plan(), router="haproxy")
        world.clock.now += timedelta(days=8)
        with pytest.raises(Refused, match="longer than 168 h"):
            world.start(plan())

    def test_not_two_at_once(self, world: SteeredWorld) -> None:
        world.canary()
        with pytest.raises(Refused, match="is pending"):
            world.start(plan())
        with pytest.raises(Refused, match="is pending"):
            world.promote()
        with pytest.raises(Refused, match="is pending"):
            world.drill()

    def test_not_a_plan_that_cannot_succeed_unless_somebody_takes_it(self, world: SteeredWorld) -> None:
        world.release("one")
        world.stage("two")
        world.drill()
        with pytest.raises(Refused, match="too few users"):
            world.start(plan(), weak=("too few users",))
        assert world.start(plan(), weak=("too few users",), override="try it").notices == ("too few users",)

    def test_not_without_a_report_nor_a_champion(self, world: SteeredWorld) -> None:
        world.stage("one")
        with pytest.raises(Refused, match="no champion"):
            world.start(plan())
        world.promote()
        world.register("two")
        world.drill()
        with pytest.raises(Refused, match="no version is staged"):
            world.start(plan())
        with pytest.raises(Refused, match="no report on record"):
            world.start(plan(), version="2")
        with pytest.raises(UserError, match="needs a reason"):
            world.start(plan(), version="2", override=" ")

    def test_not_where_the_way_back_is_gone(self, world: SteeredWorld) -> None:
        world.release("one")
        world.stage("two")
        world.drill()
        world.registry.has_files = lambda model, version: version != "1"
        with pytest.raises(OutsideError, match="version 1 of ranker can no longer be fetched"):
            world.start(plan())


class TestAway:
    def test_router_away_nothing_moves_and_it_goes_on_later(self, world: SteeredWorld) -> None:
        running(world)
        world.router.away = True
        for decision in (Decision.PROMOTE, Decision.ADVANCE, Decision.ROLL_BACK):
            world.words(decision)
            assert any("away" in complaint for complaint in world.tick().complaints)
            assert status(world) is Status.RUNNING
        with pytest.raises(OutsideError, match="it is recorded, but the router was not told"):
            take_back(world.ledger, world.router, MODEL, reason="harm")
        assert status(world) is Status.ROLLING_BACK  # it is written; whoever reaches the router does it
        world.router.away = False
        world.tick()
        assert status(world) is Status.ROLLED_BACK

    def test_registry_away_nothing_is_promoted_and_harm_still_ends_it(self, world: SteeredWorld) -> None:
        running(world)

        def away(*_: object) -> None:
            raise OutsideError("the registry is away")

        for name in ("has_files", "model_tags", "aliases"):
            setattr(world.registry, name, away)
        world.words(Decision.ADVANCE)
        world.tick()
        world.words(Decision.PROMOTE)
        assert "the registry is away" in world.tick().complaints
        assert status(world) is Status.RUNNING
        world.words(Decision.ROLL_BACK)
        world.tick()
        assert status(world) is Status.ROLLED_BACK

    def test_ledger_away_traffic_stays_until_harm_is_seen(self, world: SteeredWorld) -> None:
        running(world)
        controller = world.controller("a")
        world.seconds += 7
        controller.tick()
        store, real = world.ledger.store, world.ledger.store.list

        def away(*_: object) -> None:
            raise OutsideError("the store is away")

        store.list = away
        world.seconds += 20
        assert controller.tick().complaints == ("the store is away",)
        assert world.router.answers(user_of_canary(world)) == "2"  # its lease was renewed
        store.list = real
        world.words(Decision.ROLL_BACK)
        put, store.put_if_absent = store.put_if_absent, away
        assert "the store is away" in controller.tick().complaints
        store.list = away
        for _ in range(4):
            world.seconds += 10
            controller.tick()
        assert world.router.answers(user_of_canary(world)) == "1"  # nobody renewed it: the router's own lease
        store.list, store.put_if_absent = real, put
        controller.tick()
        assert status(world) is Status.ROLLED_BACK

    def test_moved_alias_stops_promotion_not_the_way_back(self, world: SteeredWorld) -> None:
        running(world)
        world.words(Decision.ADVANCE)
        world.tick()
        world.registry.set_alias(MODEL, "champion", "2")
        world.words(Decision.PROMOTE)
        assert any("somebody else moved the alias champion" in text for text in world.tick().complaints)
        assert status(world) is Status.RUNNING
        world.words(Decision.ROLL_BACK)
        world.tick()
        assert status(world) is Status.ROLLED_BACK


def user_of_canary(world: SteeredWorld) -> str:
    routing = world.router.read()
    return next(f"u{n}" for n in range(100_000) if routing.variant_of(f"u{n}") == "canary")


class TestSeveral:
    def test_one_acts_and_another_takes_over_within_ten_seconds(self, world: SteeredWorld) -> None:
        running(world)
        first, second = world.controller("a"), world.controller("b")
        assert first.tick().leader
        for _ in range(20):
            world.seconds += 1
            assert first.tick().leader
            assert not second.tick().leader
        waited = 0  # the first one dies
        while not second.tick().leader:
            world.seconds += 1
            waited += 1
        assert waited <= 10
        assert not first.tick().leader  # it was only asleep, and is told so

    def test_a_late_word_of_an_old_controller_is_refused(self, world: SteeredWorld) -> None:
        running(world)
        old = world.router.read()
        world.words(Decision.ROLL_BACK)
        world.tick()
        with pytest.raises(Refused) as refused:
            world.router.apply(old)
        assert refused.value.reason_code == "stale_epoch"

    def test_a_clock_that_is_fast_does_not_end_a_lease_of_real_seconds(self, world: SteeredWorld) -> None:
        """Evidence may be judged by another clock than the routers' leases."""
        running(world)
        first, second = world.controller("a"), world.controller("b")
        for each in (first, second):
            assert each.lease is not None
            each.lease._wall = lambda: world.seconds
        first.tick()
        while not second.tick().leader:
            world.seconds += 1
            world.clock.now += timedelta(hours=1)
        assert "restarted" not in world.types

    def test_a_dead_controller_means_the_champion_and_then_the_step_again(self, world: SteeredWorld) -> None:
        running(world)
        first, user = world.controller("a"), user_of_canary(world)
        first.tick()
        assert world.router.answers(user) == "2"
        world.seconds += 31
        assert world.router.answers(user) == "1"
        world.clock.now += timedelta(seconds=31)
        second = world.controller("b")
        while not second.tick().leader:
            world.seconds += 1
        assert "restarted" in world.types
        assert status(world) is Status.RUNNING
        assert world.router.answers(user) == "2"
        assert world.state.living.since is not None

    def test_a_clock_that_goes_back_loses_nothing(self, world: SteeredWorld) -> None:
        running(world)
        world.clock.now -= timedelta(days=2)
        world.words(Decision.ADVANCE)
        world.tick()
        world.words(Decision.ROLL_BACK)
        world.tick()
        assert status(world) is Status.ROLLED_BACK


class TestDrill:
    def test_it_shows_the_way_back_and_harms_nobody(self, world: SteeredWorld) -> None:
        world.release("one")
        seen = []
        real = world.router.apply
        world.router.apply = lambda routing: (seen.append(routing), real(routing))
        found = world.drill()
        assert found.ok
        assert [(routing.champion, routing.canary) for routing in seen[:2]] == [("1", "1"), ("1", None)]
        assert {"out", "back"} <= set(found.details["seconds"])

    @pytest.mark.parametrize("trouble", ["dead", "obeys", "deaf", "lost"])
    def test_it_finds_what_is_wrong(self, world: SteeredWorld, trouble: str) -> None:
        world.release("one")
        if trouble == "dead":
            world.router.broken.add("1")
        elif trouble == "obeys":
            world.router.apply = lambda routing: setattr(world.router, "_routing", routing)
        elif trouble == "deaf":
            world.router.apply = lambda routing: None
        else:
            world.registry.has_files = lambda model, version: False
        found = world.drill()
        assert not found.ok
        assert found.details["problems"]
        world.registry.has_files = lambda model, version: True
        world.stage("two")
        with pytest.raises(Refused, match="does not work"):
            world.start(plan())

    def test_an_interrupted_one_is_closed_and_its_users_taken_back(self, world: SteeredWorld) -> None:
        world.release("one")
        world.attempt(world.drill, 3)
        assert world.state.drill.is_living
        world.clock.now += timedelta(minutes=2)
        world.tick()
        assert world.state.drill.details["problems"] == ["interrupted"]
        assert world.router.read() is None or world.router.read().canary is None
        assert world.drill().ok


def tripped(world: SteeredWorld, release: str, canary: str = "2") -> None:
    trip = Trip(release=release, canary=canary, epoch=1, replica="a", reason="5 units met faults")
    append_trip(world.ledger, MODEL, trip)


@pytest.mark.parametrize("state", ["warming", "running", "held", "promoting"])
def test_a_replicas_breaker_ends_the_release_from_every_state_that_sends_users(world: SteeredWorld, state: str) -> None:
    world.canary()
    if state == "warming":
        world.router.broken.add("2")
    world.tick()
    if state == "held":
        pause(world.ledger, MODEL, reason="lunch")
    if state == "promoting":
        finish(world.ledger, world.registry, world.router, MODEL, reason="I know")
    assert status(world) == state
    living = world.state.living
    tripped(world, living.id)
    tripped(world, living.id)  # another replica, or the same one again
    world.words(Decision.PROMOTE, look=0)  # whatever the evidence says
    world.tick()
    world.tick()
    assert status(world) is Status.ROLLED_BACK
    assert world.types.count("returning") == 1
    returning = next(event for event in world.events if event.type == "returning")
    assert returning.payload["metric"] == "breaker"
    assert returning.payload["reason"] == "the breaker of replica a opened: 5 units met faults"
    assert world.router.read().canary is None


def test_a_command_of_another_release_changes_nothing(world: SteeredWorld) -> None:
    running(world)
    first = world.state.living.id
    tripped(world, "r0-000000")
    world.ledger.append_latest(commands_of(MODEL), "of a later Holdfast", {"release": first})
    world.tick()
    assert status(world) is Status.RUNNING
    tripped(world, first)
    world.tick()
    assert status(world) is Status.ROLLED_BACK
    world.canary("three")
    for _ in range(3):
        world.tick()
    assert status(world) is Status.RUNNING


def test_a_breaker_does_not_send_users_to_a_dead_champion(world: SteeredWorld) -> None:
    running(world)
    tripped(world, world.state.living.id)
    world.router.broken.add("1")
    world.tick()
    world.tick()
    assert status(world) is Status.HELD
    assert world.types.count("held") == 1
    world.router.broken.clear()
    world.tick()
    assert status(world) is Status.ROLLED_BACK


def test_a_command_needs_to_name_the_release_and_nothing_more(world: SteeredWorld) -> None:
    running(world)
    world.ledger.append_latest(commands_of(MODEL), "tripped", {"release": world.state.living.id, "later": {}})
    world.tick()
    assert status(world) is Status.ROLLED_BACK
    assert world.state.attempt.why == "the breaker of replica unknown opened: it does not say why"
