"""Which environment the user's code runs in, named by the hash of what is installed there."""

from __future__ import annotations

from holdfast.environment.fingerprint import Change, Fingerprint, difference, fingerprint
from holdfast.environment.interpreter import find_program, find_python, resolve_python

__all__ = ["Change", "Fingerprint", "difference", "find_program", "find_python", "fingerprint", "resolve_python"]
