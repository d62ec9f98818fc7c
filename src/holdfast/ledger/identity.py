"""Who writes, for which commit, in which CI run: claims, kept with every event."""

from __future__ import annotations

import functools
import getpass
import os
import subprocess


def github_run() -> dict[str, str]:
    """The actor and the URL of the GitHub run we are in; empty elsewhere."""
    found = {}
    if actor := os.environ.get("GITHUB_ACTOR"):
        found["actor"] = actor
    parts = [os.environ.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    if all(parts):
        found["run_url"] = f"{parts[0]}/{parts[1]}/actions/runs/{parts[2]}"
    return found


@functools.cache
def current_who() -> str:
    """HOLDFAST_WHO, else git's user, else the system's."""
    if named := os.environ.get("HOLDFAST_WHO"):
        return named
    name, email = _git("config", "user.name"), _git("config", "user.email")
    if name:
        return f"{name} <{email}>" if email else name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


@functools.cache
def current_commit() -> str | None:
    """The commit of the working directory; None outside git."""
    return os.environ.get("GITHUB_SHA") or _git("rev-parse", "HEAD")


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
