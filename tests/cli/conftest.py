"""A project that has released one version, made once; every test gets a copy of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.project import holdfast, make_project, search_path, set_parameters, typed
from tests.shared import made_once

Type = Callable[..., Result]


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`holdfast run` and `release promote` have been typed here, for real."""

    def make(folder: Path) -> None:
        make_project(folder)
        holdfast(folder, "run")
        holdfast(folder, "release", "promote")

    return made_once(tmp_path_factory, "released", make)


@pytest.fixture(scope="session")
def trained_again(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after another training: version 2 is staged beside the champion."""

    def make(folder: Path) -> None:
        shutil.copytree(released, folder)
        set_parameters(folder, "mode: good, shift: 0.001")
        typed(folder, "run")

    return made_once(tmp_path_factory, "trained_again", make)


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
    """Type a command in this process, in the working directory: `type_("run", status=1)`."""

    def in_working_directory(*words: str, status: int | None = 0) -> Result:
        return typed(Path.cwd(), *words, status=status)

    return in_working_directory
