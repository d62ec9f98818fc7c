"""Which Python a command runs in."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from holdfast.errors import UserError

_PYTHON = re.compile(r"(?:python|pypy)\d*(?:\.\d+)*")
_PROJECT_RUNNERS = {"uv", "poetry", "pdm", "hatch", "rye", "pipenv"}  # they run the project's own .venv


def find_program(python: str | Path | None, cwd: Path) -> Path:
    """The interpreter that is named, looked up like a shell would; `python`, then `python3`, for None.

    Links are kept: a virtual environment's `python` is one. UserError where there is none.
    """
    for name in ("python", "python3") if python is None else (str(python),):
        found = shutil.which(str(cwd / name) if "/" in name else name)
        if found is not None:
            return Path(found).absolute()
    wanted = "`python`" if python is None else str(python)
    raise UserError(
        f"there is no interpreter {wanted} to run the project's code with.",
        hint="Activate the project's environment, or name its python: `model: {python: .venv/bin/python}`.",
    )


def find_python(named: str | Path, cwd: str | Path = ".") -> Path:
    """The interpreter that a person named: itself, or a virtual environment's folder. UserError where there is none."""
    place = Path(cwd).resolve() / Path(named).expanduser()
    if place.is_dir():
        for inside in ("bin/python", "Scripts/python.exe"):
            if (place / inside).exists():
                return place / inside
        raise UserError(f"{named} is no virtual environment: there is no bin/python in it.", hint="Make one: uv venv.")
    return find_program(named, Path(cwd).resolve())


def resolve_python(command: str, cwd: str | Path) -> Path:
    """The interpreter in which `command` runs its Python code.

    In this order: a word of the command that is a Python; the `.venv` of a project runner (`uv run …`); the first line
    of the script or console script that the command starts; the `python` on PATH. UserError where there is none.
    """
    root = Path(cwd).resolve()
    words = _words(command)
    for word in words:
        if _PYTHON.fullmatch(Path(word).name) and not (words[0] in _PROJECT_RUNNERS and "/" not in word):
            return find_program(word, root)
    if words and words[0] in _PROJECT_RUNNERS and (root / ".venv/bin/python").exists():
        return root / ".venv/bin/python"
    named = _first_line_python(words[0], root) if words else None
    return find_program(named, root)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command, comments=False)
    except ValueError as error:
        raise UserError(f"train.run cannot be read as a command: {error}.", hint=f"It is: {command}") from None
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words.pop(0)
    return words


def _first_line_python(word: str, root: Path) -> str | None:
    """The interpreter in the `#!` line of a script, also of the `/bin/sh` form that long paths need."""
    found = shutil.which(str(root / word) if "/" in word else word)
    if found is None:
        return None
    with Path(found).open("rb") as file:
        head = file.read(1024).decode(errors="replace")
    if not head.startswith("#!"):
        return None
    for candidate in re.findall(r"[^\s'\"!]+", "\n".join(head.splitlines()[:2])):
        if _PYTHON.fullmatch(Path(candidate).name):
            return str(candidate)
    return None
