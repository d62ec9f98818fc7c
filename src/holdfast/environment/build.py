"""Environments made for one question: a virtual environment with exact packages, built by uv, in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from holdfast.environment.locks import Pin
from holdfast.environment.pins import masked
from holdfast.errors import OutsideError, UserError

_SECONDS = 900
_NOT_CACHED = ("network was disabled", "not found in the cache", "network disabled", "offline")
_OFFLINE = (
    "dns error",
    "failed to lookup",
    "Could not connect",
    "error sending request",
    "Network is unreachable",
    "timed out",
)


@dataclass(frozen=True)
class Environment:
    """An environment on disk: its interpreter, and package → version as they were asked for."""

    python: Path
    packages: Mapping[str, str]


class Unbuildable(OutsideError):
    """This combination of packages cannot be installed; others may."""

    reason_code = "unbuildable"


def find_uv() -> str:
    """The program uv, beside this interpreter or on PATH; UserError where there is none."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise UserError("environments are made with uv, and there is none.", hint="Type `pip install uv`.")
    return found


def requirements(pins: Mapping[str, Pin]) -> str:
    """The packages as a requirements file, with hashes where they are known; UserError for what has no index to come from.

    A package of another index than the default is asked of whatever index the user has configured for uv.
    """
    lines = []
    for name, pin in sorted(pins.items()):
        kind, _, where = pin.source.partition(":")
        if kind == "git":
            lines.append(f"{name} @ git+{where}")
        elif kind == "url":
            lines.append(f"{name} @ {where}")
        elif kind == "path":
            raise UserError(
                f"{name} comes from the folder {where}, which says nothing of its version at another time.",
                hint="Build a wheel of it and lock that, or leave it out of the lock.",
                reason_code="path_dependency",
            )
        else:
            lines.append(f"{name}=={pin.version}" + "".join(f" --hash={found}" for found in pin.hashes))
    return "\n".join(lines) + "\n"


def build_environment(
    pins: Mapping[str, Pin], folder: Path, *, python: str | Path, cwd: Path, offline: bool = False
) -> Environment:
    """Make a virtual environment with exactly these packages in `folder`, which must not exist.

    Raises Unbuildable with uv's reason where this combination cannot be installed, OutsideError where nothing could be
    (no network, no room, a damaged cache). Nothing outside `folder` and uv's cache is written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder.with_suffix(".txt")
    file.write_text(requirements(pins), "utf-8")
    inside = folder / "bin" / "python"
    try:
        _uv(["venv", "-q", "--no-project", "--no-config", "--python", str(python), str(folder)], cwd)
        words = ["pip", "install", "-q", "--no-deps", "--python", str(inside), "-r", str(file)]
        _uv([*words, *(["--offline"] if offline else [])], cwd)
    except OutsideError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _named_indexes(error, pins) from None
    finally:
        file.unlink(missing_ok=True)
    return Environment(inside, {name: pin.version for name, pin in pins.items()})


def _named_indexes(error: OutsideError, pins: Mapping[str, Pin]) -> OutsideError:
    """The error with a word on packages of other indexes, which uv asks only if the user has configured them."""
    other = {pin.source.removeprefix("index:"): name for name, pin in pins.items() if pin.source.startswith("index:")}
    if isinstance(error, Unbuildable) and other:
        where, name = next(iter(other.items()))
        error.hint = f"{name} comes from the index {where}: tell uv of it (UV_INDEX=URL, or its configuration)."
    return error


def conflict(pins: Mapping[str, Pin], scratch: Path, *, python: str | Path, cwd: Path) -> str | None:
    """Why these exact packages do not resolve together, in one line; None where they do. Builds nothing.

    A combination that needs a package which it does not hold does not resolve either.
    """
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = scratch / "combination.txt"
    file.write_text(re.sub(r" --hash=\S+", "", requirements(pins)), "utf-8")
    words = ["pip", "compile", "-q", "--no-header", "--python", str(python), str(file)]
    done = _run([*words, "--offline"], cwd)
    if done.returncode and any(word in done.stderr for word in _NOT_CACHED):
        done = _run(words, cwd)
    if done.returncode:
        if "No solution found" not in done.stderr:
            _fail(done.stderr)
        return _reason(done.stderr)
    return _lacking(done.stdout, set(pins))


def _lacking(resolved: str, held: set[str]) -> str | None:
    """What a resolution holds beyond the combination, and for whom (uv writes `# via NAME` under each package)."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in resolved.splitlines():
        if match := re.match(r"([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*(?:==|@)", line):
            current = canonicalize_name(match[1])
        elif current and current not in held and (via := re.match(r"\s*#\s+(?:via\s+)?([A-Za-z0-9][\w.-]*)$", line)):
            found.setdefault(current, []).append(via[1])
    said = [f"{', '.join(names)} needs {name}" for name, names in sorted(found.items())]
    return f"{'; '.join(said)}, which it does not hold" if said else None


def _uv(words: list[str], cwd: Path) -> None:
    done = _run(words, cwd)
    if done.returncode:
        _fail(done.stderr)


def _run(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    }
    try:
        return subprocess.run(
            [find_uv(), *words],
            cwd=cwd,
            env={**kept, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unbuildable(f"uv did not finish within {_SECONDS} s.") from None


def _fail(stderr: str) -> None:
    """Raise what uv's words mean: nothing can be built, or only this cannot."""
    reason = _reason(stderr)
    if "No space left on device" in stderr or "os error 28" in stderr:
        raise OutsideError(
            "there is no room on the disk to build an environment.", hint="Make room; it continues there."
        )
    if re.search("No interpreter found|No virtual environment or system Python|inspect Python interpreter", stderr):
        raise Unbuildable(f"there is no such Python here: {reason}.")
    if "No solution found" not in stderr and any(word in stderr for word in _OFFLINE):
        raise OutsideError(
            f"the packages cannot be fetched: {reason}.",
            hint="Check the network and the index that uv is configured for (UV_INDEX_URL); it continues where it was.",
            reason_code="no_network",
        )
    raise Unbuildable(f"{reason}.", hint="If uv's cache is damaged: `uv cache clean`.")


def _reason(stderr: str) -> str:
    """uv's own words in one line, without decoration."""
    lines = [re.sub(r"^[\s×╰─▶│├→·]+|^(error|warning):\s*", "", line).strip() for line in stderr.splitlines()]
    text = " ".join(line for line in lines if line and not line.startswith(("hint:", "help:")))
    text = re.sub(r"No solution found when resolving dependencies:?( cause:)?\s*", "", text)
    text = masked(text)
    return (text[:297] + "…" if len(text) > 298 else text).rstrip(".") or "uv said nothing"
