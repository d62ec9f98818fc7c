"""`holdfast init` writes a project file that loads, and touches nothing that exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from holdfast.config.loader import load_project
from holdfast.errors import UserError
from holdfast.pipeline.init import initialise

TABLES = {
    "accuracy": "a,label\n1,0\n2,1\n",
    "rmse": "a,target\n1,0.5\n2,1.5\n",
    "ndcg@10": "query_id,relevance,x\n1,0,2\n1,1,3\n",
}


@pytest.mark.parametrize("metric", list(TABLES))
def test_what_is_written_loads(tmp_path: Path, metric: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text(TABLES[metric])
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train.py").write_text("")
    written = initialise(tmp_path)
    assert [path.as_posix() for path in written] == [
        "holdfast.yaml",
        ".github/workflows/holdfast.yml",
        "tests/test_holdfast_project.py",
    ]
    config = load_project(tmp_path / "holdfast.yaml", {}).config
    assert (config.data.train, config.train.run) == ("data/rows.csv", "python scripts/train.py")
    assert list(config.gates.metrics) == [metric]
    assert config.data.label in TABLES[metric].split("\n")[0].split(",")


def test_an_empty_folder_gets_a_file_that_loads(tmp_path: Path) -> None:
    initialise(tmp_path)
    assert load_project(tmp_path / "holdfast.yaml", {}).config.data.train == "data/train.parquet"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "holdfast.yaml").write_text("mine")
    assert Path("holdfast.yaml") not in initialise(tmp_path)
    assert (tmp_path / "holdfast.yaml").read_text() == "mine"
    assert initialise(tmp_path) == []


def test_the_workflow_pins_its_actions_and_runs_no_input(tmp_path: Path) -> None:
    initialise(tmp_path)
    text = (tmp_path / ".github" / "workflows" / "holdfast.yml").read_text()
    steps = YAML(typ="safe").load(text)["jobs"]["gate"]["steps"]
    assert all(len(step["uses"].split("@")[1].split()[0]) == 40 for step in steps if "uses" in step)
    assert not any("${{" in step.get("run", "") for step in steps)


def test_what_is_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        initialise(tmp_path / "nowhere")
