"""The interpreter that a training command runs in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.environment import resolve_python
from holdfast.errors import UserError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with interpreters in `bin` (on PATH), `.venv/bin` and `other/bin`, and a console script."""
    for folder in ("bin", ".venv/bin", "other/bin"):
        for name in ("python", "python3.12"):
            executable(tmp_path / folder / name, "#!/bin/sh\n")
    executable(tmp_path / "bin/trainer", f"#!{tmp_path}/other/bin/python\n")
    executable(tmp_path / "bin/long", f"#!/bin/sh\n'''exec' '{tmp_path}/other/bin/python' \"$0\" \"$@\"\n' '''\n")
    executable(tmp_path / "bin/uv", "#!/bin/sh\n")
    executable(tmp_path / "bin/make", "\x7fELF")
    executable(tmp_path / "run.sh", "#!/usr/bin/env python3.12\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python train.py", "bin/python"),
        ("python3.12 -m train", "bin/python3.12"),
        ("other/bin/python train.py --x 'a b'", "other/bin/python"),
        ("SEED=1 OMP_NUM_THREADS=2 other/bin/python train.py", "other/bin/python"),
        ("cd sub && other/bin/python train.py", "other/bin/python"),
        ("uv run python train.py", ".venv/bin/python"),
        ("uv run trainer", ".venv/bin/python"),
        ("trainer --fast", "other/bin/python"),
        ("long --fast", "other/bin/python"),
        ("./run.sh", "bin/python3.12"),
        ("make train", "bin/python"),
        ("not-there", "bin/python"),
        ("", "bin/python"),
    ],
)
def test_resolve_python(project: Path, command: str, expected: str) -> None:
    assert resolve_python(command, project) == project / expected


@pytest.mark.parametrize("command", ["missing/python train.py", "python9.9 train.py"])
def test_a_named_interpreter_that_is_not_there(project: Path, command: str) -> None:
    with pytest.raises(UserError, match="no interpreter"):
        resolve_python(command, project)


def test_an_unreadable_command(project: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read as a command: No closing quotation"):
        resolve_python("python 'train.py", project)


def test_links_are_kept(project: Path) -> None:
    (project / "linked").symlink_to(os.path.realpath("/bin/sh"))
    (project / "python3").symlink_to(project / "linked")
    assert resolve_python("./python3 x", project) == project / "python3"
