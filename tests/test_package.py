"""What importing costs, and that the documents say what is there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdfast.cli.app import ROAD, app

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("mlflow", "pandas", "duckdb", "sklearn", "pyarrow", "scipy", "obstore", "deltalake", "numpy", "pydantic")


def modules_loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def loaded_by(code: str) -> set[str]:
    return {name.partition(".")[0] for name in modules_loaded_by(code)}


@pytest.mark.parametrize(
    "code",
    [
        "import holdfast",
        "from holdfast.cli.app import app\ntry:\n    app(['--help'])\nexcept SystemExit:\n    pass",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(code: str) -> None:
    assert not loaded_by(code) & set(HEAVY)


def test_comparing_needs_no_mlflow_and_no_pandas() -> None:
    code = "import holdfast; holdfast.compare([0, 1] * 20, [0, 1] * 20, [0, 0] * 20, metric='accuracy')"
    assert not loaded_by(code) & {"mlflow", "pandas", "sklearn", "obstore"}


@pytest.mark.parametrize("name", list(ROAD))
def test_every_command_has_its_help(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage:")


@pytest.mark.parametrize("words", [["--nonsense"], ["rnu"], ["release", "promot"], ["compare"]])
def test_wrong_words_are_exit_2(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 2


def test_a_misspelt_command_offers_the_nearest() -> None:
    assert "Did you mean 'promote'?" in CliRunner().invoke(app, ["release", "promot"]).output
    assert "Did you mean 'compare'?" in CliRunner().invoke(app, ["comprae"]).output


def test_the_readme_names_only_commands_that_exist() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    typed = set(re.findall(r"^\s+holdfast ([a-z]+)", text, re.MULTILINE))
    assert typed
    assert typed <= set(ROAD)


def test_every_document_that_is_linked_exists() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_no_lock_or_document_names_a_registry() -> None:
    for file in [*ROOT.glob("requirements*.lock"), ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = file.read_text("utf-8")
        assert "--index-url" not in text
        assert "https://pypi" not in text


@pytest.mark.parametrize("name", ["commands.md", "holdfast.schema.json", "transitions.md"])
def test_documents_made_from_the_code_are_fresh(name: str) -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / name).read_text("utf-8") == module.DOCUMENTS[name](), "type `make docs`"


def test_a_run_with_nothing_to_do_loads_neither_scipy_nor_mlflow() -> None:
    loaded = loaded_by("import holdfast.cli.road, holdfast.pipeline.stages, holdfast.pipeline.road")
    assert not loaded & {"scipy", "mlflow", "pandas", "sklearn", "jinja2"}


def test_judging_does_not_wait_for_the_second_that_scipy_stats_takes_to_load() -> None:
    loaded = modules_loaded_by("import holdfast.pipeline.canary, holdfast.pipeline.gate, holdfast.pipeline.power")
    assert not loaded & {"scipy.stats", "scipy.optimize"}
