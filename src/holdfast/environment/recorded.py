"""Environments on record in the store, by their digest, and what to install to have one again."""

from __future__ import annotations

import json
from collections.abc import Mapping

from holdfast.environment.fingerprint import Fingerprint
from holdfast.environment.locks import Pin
from holdfast.store import Store, canonical_json


def record_environment(store: Store, found: Fingerprint) -> None:
    """Keep `found` under its digest."""
    store.put(_place(found.digest), canonical_json(found.to_json()))


def recorded_environment(store: Store, digest: str) -> Fingerprint | None:
    """The environment called `digest`; None where none is recorded."""
    data = store.get(_place(digest))
    return None if data is None else Fingerprint.from_json(json.loads(data))


def fingerprint_pins(found: Fingerprint, locked: Mapping[str, Pin] | None = None) -> dict[str, Pin]:
    """Every package of the hashed part, which leaves out the project's own code; as `locked` has it where it agrees."""
    pins = {}
    for name, package in found.packages.items():
        if name not in found.hashed["packages"]:
            continue
        version, pin = str(package["version"]), (locked or {}).get(name)
        source = "index" if package["source"] == "installed" else f"path:{name}"
        pins[name] = pin if pin is not None and pin.version == version else Pin(version, (), source)
    return pins


def _place(digest: str) -> str:
    return f"environments/{digest.removeprefix('sha256:')}.json"
