"""The road on a small real project: real MLflow, real training processes, the command line as typed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.registry import open_registry
from tests.cli.conftest import Type
from tests.project import PROGRAM, document, make_project, search_path, set_parameters, table

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own


def events(folder: Path) -> list[dict]:
    paths = sorted((folder / ".holdfast" / "ledger" / "release" / "cut").glob("*.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_a_dry_run_says_what_would_run_and_changes_nothing(fresh: Path, type_: Type) -> None:
    result = type_("run", "--dry-run")
    assert [line.split()[1] for line in result.output.splitlines()] == [
        "data",
        "holdout",
        "train",
        "gate",
        "register",
        "stage",
    ]
    assert not (fresh / ".holdfast" / "ledger").exists()
    assert not (fresh / "mlflow.db").exists()


def test_the_first_release_is_on_record(released: Path) -> None:
    found = events(released)
    assert [event["type"] for event in found] == ["judged", "registered", "staged", "promoted"]
    assert found[-1]["payload"]["first_release"] is True
    assert found[-1]["evidence"]["report"].startswith("sha256:")
    lineage = found[1]["payload"]["lineage"]
    assert {"data", "holdout", "environment", "profile", "seed", "parameters"} <= set(lineage)


def test_what_has_not_changed_is_skipped(project: Path, type_: Type) -> None:
    type_("run")  # the champion's profile is new to the data stage
    before = events(project)
    done = json.loads(type_("run", "--json").stdout)
    assert [stage["action"] for stage in done["stages"]] == ["skip"] * 6
    assert events(project) == before


def test_a_changed_script_trains_again_and_a_forced_walk_runs_all(project: Path, type_: Type) -> None:
    with (project / "train.py").open("a") as file:
        file.write("\n# changed\n")
    plan = json.loads(type_("run", "--dry-run", "--json").stdout)
    actions = {stage["stage"]: stage["action"] for stage in plan["stages"]}
    assert (actions["holdout"], actions["train"], actions["gate"]) == ("run", "run", "run") or actions["train"] == "run"
    forced = json.loads(type_("run", "--dry-run", "--force", "--json").stdout)
    assert forced["stages"][0]["action"] == "run"
    assert forced["verdict"] is None


def test_a_worse_candidate_is_stopped_and_cannot_be_promoted(project: Path, type_: Type) -> None:
    set_parameters(project, "mode: bad")
    done = document(project, "run", status=1)
    gate = done["stages"][3]
    assert gate["verdict"] == "fail"
    names = {check["name"]: check["verdict"] for check in gate["report"]["checks"]}
    assert names == {"accuracy.min": "fail", "accuracy.regression": "fail"}
    type_("register")
    type_("stage")
    refused = type_("release", "promote", status=1)
    assert "fail, not pass" in refused.output
    assert events(project)[-1]["type"] == "staged"
    overridden = type_("release", "promote", "--override", "the shop asked for it")
    assert "version 2 is the champion" in overridden.output
    assert events(project)[-1]["payload"]["override"] == "the shop asked for it"
    back = type_("release", "rollback", "--reason", "it was worse")
    assert "version 1 is the champion again" in back.output
    aliases = open_registry("sqlite:///mlflow.db", project).aliases("cut")
    assert aliases["champion"] == "1"
    assert "rolled back from version 2 to version 1: it was worse" in type_("ledger", "show").output
    type_("ledger", "verify")


def test_a_leaking_candidate_is_stopped_with_its_rows(project: Path, type_: Type) -> None:
    set_parameters(project, "mode: leak")
    result = type_("run", "--json", status=1)
    train = json.loads(result.stdout)["stages"][2]
    leak = next(check for check in train["report"]["checks"] if check["name"] == "leak.key")
    assert (leak["verdict"], leak["n"], leak["details"]["leaked"]) == ("fail", 900, 900)
    assert leak["details"]["rows"]
    assert type_("run", "--dry-run").output.splitlines()[2].startswith("▸ train"), "a failed stage is not remembered"


def test_a_training_that_breaks_is_one_sentence(project: Path, type_: Type) -> None:
    set_parameters(project, "mode: crash")
    result = type_("run", status=4)
    assert "the training broke" in result.output
    assert events(project)[-1]["type"] == "promoted"


def test_ctrl_c_while_training_leaves_everything_consistent(project: Path, type_: Type) -> None:
    set_parameters(project, "mode: sleep")
    process = subprocess.Popen(
        [PROGRAM, "run"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": search_path()},
        start_new_session=True,
    )
    deadline = time.monotonic() + 90
    while "sleeping" not in (process.stdout.readline() if process.stdout else ""):
        assert time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    assert events(project)[-1]["type"] == "promoted"
    assert "▸ train" in type_("run", "--dry-run").output


def test_the_champion_cannot_be_its_own_candidate(project: Path, type_: Type) -> None:
    result = type_("gate", "--candidate", "models:/cut@champion", status=2)
    assert "is the champion itself (version 1)" in result.output
    assert events(project)[-1]["type"] == "promoted"


def prediction_file(project: Path, values: np.ndarray, rows: slice = slice(None)) -> str:
    holdout = next((project / ".holdfast" / "cache" / "holdouts").glob("*.parquet"))
    ids = pq.read_table(holdout).column("id").to_numpy()[rows]
    pq.write_table(pa.table({"id": ids, "prediction": values[rows]}), project / "predictions.parquet")
    return "predictions.parquet"


def truth(project: Path) -> np.ndarray:
    holdout = next((project / ".holdfast" / "cache" / "holdouts").glob("*.parquet"))
    return pq.read_table(holdout).column("y").to_numpy()


def test_a_file_of_predictions_is_judged(project: Path, type_: Type) -> None:
    labels = truth(project)
    report = json.loads(type_("gate", "--candidate", prediction_file(project, labels), "--json").stdout)
    assert report["verdict"] == "pass"
    assert report["champion"] == "version 1"
    assert type_("register", "--candidate", "predictions.parquet", status=2).output.count("cannot be registered") == 1


@pytest.mark.parametrize("problem", ["short", "nan"])
def test_bad_predictions_are_one_sentence(project: Path, type_: Type, problem: str) -> None:
    values = truth(project).astype(float)
    if problem == "nan":
        values[7] = np.nan
    name = prediction_file(project, values, slice(None, -5) if problem == "short" else slice(None))
    before = events(project)
    result = type_("gate", "--candidate", name, status=None)
    assert result.exit_code in (2, 4)
    assert events(project) == before


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise RuntimeError('no weights')", "no weights"),
        ("import time; time.sleep(60)", "did not finish predicting within 8 s"),
    ],
)
def test_a_model_that_raises_or_hangs(project: Path, type_: Type, code: str, words: str) -> None:
    (project / "broken.py").write_text(f"def predict(rows):\n    {code}\n")
    file = project / "holdfast.yaml"
    file.write_text(file.read_text().replace("model: cut", "model: {name: cut, timeout: 8s}"))
    result = type_("gate", "--candidate", "broken:predict", status=4)
    assert words in result.output
    assert events(project)[-1]["type"] == "promoted"


def test_a_flipped_byte_in_the_holdout_is_seen(project: Path, type_: Type) -> None:
    pointer = json.loads((project / ".holdfast" / "holdouts" / "v1.json").read_text())
    name = pointer["holdout"].removeprefix("sha256:")
    stored = project / ".holdfast" / "objects" / "sha256" / name[:2] / name
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(bytes(data))
    shutil.rmtree(project / ".holdfast" / "cache")
    result = type_("holdout", "check", status=4)
    assert "the holdout v1 is not what was frozen" in result.output


def test_a_tampered_ledger_is_seen(project: Path, type_: Type) -> None:
    event = project / ".holdfast" / "ledger" / "release" / "cut" / "00000000.json"
    event.write_text(event.read_text().replace('"verdict":"pass"', '"verdict":"fail"'))
    result = type_("ledger", "verify", status=1)
    assert "event 1 does not follow the event before it" in result.output


def test_a_cut_tail_is_seen_against_the_registry(project: Path, type_: Type) -> None:
    (project / ".holdfast" / "ledger" / "release" / "cut" / "00000003.json").unlink()
    assert "tail was cut" in type_("ledger", "verify", status=1).output


def test_an_empty_ledger_beside_a_champion_is_not_a_first_release(project: Path, type_: Type) -> None:
    shutil.rmtree(project / ".holdfast")
    type_("holdout", "freeze")
    result = type_("gate", "--candidate", "models:/cut/1", status=2)
    assert "holdfast ledger adopt" in result.output
    registry = open_registry("sqlite:///mlflow.db", project)
    registry.set_model_tag("cut", "holdfast.ledger", "")
    assert "adopted version 1" in type_("ledger", "adopt").output
    assert json.loads(type_("release", "status", "--json").stdout)["champion"]["version"] == "1"


def test_there_is_nothing_to_roll_back_to_after_a_first_release(project: Path, type_: Type) -> None:
    assert "nothing to roll back to" in type_("release", "rollback", status=1).output


def test_an_unreachable_registry_is_one_sentence(project: Path, type_: Type) -> None:
    file = project / "holdfast.yaml"
    file.write_text(file.read_text().replace("sqlite:///mlflow.db", "http://127.0.0.1:9"))
    result = type_("release", "reconcile", status=4)
    assert "registry http://127.0.0.1:9" in result.output


def test_a_ci_job_on_an_empty_disk_continues(
    tmp_path: Path, released: Path, monkeypatch: pytest.MonkeyPatch, type_: Type
) -> None:
    """The store elsewhere (here another folder) holds all that stages remember."""
    monkeypatch.setenv("PATH", search_path())
    shared = tmp_path / "bucket"
    shutil.copytree(released / ".holdfast", shared, ignore=shutil.ignore_patterns("cache"))
    folder = make_project(tmp_path / "checkout", store=str(shared))
    shutil.copy(released / "mlflow.db", folder)
    shutil.copy(released / "train.parquet", folder)
    monkeypatch.chdir(folder)
    plan = json.loads(type_("run", "--dry-run", "--json").stdout)
    assert {stage["stage"]: stage["action"] for stage in plan["stages"]}["train"] in ("skip", "run")
    done = json.loads(type_("run", "--json").stdout)
    actions = {stage["stage"]: stage["action"] for stage in done["stages"]}
    assert actions == {
        "data": "run",
        "holdout": "skip",
        "train": "skip",
        "gate": "skip",
        "register": "skip",
        "stage": "skip",
    }


def test_plan_says_what_the_holdout_can_detect(project: Path, type_: Type) -> None:
    rows = json.loads(type_("plan", "--json").stdout)["gates"]
    assert [(row["metric"], row["margin"], row["units"]) for row in rows] == [("accuracy", 0.02, 900)]
    assert 0 < rows[0]["p_pass_if_equal"] <= 1


def test_drift_is_measured_against_the_champion_and_asks_for_a_retraining(project: Path, type_: Type) -> None:
    pq.write_table(table(3000, seed=5), project / "same.parquet")
    pq.write_table(table(3000, seed=6, shift=0.3), project / "moved.parquet")
    type_("drift", "same.parquet")
    calm = json.loads(type_("retrain", "--if-needed", "--json").stdout)
    assert (calm["wanted"], calm["started"]) == (False, None)
    moved = json.loads(type_("drift", "moved.parquet", "--json", status=1).stdout)
    assert any(check["name"] == "x.drift" and check["verdict"] == "fail" for check in moved["checks"])
    wanted = json.loads(type_("retrain", "--if-needed", "--json").stdout)
    assert wanted["wanted"] is True
    assert wanted["started"] is not None
    answers = [
        event["type"]
        for event in json.loads(type_("ledger", "show", "--stream", "retraining/cut", "--json").stdout)["events"]
    ]
    assert answers[-2:] == ["triggered", "started"]
    again = json.loads(type_("retrain", "--if-needed", "--json").stdout)
    assert again["started"] is None
    assert "cooldown" in again["reason"]


def test_a_report_as_files(project: Path, type_: Type) -> None:
    type_("report", "--html", "out/r.html", "--markdown", "r.md", "--junit", "r.xml")
    assert "accuracy.min" in (project / "out" / "r.html").read_text()
    assert "accuracy.min" in (project / "r.md").read_text()
    assert "<testsuite" in (project / "r.xml").read_text()
