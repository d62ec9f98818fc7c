"""The environment that a version was trained in, on this machine: exactly its packages, in a folder that nobody else changes.

A version's own environment is not the project's `.venv`, even where both are the same today: an upgrade there must not
reach what is served, not at the next start of its process either.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.environment.build import build_environment
from holdfast.environment.fingerprint import Fingerprint, difference, fingerprint
from holdfast.environment.locks import Pin, read_lock
from holdfast.environment.recorded import fingerprint_pins, recorded_environment
from holdfast.errors import Damaged, HoldfastError, Refused
from holdfast.store import Store

_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Own:
    """What is on record of a version's environment: its fingerprint, and the pins to build it from."""

    fingerprint: Fingerprint
    pins: Mapping[str, Pin]


def own_environment(lineage: Mapping[str, object], store: Store, scratch: Path) -> Own | None:
    """The environment in a version's lineage, read from the store; None where none is recorded. Damaged where it is lost.

    The packages are those of the fingerprint, which names what was really installed; where the stored lock pins the same
    version, its hashes and its source are what is installed.
    """
    digest = lineage.get("environment")
    if digest is None:
        return None
    found = recorded_environment(store, str(digest))
    if found is None:
        raise Damaged(f"the store {store.url} has lost the environment {digest}.", reason_code="missing_object")
    if found.digest != digest:
        raise Damaged(f"the store {store.url} has {found.digest} under the name of the environment {digest}.")
    lock = lineage.get("lock")
    return Own(fingerprint=found, pins=fingerprint_pins(found, _locked(str(lock), store, scratch) if lock else None))


def _locked(digest: str, store: Store, scratch: Path) -> Mapping[str, Pin]:
    """The pins of a stored lock. One that cannot be read costs only the hashes: what is built is checked in any case."""
    try:
        return read_lock(store.fetch_object(digest, scratch / "locks")).packages
    except HoldfastError:
        return {}


def environment_at(own: Own, folder: Path, *, python: Path, cwd: Path) -> Path:
    """The interpreter of the environment, made in `folder` unless it is there. Slow: build it in a thread.

    `python` is used where it has the version on record. Raises Refused where what was built is not what is on record,
    UserError or OutsideError where it cannot be built.
    """
    wanted = own.fingerprint
    place = folder / wanted.digest.removeprefix("sha256:")[:32]
    for again in itertools.count(1):
        if not (place / "bin" / "python").exists():
            break
        if fingerprint(place / "bin" / "python", cwd).digest == wanted.digest:
            return place / "bin" / "python"
        place = place.with_suffix(f".{again}")  # somebody has changed it, and a process may still run in it
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = Path(tempfile.mkdtemp(prefix="making-", dir=folder))
    try:
        interpreter = python if _is_same_python(python, wanted, cwd) else wanted.python
        built = build_environment(own.pins, scratch / "venv", python=interpreter, cwd=cwd)
        _check(fingerprint(built.python, cwd), wanted)
        with contextlib.suppress(OSError):  # another process was quicker, with the same content
            (scratch / "venv").rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return place / "bin" / "python"


def _is_same_python(python: Path, wanted: Fingerprint, cwd: Path) -> bool:
    return fingerprint(python, cwd).python == wanted.python


def _check(built: Fingerprint, wanted: Fingerprint) -> None:
    if built.digest != wanted.digest:
        raise Refused(
            f"the environment built from the lock is not the one on record: {told(wanted, built)}.",
            hint="Lock every package with its hashes and train again.",
            reason_code="other_environment",
        )


def told(recorded: Fingerprint, here: Fingerprint) -> str:
    """What differs, in a few words."""
    changes = difference(recorded, here)
    named = [f"{c.package} {c.old or 'absent'} → {c.new or 'absent'}" for c in changes[:_SHOWN]]
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return ", ".join(named) + more
