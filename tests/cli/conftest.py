"""A project that has released one version, made once; every test gets a copy of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from holdfast.cli.app import app
from tests.project import holdfast, make_project, search_path

Type = Callable[..., Result]


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`holdfast run` and `release promote` have been typed here, for real."""
    folder = make_project(tmp_path_factory.mktemp("released") / "project")
    holdfast(folder, "run")
    holdfast(folder, "release", "promote")
    return folder


@pytest.fixture
def project(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `released`, and the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(released, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", search_path())
    return folder


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which nothing was typed yet."""
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", search_path())
    return folder


@pytest.fixture
def type_() -> Type:
    """Type a command in this process: `type_("run", status=1)`."""

    def typed(*words: str, status: int | None = 0) -> Result:
        result = CliRunner().invoke(app, list(words), prog_name="holdfast")
        assert "Traceback" not in result.output
        assert status is None or result.exit_code == status, f"{result.exit_code}\n{result.output}"
        return result

    return typed
