"""A canary by commands, as a user types them: real registry, real store, a routing file, logs on disk."""

from __future__ import annotations

import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.evidence.log import take
from holdfast.pipeline.canary import Canary
from holdfast.pipeline.workspace import Workspace
from holdfast.release.attempt import Status
from holdfast.release.routers import FileRouter
from tests.cli.conftest import Type
from tests.project import document, search_path
from tests.traffic import write_traffic

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

RELEASE = """
release:
  router: file:routing.json
  log: {predictions: log/predictions, outcomes: log/outcomes}
  canary: {steps: [{share: 0.2, hours: 1}, {share: 0.5}], min_hours: 24, max_hours: 49, unit: user, unit_window: 6h}
  guardrails:
    click: {max_drop: 0.03, absent: zero, delay: 1s}
    error: {max_rise: 0.02}
    latency_p99_ms: {max_rise: 20}
"""


@pytest.fixture(scope="session")
def staged_once(trained_again: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second version is staged, a canary declared, and the champion's log of thirty hours is there."""
    folder = tmp_path_factory.mktemp("staged") / "project"
    shutil.copytree(trained_again, folder)
    file = folder / "holdfast.yaml"
    file.write_text(file.read_text() + RELEASE)
    write_traffic(folder / "log", datetime.now(UTC) - timedelta(hours=30), 30 * 3600 - 60, 60_000, 12_000)
    return folder


@pytest.fixture
def staged(staged_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(staged_once, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", search_path())
    return folder


def events(folder: Path) -> list[str]:
    paths = sorted((folder / ".holdfast" / "ledger" / "release" / "cut").glob("*.json"))
    return [json.loads(path.read_text())["type"] for path in paths]


def test_a_harmful_canary_from_start_to_explanation(staged: Path, type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "a canary is declared" in type_("release", "promote", status=1).output
    assert "the way back was never tried" in type_("release", "start", status=1).output
    drilled = json.loads(type_("release", "drill", "--json").stdout)
    assert drilled["verdict"] == "pass"
    planned = json.loads(type_("release", "start", "--dry-run", "--json").stdout)
    click = next(found for found in planned["resolution"] if found["guardrail"] == "outcomes.click")
    assert [look["hours"] for look in click["resolves"]] == [24, 48]
    assert click["resolves"][0]["margin"] > click["resolves"][1]["margin"] > 0
    assert not planned["weak"]
    reads: list[object] = []
    monkeypatch.setattr("holdfast.pipeline.canary.take", lambda *log, **how: reads.append(log) or take(*log, **how))
    type_("release", "start")
    assert len(reads) == 1, "the log may be large"
    assert "is pending" in type_("release", "start", status=1).output
    type_("release", "advance")
    routing = FileRouter(staged / "routing.json").read()
    assert (routing.champion, routing.canary, routing.share) == ("1", "2", 0.2)
    time.sleep(1.1)
    write_traffic(
        staged / "log",
        datetime.now(UTC) - timedelta(seconds=0.9),
        0.8,
        8_000,
        6_000,
        routing=routing,
        clicks=(0.2, 0.02),
        seed=1,
    )
    time.sleep(1.5)
    type_("release", "advance")
    assert events(staged)[-3:] == ["returning", "routed", "returned"]
    assert FileRouter(staged / "routing.json").read().canary is None
    status = json.loads(type_("release", "status", "--json").stdout)
    assert status["release"]["status"] == "rolled_back"
    assert status["champion"]["version"] == "1"
    assert status["candidate"] is None
    told = json.loads(type_("release", "explain", "--json").stdout)
    assert told["metric"] == "outcomes.click"
    check = next(check for check in told["report"]["checks"] if check["name"] == "outcomes.click")
    assert check["verdict"] == "fail"
    assert check["high"] < check["threshold"]
    assert check["series"]
    page = staged / "told.html"
    text = type_("release", "explain", "--html", str(page)).output
    assert "rolling back: outcomes.click of the canary differs" in text
    assert "<polyline" in page.read_text()


def test_people_may_pause_resume_abort_and_roll_back(staged: Path, type_: Type) -> None:
    type_("release", "drill")
    type_("release", "start")
    type_("release", "advance")
    type_("release", "pause", "--reason", "a look at the support queue")
    assert json.loads(type_("release", "status", "--json").stdout)["release"]["status"] == "held"
    type_("release", "resume")
    type_("release", "abort", "--reason", "not today")
    assert FileRouter(staged / "routing.json").read().canary is None
    type_("release", "advance")
    assert json.loads(type_("release", "status", "--json").stdout)["candidate"]["version"] == "2"
    type_("release", "start")
    type_("release", "advance")
    type_("release", "promote", "--override", "I answer for it")
    assert FileRouter(staged / "routing.json").read().share == 1.0
    type_("release", "advance")
    status = json.loads(type_("release", "status", "--json").stdout)
    assert (status["champion"]["version"], status["previous"]["version"]) == ("2", "1")
    type_("release", "rollback", "--reason", "shoppers complained")
    assert FileRouter(staged / "routing.json").read().champion == "1"


def test_control_ends_when_the_release_does(staged: Path, type_: Type) -> None:
    type_("release", "drill")
    type_("release", "start")
    type_("release", "abort")
    found = document(staged, "release", "control", "--until-done", "--every", "0.1", status=1)
    assert found["release"]["status"] == "rolled_back"


def test_a_plan_that_cannot_succeed_is_refused_with_what_would_do(staged: Path, type_: Type) -> None:
    file = staged / "holdfast.yaml"
    file.write_text(file.read_text().replace("max_drop: 0.03", "max_drop: 0.0001"))
    type_("release", "drill")
    refused = type_("release", "start", status=1).output
    assert "a candidate as good as the champion would be promoted within 48 h in" in refused
    assert "would make it 80 %" in refused
    assert type_("release", "start", "--dry-run", status=1).output
    type_("release", "start", "--override", "we know")


def test_an_equal_canary_is_promoted_by_evidence_at_the_first_whole_day(staged: Path) -> None:
    """The same code under a clock that the test turns: half an hour a tick, traffic written as it goes."""
    now = datetime.now(UTC)

    def clock() -> datetime:
        return now

    canary = Canary(Workspace.open(staged / "holdfast.yaml", clock=clock))
    assert canary.drill().ok
    canary.start(canary.planned())
    controller = canary.controller()
    for hour in range(60):
        state = controller.tick().state
        assert state is not None
        if state.attempt.status is Status.PROMOTED:
            break
        routing = canary.router.read()
        write_traffic(
            staged / "log",
            now + timedelta(seconds=1),
            1790,
            3_000,
            600,
            routing=routing,
            clicks=(0.2, 0.2),
            seed=100 + hour,
        )
        now += timedelta(minutes=30)
    assert state.attempt.status is Status.PROMOTED
    assert state.champion.version == "2"
    types = events(staged)
    assert types.count("shifted") == 2
    assert canary.router.read().champion == "2"
    assert canary.workspace.registry.aliases("cut")["champion"] == "2"


def test_advance_outlives_one_that_was_killed(staged: Path, type_: Type) -> None:
    """Its lease was never given back; a living controller's is respected."""
    type_("release", "drill")
    type_("release", "start")
    dead = Canary(Workspace.open(staged / "holdfast.yaml")).lease()
    assert dead.hold() is not None
    found = json.loads(type_("release", "advance", "--json").stdout)
    assert found["leader"]
    assert found["release"]["status"] == "running"
