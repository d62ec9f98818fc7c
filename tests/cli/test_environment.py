"""A dependency that changes, end to end: snapshots, the environment gate, environments, and the explanation of a failure.

The champion's code uses `shoplib` 1.0. Version 2.0 halves what it gives, 3.0 moves it by next to nothing. Each stands in a
virtual environment of its own that otherwise sees the packages of these tests.
"""

from __future__ import annotations

import json
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.environment.build import find_uv
from tests.project import CONFIG, MODEL, TRAIN, document, make_project, set_parameters, typed
from tests.wheels import make_wheel

SCALES = {"1.0": "x", "2.0": "x * 0.5", "3.0": "x + 1e-5"}
SNAPSHOTS = """
snapshots:
  rows: 50
  functions:
    scale: {function: "features:scale", input: x}
    frame: {function: "features:frame", call: table, input: [x]}
"""
FEATURES = """
import shoplib
def scale(x):
    return shoplib.scale(x)
def frame(table):
    return table.assign(twice=2 * shoplib.scale(table["x"]))
"""


def environment(folder: Path, wheel: Path) -> Path:
    """A virtual environment that sees the packages of this one, and one version of shoplib before them."""
    subprocess.run([find_uv(), "venv", "-q", "--no-project", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([find_uv(), "pip", "install", "-q", "--no-deps", "--python", str(python), str(wheel)], check=True)
    place = next((folder / "lib").glob("python*/site-packages"))
    (place / "others.pth").write_text(site.getsitepackages()[0] + "\n")
    return python


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose champion was made with shoplib 1.0, with environments of all three versions beside it."""
    folder = make_project(tmp_path_factory.mktemp("shop") / "project")
    for version, code in SCALES.items():
        wheel = make_wheel(folder / "wheels", "shoplib", version, code=f"def scale(x):\n    return {code}")
        environment(folder / f"env{version[0]}", wheel)
    (folder / "features.py").write_text(FEATURES)
    (folder / "model.py").write_text(
        MODEL.replace("import mlflow\n", "import mlflow, shoplib\n", 1).replace(
            '(model_input["x"].to_numpy()', '(shoplib.scale(model_input["x"].to_numpy())'
        )
    )
    (folder / "train.py").write_text(TRAIN)
    text = CONFIG.format(store=".holdfast").replace("model: cut", "model: {name: cut, python: env1/bin/python}")
    (folder / "holdfast.yaml").write_text(text.replace('"python train.py"', '"env1/bin/python train.py"') + SNAPSHOTS)
    typed(folder, "run")
    typed(folder, "release", "promote")
    return folder


@pytest.fixture
def project(shop: Path, tmp_path: Path) -> Path:
    """A copy of the shop; its environments are shared."""
    folder = tmp_path / "project"
    shutil.copytree(shop, folder, ignore=shutil.ignore_patterns("env?"), symlinks=True)
    for number in "123":
        (folder / f"env{number}").symlink_to(shop / f"env{number}")
    return folder


def test_the_snapshot_holds_in_its_own_environment_and_not_in_another(project: Path) -> None:
    own = document(project, "snapshot", "check")
    assert own["verdict"] == "pass"
    assert [check["name"] for check in own["checks"]] == ["snapshot.scale", "snapshot.frame"]
    other = document(project, "snapshot", "check", "--python", "env2", status=1)
    scale = other["checks"][0]
    assert scale["reason_code"] == "snapshot_differs"
    assert scale["details"]["affected"]["inputs"] == 2100 + 900  # every different x of the table
    assert scale["details"]["affected"]["changed"] >= 2999
    example = scale["details"]["examples"][0]
    assert float(example["before"]) == pytest.approx(2 * float(example["after"]), rel=1e-4)


def test_a_snapshot_is_replaced_only_by_a_command_that_shows_what_it_accepts(project: Path) -> None:
    refused = typed(project, "snapshot", "record", "--python", "env2", status=1)
    assert "→" in refused.stdout
    assert "--accept" in refused.stderr
    document(project, "snapshot", "check")  # still the champion's
    accepted = document(project, "snapshot", "record", "--accept", "--python", "env2")
    assert accepted["accepted"]["verdict"] == "fail"
    assert document(project, "snapshot", "check", "--python", "env2")["verdict"] == "pass"
    assert document(project, "snapshot", "check", status=1)["verdict"] == "fail"


def test_the_champion_in_its_own_environment(project: Path) -> None:
    found = document(project, "gate", "--environment")
    assert found["verdict"] == "pass"
    assert found["checks"][0]["message"].startswith("none of 900 predictions moved")


def test_a_change_that_costs_stops_and_writes_no_ledger(project: Path) -> None:
    before = sorted((project / ".holdfast" / "ledger").rglob("*.json"))
    found = document(project, "gate", "--environment", "--python", "env2", status=1)
    checks = {check["name"]: check for check in found["checks"]}
    assert checks["environment.predictions"]["reason_code"] == "changed_and_costs"
    regression = checks["accuracy.regression"]
    assert regression["high"] < -0.02
    assert regression["details"]["before"] == pytest.approx(1.0, abs=0.02)
    assert regression["details"]["examples"]
    assert "shoplib 1.0 → 2.0" in found["notices"][0]
    assert sorted((project / ".holdfast" / "ledger").rglob("*.json")) == before


def test_a_change_that_does_not_cost_is_a_notice_or_a_failure_as_the_project_says(project: Path) -> None:
    (check, *_) = document(project, "snapshot", "check", "--python", "env3", status=1)["checks"]
    assert check["verdict"] == "fail"
    found = document(project, "gate", "--environment", "--python", "env3")
    assert found["verdict"] == "pass"
    if found["checks"][0]["details"].get("moved"):
        file = project / "holdfast.yaml"
        file.write_text(file.read_text().replace("gates:\n", "gates:\n  environment: {on_change: fail}\n"))
        assert document(project, "gate", "--environment", "--python", "env3", status=1)["verdict"] == "fail"


def test_what_differs_between_environments(project: Path) -> None:
    changes = document(project, "env", "diff", "champion", "env2")["changes"]
    assert [(c["package"], c["old"], c["new"]) for c in changes] == [("shoplib", "1.0", "2.0")]
    assert "the project imports it" in changes[0]["why"]
    assert document(project, "env", "diff", "champion", "running")["changes"] == []
    (project / "requirements.txt").write_text("shoplib==2.0\n")
    locked = document(project, "env", "diff", "requirements.txt", "env2")["changes"]
    assert "shoplib" not in {change["package"] for change in locked}


@pytest.mark.parametrize(
    ("words", "status", "verdict"),
    [
        ((), 0, "pass"),
        (("--python", "env2"), 0, "pass"),
        (("--strict",), 0, "pass"),
        (("--strict", "--python", "env2"), 1, "fail"),
        (("1", "--strict"), 0, "pass"),
        (("9",), 2, "error"),
        (("nobody",), 2, "error"),
    ],
)
def test_the_serving_side_guard(project: Path, words: tuple[str, ...], status: int, verdict: str) -> None:
    found = document(project, "env", "check", *words, status=status)
    assert found["verdict"] == verdict
    if words == ("--python", "env2"):
        assert any("shoplib 1.0 → 2.0" in check["message"] for check in found["checks"])


def test_a_failure_is_explained_by_what_alone_brings_it(project: Path) -> None:
    """Parameters and seed both changed; training with each alone shows that the parameters did it."""
    set_parameters(project, "mode: bad")
    file = project / "holdfast.yaml"
    file.write_text(file.read_text().replace("  timeout: 2m\n", "  timeout: 2m\n  seed: 5\n"))
    typed(project, "run", status=1)
    found = document(project, "report", status=1)
    alone = {factor["factor"]: factor["alone"] for factor in found["explanation"]}
    assert alone == {"parameters": "fail", "seed": "pass"}
    assert any("mode: good → bad" in notice and "brings the failure" in notice for notice in found["notices"])


def test_one_change_needs_no_run_to_be_the_reason(project: Path) -> None:
    set_parameters(project, "mode: bad")
    typed(project, "run", status=1)
    (factor,) = document(project, "report", status=1)["explanation"]
    assert factor["factor"] == "parameters"
    assert factor["alone"] is None
    assert "all that changed" in factor["why"]


def test_without_a_champion_there_is_nothing_to_score(fresh: Path) -> None:
    assert typed(fresh, "gate", "--environment", status=2).stderr.count("\n") == 1
    assert "no champion yet" in document(fresh, "gate", "--environment", status=2)["error"]["message"]


FUNCTIONS = """
import random, time
def prints(x):
    print("hello from a function")
    return x
def raises(x):
    if x > 0.5: raise ValueError("too much")
    return x
def hangs(x):
    if x > 0.5: time.sleep(60)
    return x
def chance(x):
    return random.random()
def thing(x):
    return object()
"""


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("prints", 0, ""),
        ("raises", 0, ""),
        ("hangs", 4, "did not finish within 2 s at the input 0."),
        ("chance", 1, "gave two answers for one input"),
        ("thing", 2, "gives a object, which cannot be compared"),
        ("missing", 2, "has no missing"),
    ],
)
def test_functions_of_every_kind(fresh: Path, name: str, status: int, said: str) -> None:
    (fresh / "odd.py").write_text(FUNCTIONS)
    declared = f'\nsnapshots:\n  timeout: 2s\n  functions:\n    it: {{function: "odd:{name}", input: x}}\n'
    file = fresh / "holdfast.yaml"
    file.write_text(file.read_text() + declared)
    done = typed(fresh, "snapshot", "record", status=status)
    assert said in done.stderr
    assert "hello from" not in done.stdout
    if status:
        assert not (fresh / ".holdfast" / "snapshots").exists()
    elif name == "raises":
        assert document(fresh, "snapshot", "check")["verdict"] == "pass"


def test_a_snapshot_of_another_schema_is_one_sentence(project: Path) -> None:
    from holdfast.store import canonical_json, open_store

    store = open_store(project / ".holdfast")
    digest = store.put_object(canonical_json({"schema": 99}))
    found = document(project, "snapshot", "check", "--against", digest, status=2)
    assert "has schema 99, this Holdfast reads schema 1" in found["error"]["message"]
    missing = document(project, "snapshot", "check", "--against", "sha256:" + "0" * 64, status=4)
    assert "has lost" in missing["error"]["message"]


def test_bisect_by_a_command_over_lock_files(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        for version in ("1.0", "2.0"):
            make_wheel(project / "wheels", name, version)
    monkeypatch.setenv("UV_FIND_LINKS", str(project / "wheels"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    for file, version in (("good.txt", "1.0"), ("bad.txt", "2.0")):
        (project / file).write_text("".join(f"{name}=={version}\n" for name in ("a", "b", "c", "shoplib")))
    (project / "check.py").write_text("import shoplib, sys\nsys.exit(shoplib.scale(1.0) != 1.0)\n")
    words = ("bisect", "--good", "good.txt", "--bad", "bad.txt", "--check", "python check.py")
    found = document(project, *words)
    assert [(c["package"], c["old"], c["new"]) for c in found["culprits"]] == [("shoplib", "1.0", "2.0")]
    assert found["pins"] == ["shoplib==1.0"]
    assert found["environments"] <= 4
    assert document(project, *words)["environments"] == 0  # all is remembered
    same = document(
        project, "bisect", "--good", "good.txt", "--bad", "good.txt", "--check", "python check.py", status=2
    )
    assert "the same packages" in same["error"]["message"]


def test_the_json_of_env_show_is_a_fingerprint_that_diff_reads(project: Path) -> None:
    (project / "there.json").write_text(json.dumps(document(project, "env", "show", "--python", "env2")))
    changes = document(project, "env", "diff", "champion", "there.json")["changes"]
    assert [change["package"] for change in changes] == ["shoplib"]


def test_a_snapshot_that_differs_says_whether_code_or_environment_did_it(project: Path) -> None:
    other = document(project, "snapshot", "check", "--python", "env2", status=1)
    (factor,) = other["explanation"]
    assert factor["factor"] == "environment"
    assert "bisect --check snapshot" in factor["why"]
    code = project / "features.py"
    code.write_text(code.read_text().replace("return shoplib.scale(x)", "return shoplib.scale(x) + 1"))
    file = project / "holdfast.yaml"
    file.write_text(
        file.read_text().replace("inputs: [train.py, model.py]", "inputs: [train.py, model.py, features.py]")
    )
    changed = document(project, "snapshot", "check", status=1)
    assert [factor["factor"] for factor in changed["explanation"]] == ["code"]
    both = document(project, "snapshot", "check", "--python", "env2", status=1)
    assert {factor["factor"] for factor in both["explanation"]} == {"code", "environment"}
    assert all(factor["alone"] is None and factor["why"] for factor in both["explanation"])  # nothing was committed


def test_the_environment_gate_explains_itself(project: Path) -> None:
    (factor,) = document(project, "gate", "--environment", "--python", "env2", status=1)["explanation"]
    assert (factor["factor"], factor["change"]) == ("environment", "shoplib 1.0 → 2.0")
