"""Evidence for a controller from a log that grows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.config.schema import ReleaseConfig
from holdfast.errors import OutsideError
from holdfast.evidence.log import FileLog
from holdfast.release.attempt import Attempt, Status
from holdfast.release.canary.judgement import Decision
from holdfast.release.canary.planning import canary_plan
from holdfast.release.routing import Routing
from holdfast.release.watch import LogWatch
from holdfast.store import open_store
from holdfast.verdict import Report, Verdict, utc_text
from tests.traffic import write_traffic

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PLAN = canary_plan(
    ReleaseConfig.model_validate(
        {
            "canary": {"steps": [{"share": 0.2}], "max_hours": 48, "unit_window": "6h"},
            "guardrails": {"click": {"max_drop": 0.03, "absent": "zero", "delay": "1m"}},
        }
    )
)
ROUTING = Routing(model="ranker", epoch=7, champion="1", canary="2", share=0.2, release="r1")


def attempt(**changes: object) -> Attempt:
    begun = utc_text(BEGIN)
    fields = {"status": Status.RUNNING, "began": begun, "since": begun, "shifted": 7, **changes}
    return Attempt(id="r1", candidate="2", champion="1", plan=PLAN, started=begun, **fields)


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder, self.hours = folder, 0
        self.store = open_store(folder / "store")
        self.watch = self.new()

    def new(self) -> LogWatch:
        """As another process would begin."""
        return LogWatch(FileLog(self.folder / "predictions", self.folder / "outcomes"), self.store, "ranker")

    def hour(self, routing: Routing = ROUTING, clicks: tuple[float, float] = (0.2, 0.2)) -> datetime:
        """Another hour of traffic; the time after it, when all its clicks have come."""
        begin = BEGIN + timedelta(hours=self.hours)
        self.hours += 1
        write_traffic(self.folder, begin, 3590, 3_000, 1_500, routing=routing, clicks=clicks, seed=self.hours)
        return begin + timedelta(hours=1, minutes=2)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_harm_is_seen_and_the_report_stored(place: Place) -> None:
    now = place.hour(clicks=(0.3, 0.1))
    found = place.watch.look(attempt(), now)
    assert found.judgement.decision is Decision.ROLL_BACK
    report = Report.from_json(json.loads(place.store.get_object(found.report)))
    check = next(check for check in report.checks if check.name == "outcomes.click")
    assert check.verdict is Verdict.FAIL
    assert report.verdict is Verdict.FAIL
    assert len(check.series) > 10
    assert report.inputs["release"] == "r1"


def test_a_log_that_grows_is_read_on_and_a_new_process_sees_the_same(place: Place) -> None:
    for _ in range(5):
        now = place.hour()
        found = place.watch.look(attempt(), now)
    assert found.judgement.decision is Decision.CONTINUE
    again = place.new().look(attempt(), now)
    for ours, theirs in zip(found.judgement.checks, again.judgement.checks, strict=True):
        assert (ours.estimate, ours.low, ours.n, ours.verdict) == pytest.approx(
            (theirs.estimate, theirs.low, theirs.n, theirs.verdict)
        ) or ours.message == theirs.message


def test_only_its_own_release_and_step_count(place: Place) -> None:
    other = Routing(model="ranker", epoch=3, champion="1", canary="2", share=0.2, release="r0")
    now = place.hour(other, clicks=(0.3, 0.0))
    found = place.watch.look(attempt(), now)
    assert found.judgement.decision is Decision.CONTINUE
    assert next(c for c in found.judgement.checks if c.name == "outcomes.click").n == 0


def test_a_planned_look_is_taken_once_and_promotes_what_is_harmless(place: Place) -> None:
    now = BEGIN
    for _ in range(25):
        now = place.hour()
    found = place.watch.look(attempt(), now)
    assert found.look == 0
    assert found.report is not None
    assert any(check.name == "outcomes.click.promotion" for check in found.judgement.checks)
    taken = place.watch.look(attempt(looks=(0,)), now + timedelta(minutes=1))
    assert taken.look is None


def test_the_last_look_is_taken_though_the_time_is_over(place: Place) -> None:
    """It is due at the end, and its log is written a little later."""
    for _ in range(49):
        place.hour()
    end = BEGIN + timedelta(hours=48)
    waiting = place.watch.look(attempt(looks=(0,)), end + timedelta(seconds=1))
    assert waiting.judgement.decision is Decision.CONTINUE
    assert "the last planned look is still to be taken" in waiting.judgement.reason
    taken = place.watch.look(attempt(looks=(0,)), end + timedelta(minutes=2))
    assert taken.look == 1
    assert taken.judgement.decision is Decision.PROMOTE


@pytest.mark.parametrize(
    ("looks", "hours", "expected"),
    [
        ((0,), 47.9, False),  # it is not over
        ((0,), 48.0, True),
        ((0,), 48.9, True),  # it could not be taken yet
        ((0,), 49.1, False),
        ((0, 1), 48.0, False),
        ((1,), 48.0, False),  # the first one was never taken, and the second stood for it
    ],
)
def test_a_release_waits_for_its_last_look_for_a_while(
    place: Place, looks: tuple[int, ...], hours: float, expected: bool
) -> None:
    assert place.watch._awaits(attempt(looks=looks), hours * 3600, hours) is expected


def test_a_clock_that_goes_back_gives_what_was_known(place: Place) -> None:
    now = place.hour()
    before = place.watch.look(attempt(), now)
    after = place.watch.look(attempt(), now - timedelta(days=3))
    assert after.judgement == before.judgement


def test_nothing_yet(place: Place) -> None:
    place.hour()
    assert place.watch.look(attempt(since=None), BEGIN) is None
    assert place.watch.look(attempt(), BEGIN) is None


def test_a_log_that_is_away_says_so(place: Place) -> None:
    with pytest.raises(OutsideError):
        place.watch.look(attempt(), BEGIN + timedelta(hours=1))
