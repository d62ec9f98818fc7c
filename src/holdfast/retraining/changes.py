"""Which files have changed since a commit, and which of them a glob names."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import OutsideError, UserError

_GIT_SECONDS = 60
_TOKENS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def changed_since(commit: str, cwd: str | Path | None = None) -> list[str]:
    """Paths, relative to `cwd`, that differ between `commit` and HEAD; a renamed file counts under both names.

    Raises UserError for what is no commit hash, OutsideError when git cannot answer.
    """
    if re.fullmatch(r"[0-9a-fA-F]{7,64}", commit) is None:
        raise UserError(f"Expected the hash of a commit, found {commit!r}.")
    command = ["git", "diff", "--name-only", "--no-renames", "--relative", "-z", commit, "HEAD", "--"]
    try:
        found = subprocess.run(command, cwd=cwd, capture_output=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OutsideError(f"git could not be asked what changed since {commit[:12]}: {error}.") from error
    if found.returncode != 0:
        lines = found.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise OutsideError(
            f"git could not tell what changed since {commit[:12]}: {lines[0]}.",
            hint="In CI, check out the whole history (fetch-depth: 0).",
        )
    return [path.decode(errors="surrogateescape") for path in found.stdout.split(b"\0") if path]


def matching(paths: Sequence[str], globs: Sequence[str]) -> list[str]:
    """The `paths` that one of `globs` names, in their order.

    `*` and `?` stay within a folder, `**` crosses folders, and a glob that names a folder names all that is in it.
    """
    patterns = [_pattern(glob) for glob in globs]
    return [path for path in paths if any(pattern.fullmatch(path) for pattern in patterns)]


def _pattern(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob.removeprefix("./").rstrip("/"))
    return re.compile("".join(_TOKENS.get(part, re.escape(part)) for part in parts) + "(?:/.*)?", re.DOTALL)
