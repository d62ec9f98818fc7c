"""Environments of a project by name: the running one, a version's own, a lock file; what differs between two."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast._version import __version__
from holdfast.environment import Fingerprint, fingerprint
from holdfast.environment.interpreter import find_python
from holdfast.environment.locks import Locked, Pin, locked_file, read_lock
from holdfast.environment.recorded import fingerprint_pins, record_environment, recorded_environment
from holdfast.environment.relevance import Moved, by_relevance, host_changes, imported_packages, moved
from holdfast.errors import UserError
from holdfast.pipeline.workspace import Workspace
from holdfast.release import ReleaseVersion
from holdfast.verdict import CheckResult, Report, Verdict, utc_text

_FORMS = (
    "Write running, champion, a version's number, a lock file, a fingerprint (a JSON file or sha256:…), or a .venv."
)


def keep_environment(workspace: Workspace) -> str | None:
    """Store the fingerprint at hand; the digest of the project's lock file, stored too, or None without one."""
    found = workspace.fingerprint
    record_environment(workspace.store, found)
    lock = locked_file(workspace.root)
    return None if lock is None else workspace.store.put_file(lock)


def stored_environment(workspace: Workspace, digest: str) -> Fingerprint:
    """The recorded environment called `digest`; UserError where none is."""
    found = recorded_environment(workspace.store, digest)
    if found is None:
        raise UserError(f"no environment {digest} is recorded in {workspace.store.url}.", hint=_FORMS)
    return found


def known_environment(workspace: Workspace, digest: str) -> Fingerprint:
    """The running environment if that is what `digest` names, else the recorded one."""
    running = workspace.fingerprint
    return running if running.digest == digest else stored_environment(workspace, digest)


def environment_of(workspace: Workspace, text: str) -> Fingerprint | Locked:
    """What `text` names; UserError where it names nothing."""
    if text in ("running", "."):
        return workspace.fingerprint
    if text.startswith("sha256:"):
        return stored_environment(workspace, text)
    version = named_version(workspace, text)
    if version is not None:
        return version_environment(workspace, version)
    path = workspace.root / text
    if path.is_dir() or path.name.startswith("python"):
        return fingerprint(find_python(text, workspace.root), workspace.root)
    if path.suffix == ".json" and path.is_file():
        return _fingerprint_file(path)
    if path.exists():
        return read_lock(path)
    raise UserError(f"{text!r} names no environment.", hint=_FORMS)


def named_version(workspace: Workspace, text: str) -> ReleaseVersion | None:
    """The version called `champion`, `previous`, `candidate`, `3` or `version:3`; None for any other text."""
    state = workspace.state()
    roles = {"champion": state.champion, "previous": state.previous, "candidate": state.candidate}
    if text in roles:
        found = roles[text]
        if found is None:
            raise UserError(f"{workspace.model} has no {text} yet.", hint="Type `holdfast release status`.")
        return found
    match = re.fullmatch(r"(?:version:)?(\d+)", text)
    if match is None:
        return None
    if match[1] not in state.versions:
        raise UserError(f"{workspace.model} has no version {match[1]}.", hint="Type `holdfast release status`.")
    return state.versions[match[1]]


def version_environment(workspace: Workspace, version: ReleaseVersion) -> Fingerprint:
    """The environment in which a version was made; UserError where none is recorded."""
    digest = version.lineage.get("environment")
    if digest is None:
        raise UserError(
            f"version {version.version} carries no environment: it was not trained through Holdfast.",
            hint="Train and gate it once with `holdfast run`.",
            reason_code="no_environment",
        )
    return stored_environment(workspace, digest)


def pins_of(environment: Fingerprint | Locked) -> dict[str, Pin]:
    """What to install for an environment; of a fingerprint the versions, without what is the project's own code."""
    return dict(environment.packages) if isinstance(environment, Locked) else fingerprint_pins(environment)


def compare_environments(workspace: Workspace, a: Fingerprint | Locked, b: Fingerprint | Locked) -> list[Moved]:
    """What changed from `a` to `b`, what most likely matters to features first."""
    return by_relevance(moved(a, b), imported_packages(workspace.root))


def check_environment(workspace: Workspace, version: ReleaseVersion, *, strict: bool) -> Report:
    """Whether the running environment is the one that a version was made in; with `strict` a difference fails."""
    own = version_environment(workspace, version)
    running = workspace.fingerprint
    changes = by_relevance(moved(own, running), imported_packages(workspace.root))
    host = host_changes(own, running)
    named = ", ".join(str(change) for change in changes[:4]) + (f" and {len(changes) - 4} more" if changes[4:] else "")
    message = (
        f"the running environment is the one version {version.version} was made in."
        if not changes
        else f"the running environment is not the one version {version.version} was made in: {named}."
    )
    check = CheckResult(
        name="environment.same",
        kind="environment",
        verdict=Verdict.FAIL if changes else Verdict.PASS,
        message=message,
        level="stop",
        n=len(running.hashed["packages"]),
        unit="package",
        reason_code="environment_differs" if changes else None,
        details={"examples": [change.to_json() for change in changes], "host": host},
    )
    asked = CheckResult(
        name="environment.known", kind="environment", verdict=Verdict.PASS, message="both environments are on record."
    )
    checks = (check,) if strict else (asked, replace(check, level="notice"))
    notices = tuple(f"{name}: {old} there, {new} here (not part of the environment)." for name, old, new in host)
    return Report(
        title=f"Environment of {workspace.model} version {version.version}",
        checks=checks,
        model=workspace.model,
        champion=f"version {version.version}",
        environment={"fingerprint": running.digest, "own": own.digest},
        inputs={"holdout": None, "data": None, "commit": None},
        notices=notices,
        created=utc_text(workspace.clock()),
        holdfast=__version__,
    )


def _fingerprint_file(path: Path) -> Fingerprint:
    try:
        document: Any = json.loads(path.read_text("utf-8"))
        if isinstance(document, Mapping):
            return Fingerprint.from_json(document.get("fingerprint", document))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UserError(f"{path} is no fingerprint.", hint="`holdfast env show --json > FILE` writes one.")
