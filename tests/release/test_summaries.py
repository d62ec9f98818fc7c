"""Evidence for a controller from what replicas flush."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from holdfast.config.schema import ReleaseConfig
from holdfast.errors import OutsideError
from holdfast.evidence.closed import closed_sums
from holdfast.evidence.log import FileLog, take
from holdfast.release.attempt import Attempt, Status
from holdfast.release.canary.judgement import Decision, Judgement
from holdfast.release.canary.planning import canary_plan
from holdfast.release.controller import Sighting
from holdfast.release.routing import Routing
from holdfast.release.sources import new_step, ours, outcomes_of
from holdfast.release.summaries import SummaryWatch, step_key
from holdfast.release.watch import LogWatch, withheld
from holdfast.store import open_store
from holdfast.verdict import Report
from tests.release.steered import REPORT, SteeredWorld
from tests.release.test_watch import BEGIN, PLAN, ROUTING, attempt
from tests.traffic import write_traffic

CLOSED = closed_sums
STEPS = canary_plan(
    ReleaseConfig.model_validate(
        {
            "canary": {"steps": [{"share": 0.2, "hours": 1}, {"share": 0.4}], "max_hours": 48, "unit_window": "6h"},
            "guardrails": {"click": {"max_drop": 0.03, "absent": "zero", "delay": "1m"}},
        }
    )
)


class Place:
    """Replicas that flush what the log has of their requests: each request is of the one that its id's hash says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.hours = folder, 0
        self.store = open_store(folder / "store")
        self.log = FileLog(self.folder / "predictions", self.folder / "outcomes")
        self.watch = self.new()

    def new(self) -> SummaryWatch:
        """As another process would begin."""
        return SummaryWatch(self.log, self.store, "ranker")

    def hour(self, clicks: tuple[float, float] = (0.2, 0.2), routing: Routing = ROUTING) -> datetime:
        begin = BEGIN + timedelta(hours=self.hours)
        self.hours += 1
        write_traffic(self.folder, begin, 3590, 3_000, 1_500, routing=routing, clicks=clicks, seed=self.hours)
        return begin + timedelta(hours=1, minutes=2)

    def flush(self, now: datetime, of: Attempt, names: str = "ab", *, every: str = "ab") -> None:
        """The replicas `names` of `every` flush what the log says of them up to `now`."""
        taken = take(self.log, None, outcomes_of(of.plan))
        rows = ours(taken.rows, of)
        for name in names:
            number = every.index(name)
            step = new_step(of)
            mine = {k: marks.id % np.uint64(len(every)) == number for k, marks in taken.outcomes.by_name.items()}
            step.feed(rows.take(rows.id % np.uint64(len(every)) == number), taken.outcomes.take(mine))
            step.block(0, 1, int((now - BEGIN).total_seconds()))
            self.store.put(self.key(of, name), step.summary().to_bytes())

    def key(self, of: Attempt, name: str) -> str:
        return f"{step_key('ranker', of)}/{name}"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def alike(ours: Judgement, theirs: Judgement) -> None:
    assert ours.decision is theirs.decision
    for one, other in zip(ours.checks, theirs.checks, strict=True):
        assert one.verdict is other.verdict and one.n == other.n
        for part in ("estimate", "low", "high"):
            assert getattr(one, part) == pytest.approx(getattr(other, part))


@pytest.mark.parametrize("clicks", [(0.2, 0.2), (0.3, 0.1)])
def test_summaries_are_judged_as_the_log_is(place: Place, clicks: tuple[float, float]) -> None:
    now = place.hour(clicks)
    place.flush(now, attempt())
    found = place.watch.look(attempt(), now)
    assert found is not None and not found.complaints
    logged = LogWatch(place.log, place.store, "ranker").look(attempt(), now)
    assert logged is not None
    if (
        found.judgement.decision is Decision.CONTINUE
    ):  # harm is shown by the log earlier, at a look that nobody took here
        alike(found.judgement, logged.judgement)
    assert found.judgement.decision is logged.judgement.decision


def test_harm_is_stored_with_its_course(place: Place) -> None:
    for clicks in ((0.2, 0.2), (0.3, 0.1)):
        now = place.hour(clicks)
        place.flush(now, attempt())
        found = place.watch.look(attempt(), now)
    assert found is not None and found.judgement.decision is Decision.ROLL_BACK
    report = Report.from_json(json.loads(place.store.get_object(found.report or "")))
    check = next(check for check in report.checks if check.name == "outcomes.click")
    assert len(check.series) == 2


