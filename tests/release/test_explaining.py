"""The story of a release from its events."""

from __future__ import annotations

import pytest

from holdfast.errors import UserError
from holdfast.release.attempt import Status
from holdfast.release.canary.judgement import Decision
from holdfast.release.explaining import explain
from tests.release.steered import REPORT, SteeredWorld


@pytest.fixture
def world() -> SteeredWorld:
    """Two releases: the first was rolled back for harm, the second is running."""
    world = SteeredWorld()
    world.canary("two")
    world.tick()
    world.words(Decision.ROLL_BACK)
    world.tick()
    world.words(Decision.CONTINUE)
    world.canary("three")
    world.tick()
    return world


def test_the_latest_release(world: SteeredWorld) -> None:
    found = explain(world.events)
    assert found.attempt.status is Status.RUNNING
    assert found.attempt.candidate == "3"
    assert found.report is None


def test_an_earlier_one_by_its_name(world: SteeredWorld) -> None:
    first = next(event.payload["release"] for event in world.events if event.type == "started")
    found = explain(world.events, first)
    assert found.attempt.status is Status.ROLLED_BACK
    assert found.report == REPORT
    assert found.attempt.metric == "outcomes.click"
    text = "\n".join(found.story)
    assert "rolling back: the test says rollback" in text
    assert "everybody is with the champion again" in text
    assert "the router has confirmed" not in text  # the machine's own small steps
    assert "three" not in text
    assert any("may drop by 0.005" in line for line in found.plan)


def test_one_that_never_was(world: SteeredWorld) -> None:
    with pytest.raises(UserError, match="there is no release r99"):
        explain(world.events, "r99")
    with pytest.raises(UserError, match="known: none"):
        explain([])
