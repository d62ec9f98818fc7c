"""Environments by name: the hash of what decides the result of the user's code, and the host facts beside it.

Hashed: Python's major.minor, the Unicode version, and every package's name, version and artefact hash. Not hashed, but
kept and compared: CPU, BLAS, threads, locale, time zone; packages installed from the project itself (that is code), and
tools that only install or judge (`probe.TOOLS`).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

from holdfast.environment import probe
from holdfast.environment.interpreter import find_program, resolve_python
from holdfast.errors import Damaged, OutsideError, UserError
from holdfast.store import canonical_json, digest

__all__ = ["Change", "Fingerprint", "difference", "fingerprint", "resolve_python"]

SCHEMA = 1
_PROBE_SECONDS = 60


@dataclass(frozen=True)
class Fingerprint:
    """One environment. `packages`: name → {version, hash, source}; `host`: facts that are compared, not hashed."""

    python: str
    unicode: str
    packages: Mapping[str, Mapping[str, Any]]
    host: Mapping[str, Any] = field(default_factory=dict)
    executable: str = ""

    @cached_property
    def hashed(self) -> dict[str, Any]:
        """The part that the digest is taken over."""
        kept = {
            name: [package["version"], package["hash"]]
            for name, package in self.packages.items()
            if name not in probe.TOOLS and package.get("source") != "project"
        }
        return {"schema": SCHEMA, "python": self.python, "unicode": self.unicode, "packages": kept}

    @cached_property
    def digest(self) -> str:
        """`sha256:…` of the hashed part: equal environments have equal names, on any machine."""
        return digest(canonical_json(self.hashed))

    def to_json(self) -> dict[str, Any]:
        """A document that `from_json` reads back."""
        return {
            "schema": SCHEMA,
            "digest": self.digest,
            "python": self.python,
            "unicode": self.unicode,
            "packages": {name: dict(package) for name, package in self.packages.items()},
            "host": dict(self.host),
            "executable": self.executable,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The fingerprint in `document`; Damaged where its digest is not that of its content."""
        names = ("python", "unicode", "packages", "host", "executable")
        made = cls(**{name: document[name] for name in names})
        if made.digest != document["digest"]:
            raise Damaged(f"an environment's record says {document['digest']}, but its content is {made.digest}.")
        return made


class Change(NamedTuple):
    """One difference between two environments; None where it has no such package."""

    package: str
    old: str | None
    new: str | None


def difference(a: Fingerprint, b: Fingerprint) -> list[Change]:
    """What changed from `a` to `b` in the hashed part, sorted by name; `python` and `unicode` come first.

    Packages of one version but different content are shown as `1.2.0 (sha256:1a2b3c4d)`.
    """
    changes = [
        Change(n, x, y) for n, x, y in (("python", a.python, b.python), ("unicode", a.unicode, b.unicode)) if x != y
    ]
    old, new = a.hashed["packages"], b.hashed["packages"]
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before != after:
            same_version = before is not None and after is not None and before[0] == after[0]
            changes.append(Change(name, _shown(before, with_hash=same_version), _shown(after, with_hash=same_version)))
    return changes


def _shown(package: list[Any] | None, *, with_hash: bool) -> str | None:
    if package is None:
        return None
    version, content = package
    return f"{version} ({(content or 'no hash')[:15]})" if with_hash else str(version)


_known: dict[tuple[str, ...], tuple[Mapping[str, int], Fingerprint]] = {}


def fingerprint(python: str | Path | None = None, cwd: str | Path = ".") -> Fingerprint:
    """The environment of an interpreter (default: the `python` on PATH), seen from the project in `cwd`.

    Remembered within this process while no folder on the interpreter's path changes. UserError where there is no such
    interpreter, OutsideError where it does not answer.
    """
    root = Path(cwd).resolve()
    program = find_program(python, root)
    key = (str(program), str(root), *(os.environ.get(name, "") for name in ("PYTHONPATH", *probe.VARIABLES)))
    if key in _known and _unchanged(_known[key][0]):
        return _known[key][1]
    answer = _ask(program, root)
    made = Fingerprint(
        python=answer["python"],
        unicode=answer["unicode"],
        packages=answer["packages"],
        host=answer["host"],
        executable=answer["executable"],
    )
    if not any(p["source"] == "editable" and n not in probe.TOOLS for n, p in made.packages.items()):
        _known[key] = (answer["folders"], made)
    return made


def _unchanged(folders: Mapping[str, int]) -> bool:
    try:
        return all(Path(path).stat().st_mtime_ns == mtime for path, mtime in folders.items())
    except OSError:
        return False


def _ask(program: Path, root: Path) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [str(program), probe.__file__, str(root)],
            cwd=root,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OutsideError(f"{program} did not say what is installed there within {_PROBE_SECONDS} s.") from None
    except OSError as error:
        raise UserError(f"{program} cannot be run: {error.strerror}.") from None
    last = done.stdout.strip().splitlines()[-1:] or [""]
    try:
        answer: dict[str, Any] = json.loads(last[0])
    except ValueError:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OutsideError(
            f"{program} could not say what is installed there (exit {done.returncode}): {said}."
        ) from None
    return answer
