from __future__ import annotations

import sys
from pathlib import Path

from holdfast.environment import fingerprint
from holdfast.environment.locks import Pin
from holdfast.environment.recorded import fingerprint_pins, record_environment, recorded_environment
from holdfast.store import open_store


def test_what_is_recorded_is_found_by_its_digest(tmp_path: Path) -> None:
    store, found = open_store(tmp_path), fingerprint(sys.executable, tmp_path)
    assert recorded_environment(store, found.digest) is None
    record_environment(store, found)
    again = recorded_environment(store, found.digest)
    assert again is not None
    assert (again.digest, again.packages) == (found.digest, found.packages)


def test_pins_are_those_of_the_lock_where_it_agrees(tmp_path: Path) -> None:
    found = fingerprint(sys.executable, tmp_path)
    plain = fingerprint_pins(found)
    assert set(plain) == set(found.hashed["packages"])
    agrees = Pin(plain["numpy"].version, ("sha256:1",), "index")
    other = Pin("0.0.1", ("sha256:2",), "index")
    locked = fingerprint_pins(found, {"numpy": agrees, "scipy": other})
    assert (locked["numpy"], locked["scipy"]) == (agrees, plain["scipy"])
