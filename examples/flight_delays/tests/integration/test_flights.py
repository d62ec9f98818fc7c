"""The whole road on all real flights, and what pandas 3 does to the champion without a word."""

from __future__ import annotations

import json

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from .conftest import HOLDFAST, Project

MARGIN = 0.01  # of ROC AUC, in holdfast.yaml
SCORE = """
import json, sys
import pandas as pd
from flight_delays.features import features
from flight_delays.model import Delays
rows = pd.read_parquet(sys.argv[1])
late, ranks = rows["late"] == 1, pd.Series(Delays.load(sys.argv[2]).predict(rows)).rank()
pairs = late.sum() * (~late).sum()
auc = (ranks[late].sum() - late.sum() * (late.sum() + 1) / 2) / pairs
seen = features(rows)
print(json.dumps({"pandas": pd.__version__, "auc": auc, "rows": len(rows), "hours": int(seen["hour"].nunique()),
                  "weekdays": int(seen["weekday"].nunique())}))
"""


def score(project: Project, environment: str) -> dict[str, object]:
    """The champion's features and booster on the holdout, loaded directly; it must end well and say nothing."""
    (holdout,) = project.folder.glob(".holdfast/cache/holdouts/*.parquet")
    (booster,) = project.folder.glob("mlruns/models/*/artifacts/**/booster.txt")
    words = [f"{environment}/bin/python", "-W", "default", "-c", SCORE, str(holdout), str(booster.parent)]
    done = project.run(*words, PYTHONPATH="src")
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


def test_all_flights_go_the_whole_road(champion: Project) -> None:
    assert champion.succeed(HOLDFAST, "release", "status").startswith("champion   version 1 ")
    found = score(champion, ".venv")
    assert str(found["pandas"]).startswith("2.3.")
    assert found["rows"] == 65_499
    assert (found["hours"], found["weekdays"]) == (20, 7)
    assert 0.59 < float(str(found["auc"])) < 0.66


def test_the_holdout_is_later_than_what_was_trained_on(champion: Project) -> None:
    cache = champion.folder / ".holdfast" / "cache"
    (held,) = cache.glob("holdouts/*.parquet")
    times = [
        pq.read_table(path, columns=["departs_at"])["departs_at"] for path in (cache / "training_part.parquet", held)
    ]
    assert pc.max(times[0]).as_py() < pc.min(times[1]).as_py()
    assert sum(len(part) for part in times) == 327_346


def test_the_plan_finds_the_margins_wide_enough(champion: Project) -> None:
    told = champion.succeed(HOLDFAST, "plan")
    assert "roc_auc" in told
    assert "nothing was measured" not in told


def test_pandas_3_takes_the_hour_away_silently(champion: Project) -> None:
    champion.environment("bump", "requirements-bump.lock")
    before, after = score(champion, ".venv"), score(champion, "bump")
    assert str(after["pandas"]).startswith("3.")
    assert after["weekdays"] == 1
    assert after["hours"] == pytest.approx(3, abs=1)
    assert float(str(after["auc"])) < float(str(before["auc"])) - 2 * MARGIN


def test_holdfast_stops_the_pull_request_that_brings_pandas_3(champion: Project) -> None:
    """Each by itself: the snapshot differs, the champion costs; and the bump lock stands there for bisection."""
    champion.environment("bump", "requirements-bump.lock")
    snapshot = champion.run(HOLDFAST, "snapshot", "check", "--python", "bump", "--json")
    assert snapshot.returncode == 1
    checks = {check["name"]: check for check in json.loads(snapshot.stdout)["checks"]}
    assert checks["snapshot.scheduled_hour"]["reason_code"] == "snapshot_differs"
    assert checks["snapshot.scheduled_hour"]["details"]["affected"]["inputs"] > 6_000
    gate = champion.run(HOLDFAST, "gate", "--environment", "--python", "bump", "--json")
    assert gate.returncode == 1
    regression = next(c for c in json.loads(gate.stdout)["checks"] if c["name"] == "roc_auc.regression")
    assert regression["high"] < -2 * MARGIN


@pytest.mark.slow
def test_bisection_names_pandas(champion: Project) -> None:
    done = champion.run(HOLDFAST, "bisect", "--bad", "requirements-bump.lock", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [culprit["package"] for culprit in found["culprits"]] == ["pandas"]
    assert found["environments"] <= 8
    assert "pandas==2.3.3" in found["pins"]