@pytest.mark.parametrize("judged_from", ["summaries", "log"])
def test_the_course_outlives_the_controller(place: Place, judged_from: str) -> None:
    """Of summaries nobody could tell it again; of the log its earlier looks are not drawn twice."""
    for hour in range(4):
        now = place.hour((0.5, 0.0) if hour == 3 else (0.2, 0.2))
        if judged_from == "summaries":
            place.flush(now, attempt())
        if hour in (1, 3):
            place.watch = place.new()
        found = place.watch.look(attempt(), now)
    assert found is not None and found.judgement.decision is Decision.ROLL_BACK
    report = Report.from_json(json.loads(place.store.get_object(found.report or "")))
    hours = [point["hours"] for check in report.checks if check.name == "outcomes.click" for point in check.series]
    assert hours == sorted(set(hours))
    whole = {int(hour) for hour in hours}
    assert whole >= ({2, 3, 4} if judged_from == "summaries" else {0, 1, 2, 3})


@pytest.mark.parametrize("damaged", [b"", b"[]", b"{}", b'{"outcomes.click": 3}', b"\xff"])
def test_a_course_that_cannot_be_read_begins_anew(place: Place, damaged: bytes) -> None:
    now = place.hour()
    place.flush(now, attempt())
    place.store.put("live/ranker/r1.course", damaged)
    assert place.watch.look(attempt(), now) is not None
    later = now + timedelta(minutes=2)
    place.flush(later, attempt())
    assert place.watch.look(attempt(), later) is not None
    kept = json.loads(place.store.get("live/ranker/r1.course") or b"")
    assert len(kept["outcomes.click"]) == 2


def test_a_planned_look_reads_the_log(place: Place) -> None:
    now = BEGIN
    for _ in range(25):
        now = place.hour()
    place.flush(now, attempt())
    found = place.watch.look(attempt(), now)
    assert found is not None and found.look == 0 and not found.complaints
    assert any(check.name == "outcomes.click.promotion" for check in found.judgement.checks)


def test_a_planned_look_waits_for_a_replica_that_stands_still(place: Place) -> None:
    now = BEGIN
    for _ in range(25):
        now = place.hour()
    place.flush(now - timedelta(seconds=60), attempt(), "b")
    place.flush(now, attempt(), "a")
    found = place.watch.look(attempt(), now)
    assert found is not None and found.look is None and found.complaints
    place.flush(now + timedelta(seconds=1), attempt())
    later = place.watch.look(attempt(), now + timedelta(seconds=1))
    assert later is not None and later.look == 0


def test_a_look_stays_open_where_the_log_has_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica reads back what it had, or two replicas of one name write over each other's summary."""
    now = BEGIN
    for _ in range(25):
        now = place.hour()
    place.flush(now, attempt(), "a")
    reads: list[object] = []
    monkeypatch.setattr(
        "holdfast.release.watch.closed_sums", lambda *given, **named: reads.append(1) or CLOSED(*given, **named)
    )
    for later in range(3):
        found = place.watch.look(attempt(), now + timedelta(seconds=later))
        assert found is not None and found.look is None and found.report is None
        assert "a name of its own" in found.complaints[0]
        assert found.judgement.decision is Decision.CONTINUE
    assert len(reads) == 1, "the log is read once while nothing has changed"
    place.flush(now + timedelta(seconds=9), attempt())
    taken = place.watch.look(attempt(), now + timedelta(seconds=9))
    assert taken is not None and taken.look == 0 and not taken.complaints
    at_once = place.new().look(attempt(), now + timedelta(seconds=9))
    assert at_once is not None and at_once.judgement == taken.judgement, "it is the look that was planned"


def test_a_later_look_takes_the_place_of_one_that_was_never_whole(place: Place) -> None:
    now = BEGIN
    for _ in range(48):
        now = place.hour()
    place.flush(now, attempt(), "a")
    open_one = place.watch.look(attempt(), BEGIN + timedelta(hours=47))
    assert open_one is not None and open_one.look is None
    place.flush(now, attempt())
    found = place.watch.look(attempt(), now)
    assert found is not None and found.look == 1


def test_before_the_first_summary_nothing_is_known_and_then_the_step_is_its(place: Place) -> None:
    place.hour()
    for seconds in (1, 10, 30):
        assert place.watch.look(attempt(), BEGIN + timedelta(seconds=seconds)) is None
    now = BEGIN + timedelta(seconds=40)
    place.flush(now, attempt())
    assert place.watch.look(attempt(), now) is not None
    assert place.store.get("live/ranker/r1-7.source") == b"summaries"


def test_without_summaries_the_log_is_used_to_the_end_of_the_step(place: Place) -> None:
    now = place.hour((0.3, 0.1))
    found = place.watch.look(attempt(), now)
    assert found is not None and found.judgement.decision is Decision.ROLL_BACK and not found.complaints
    place.flush(now, attempt(), "a")  # a part of what the log has
    again = place.new().look(attempt(), now)
    assert again is not None
    alike(again.judgement, found.judgement)
    assert place.store.get("live/ranker/r1-7.source") == b"log"


