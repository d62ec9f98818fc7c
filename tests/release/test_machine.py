"""Random releases, random deaths, random strangers: what must hold, holds."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.errors import HoldfastError, OutsideError, Refused
from holdfast.release import stage
from holdfast.store import digest
from holdfast.verdict import Verdict
from tests.release.killing import MortalWorld
from tests.release.machines import run_machine
from tests.release.world import MODEL, POLICY_DIGEST

NAMES = st.sampled_from(["a", "b", "c", "d"])
LEFT = st.none() | st.integers(0, 7)  # writes until the process is killed
ROLES = st.sampled_from(["champion", "previous", "candidate"])


class Releases(RuleBasedStateMachine):
    """Every rule is a command that may be refused and may be killed; `reports` are what gates said, by their digest.

    Strangers move aliases and delete versions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = MortalWorld()
        self.reports: dict[str, dict[str, Any]] = {}
        self.strangers = 0

    def attempt(self, act: Any, left: int | None) -> None:
        with contextlib.suppress(HoldfastError):
            self.world.attempt(act, left)

    @rule(name=NAMES, left=LEFT)
    def register(self, name: str, left: int | None) -> None:
        self.attempt(lambda: self.world.register(name), left)

    @rule(name=NAMES, verdict=st.sampled_from([Verdict.PASS, Verdict.PASS, Verdict.FAIL]))
    def judge(self, name: str, verdict: Verdict) -> None:
        champion = self.world.state.roles()["champion"]
        value = 0.5 + len(self.reports) / 1000
        report = self.world.judge(name, verdict, value)
        self.reports[report] = {"name": digest(name.encode()), "champion": champion, "verdict": verdict}

    @rule(number=st.integers(1, 5), left=LEFT)
    def stage(self, number: int, left: int | None) -> None:
        self.attempt(lambda: stage(self.world.ledger, self.world.registry, MODEL, str(number)), left)

    @rule(override=st.sampled_from([None, None, None, "my word"]), anchor=st.booleans(), left=LEFT)
    def promote(self, override: str | None, anchor: bool, left: int | None) -> None:
        self.attempt(lambda: self.world.promote(override=override, anchor=anchor), left)

    @rule(to=st.none() | st.integers(1, 5).map(str), left=LEFT)
    def rollback(self, to: str | None, left: int | None) -> None:
        self.attempt(lambda: self.world.rollback(to), left)

    @rule(name=NAMES, left=LEFT)
    def whole_road(self, name: str, left: int | None) -> None:
        def act() -> None:
            number = self.world.register(name).version
            self.judge(name, Verdict.PASS)
            stage(self.world.ledger, self.world.registry, MODEL, number)
            self.world.promote()

        self.attempt(act, left)

    @rule(foreign=st.sampled_from([None, "accept", "restore"]), left=LEFT)
    def reconcile(self, foreign: str | None, left: int | None) -> None:
        self.attempt(lambda: self.world.reconcile(foreign=foreign), left)

    @precondition(lambda self: self.world.registry.versions(MODEL))
    @rule(role=ROLES, pick=st.integers(0, 9))
    def stranger_moves_an_alias(self, role: str, pick: int) -> None:
        versions = self.world.registry.versions(MODEL)
        self.world.registry.set_alias(MODEL, role, versions[pick % len(versions)].version)
        self.strangers += 1

    @precondition(lambda self: self.world.registry.versions(MODEL))
    @rule(pick=st.integers(0, 9))
    def stranger_deletes_a_version(self, pick: int) -> None:
        versions = self.world.registry.versions(MODEL)
        self.world.registry.lose(MODEL, versions[pick % len(versions)].version)

    @invariant()
    def every_champion_has_its_evidence_or_a_name(self) -> None:
        """Read from the events alone, without the fold."""
        champion: str | None = None
        champions: list[str] = []
        bad: set[str] = set()
        digests: dict[str, str] = {}
        for event in self.world.events:
            payload = event.payload
            if event.type == "registered":
                digests[payload["version"]] = payload["digest"]
            elif event.type == "promoted":
                assert payload["from"] == champion
                if not payload["override"]:
                    report = self.reports[event.evidence["report"]]
                    assert report == {
                        "name": digests[payload["version"]],
                        "champion": champion,
                        "verdict": Verdict.PASS,
                    }
                    assert payload["policy_digest"] == POLICY_DIGEST
                champion = payload["version"]
                bad.discard(champion)
                champions.append(champion)
            elif event.type == "rolled_back":
                assert payload["from"] == champion
                assert payload["to"] in champions
                assert payload["to"] not in bad
                bad.add(payload["from"])
                champion = payload["to"]
            elif event.type == "accepted":
                number = payload["version"]["version"]
                digests.setdefault(number, payload["version"]["digest"])
                if payload["alias"] == "champion":
                    champion = number
                if payload["alias"] != "candidate":
                    champions.append(number)
                    bad.discard(number)
        state = self.world.state
        assert state.roles()["champion"] == champion
        assert state.unhealthy == bad

    @invariant()
    def the_way_back_is_sound(self) -> None:
        state = self.world.state
        previous = state.roles()["previous"]
        assert previous is None or previous not in state.unhealthy
        assert previous is None or previous != state.roles()["champion"]
        assert (state.champion is None) == (state.anchor is None)

    @invariant()
    def nobody_is_accused_who_was_not_there(self) -> None:
        """One stranger's move may be told again when what belongs there has changed; without strangers nobody is."""
        assert self.strangers or "foreign_change" not in self.world.types

    @invariant()
    def the_ledger_is_whole(self) -> None:
        (check, *_) = self.world.ledger.verify() or [None]
        assert check is None or check.verdict is Verdict.PASS

    def teardown(self) -> None:
        """Whatever happened, one command makes ledger and registry agree, but for what is gone for good."""
        world = self.world
        with contextlib.suppress(OutsideError):
            world.reconcile(foreign="restore")
        wanted = {role: number for role, number in world.state.aliases().items() if number is not None}
        there = {role: number for role, number in wanted.items() if world.registry.version(MODEL, number)}
        gone = wanted.keys() - there.keys()  # its alias stays where it was: pointing nowhere would be worse
        found = {role: n for role, n in world.aliases.items() if role in world.state.mentioned and role not in gone}
        assert found == there
        before = world.writes
        with contextlib.suppress(OutsideError):
            world.reconcile()
        assert world.writes == before


def test_random_releases() -> None:
    run_machine(Releases, 60, 25)


@pytest.mark.slow
def test_many_random_releases() -> None:
    run_machine(Releases, 1500, 50)


def test_the_machine_gets_somewhere() -> None:
    """The rules above do reach promotions and rollbacks; else their invariants would hold of nothing."""
    machine = Releases()
    machine.whole_road("a", None)
    machine.whole_road("b", None)
    machine.rollback(None, None)
    assert machine.world.types.count("promoted") == 2
    assert machine.world.types[-1] == "rolled_back"
    machine.stranger_moves_an_alias("champion", 1)
    with pytest.raises(Refused):
        machine.world.reconcile()
    machine.teardown()