def test_a_step_that_is_judged_from_summaries_never_changes_over(place: Place) -> None:
    now = place.hour((0.3, 0.1))
    place.flush(now, attempt(), "a", every="a")
    assert place.watch.look(attempt(), now) is not None
    place.store.delete(place.key(attempt(), "a"))
    later = now + timedelta(seconds=5)
    found = place.watch.look(attempt(), later)
    assert found is not None and found.complaints == ("the summary of replica a is lost; nothing is promoted on it.",)
    with pytest.raises(OutsideError, match="no summary of this step can be used"):
        place.new().look(attempt(), later)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("damaged", "replica b is damaged"),
        ("other", "replica b is of another step or plan"),
        ("still", "replica b stands still for 60 s"),
        ("ahead", "replica b is 3,600 s ahead of this clock"),
    ],
)
@pytest.mark.parametrize(("clicks", "decision"), [((0.2, 0.2), Decision.CONTINUE), ((0.3, 0.1), Decision.ROLL_BACK)])
def test_what_is_wrong_is_said_harm_is_seen_nothing_is_promoted(
    place: Place, what: str, said: str, clicks: tuple[float, float], decision: Decision
) -> None:
    now = place.hour(clicks)
    of = replace(attempt(), plan=STEPS)
    if what == "still":
        place.flush(now - timedelta(seconds=60), of, "b")
        place.flush(now, of, "a")
    elif what == "ahead":
        place.flush(now, of, "a")
        place.flush(now + timedelta(hours=1), of, "b")
    else:
        place.flush(now, of)
        key = place.key(of, "b")
        content = place.store.get(key) or b""
        other = new_step(replace(of, plan=PLAN, since="2026-03-01T00:00:01Z")).summary().to_bytes()
        place.store.put(key, other if what == "other" else content[:-3])
    found = place.watch.look(of, now)
    assert found is not None and said in found.complaints[0]
    assert found.judgement.decision is decision
    if decision is Decision.CONTINUE:
        assert "nothing is promoted" in found.judgement.reason
        place.flush(now + timedelta(seconds=5), of)
        whole = place.watch.look(of, now + timedelta(seconds=5))
        assert whole is not None and not whole.complaints
        assert whole.judgement.decision is Decision.ADVANCE


def test_of_a_replica_that_cannot_be_read_the_last_that_could_counts(place: Place) -> None:
    now = place.hour()
    place.flush(now, attempt())
    whole = place.watch.look(attempt(), now)
    place.store.put(place.key(attempt(), "b"), b"damaged")
    later = place.watch.look(attempt(), now + timedelta(seconds=3))
    assert whole is not None and later is not None and later.complaints
    alike(later.judgement, whole.judgement)


def test_a_replica_that_is_gone_is_forgiven_and_counts(place: Place) -> None:
    now = place.hour()
    place.flush(now - timedelta(seconds=301), attempt(), "b")
    place.flush(now, attempt(), "a")
    found = place.watch.look(attempt(), now)
    assert found is not None and not found.complaints
    place.flush(now - timedelta(seconds=301), attempt(), "a")
    found = place.new().look(attempt(), now)
    assert found is not None and len(found.complaints) == 2, "all of them cannot be gone"


def test_a_step_that_begins_anew_counts_nothing_of_the_one_before(place: Place) -> None:
    now = place.hour((0.3, 0.1))
    place.flush(now, attempt())
    anew = attempt(shifted=9, since=attempt().since)
    assert place.watch.look(anew, BEGIN + timedelta(seconds=20)) is None
    place.flush(now, anew)
    found = place.watch.look(anew, now)
    assert found is not None
    assert next(check for check in found.judgement.checks if check.name == "outcomes.click").n == 0


def test_a_clock_that_goes_back_gives_what_was_known(place: Place) -> None:
    now = place.hour()
    place.flush(now, attempt())
    before = place.watch.look(attempt(), now)
    after = place.watch.look(attempt(), now - timedelta(hours=1))
    assert before is not None and after is not None and after.judgement == before.judgement


@pytest.mark.parametrize("decision", list(Decision))
def test_only_good_news_is_withheld(decision: Decision) -> None:
    judgement = Judgement(decision, "why.")
    assert withheld(judgement, ()) is judgement
    held = withheld(judgement, ("a is damaged.",))
    if decision in (Decision.ADVANCE, Decision.PROMOTE):
        assert held.decision is Decision.CONTINUE and "a is damaged." in held.reason
    else:
        assert held is judgement


def test_a_controller_passes_complaints_on() -> None:
    world = SteeredWorld()
    world.canary()
    world.tick()
    assert world.state.living is not None
    judgement = Judgement(Decision.ROLL_BACK, "harm.", "outcomes.click")
    sighting = Sighting(judgement, None, REPORT, ("the summary of replica a is damaged; nothing is promoted on it.",))
    controller = world.controller()
    controller.watch = Fixed(sighting)
    ticked = controller.tick()
    assert sighting.complaints[0] in ticked.complaints
    assert world.state.attempt is not None and world.state.attempt.status is Status.ROLLED_BACK


class Fixed:
    def __init__(self, sighting: Sighting) -> None:
        self.sighting = sighting

    def look(self, attempt: Attempt, now: datetime) -> Sighting:
        del attempt, now
        return self.sighting
