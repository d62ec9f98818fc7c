"""What the log keeps of inputs and of unit ids, as the project asks. Pure, but for the secret in the environment."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, Literal

import orjson

from holdfast.errors import UserError
from holdfast.serving.log.encoding import json_text
from holdfast.serving.payload import Payload

InputsSetting = Literal["none", "hash", "all"] | list[str]
_DIGEST_BYTES = 16
_LONGEST_KEY = 64  # of blake2b


def kept_inputs(payload: Payload, setting: InputsSetting) -> list[Any] | None:
    """One entry for each row, or None for `none`.

    `all` keeps {name: value}, of a single tensor without a name its value; a list of names keeps those, null where the request
    lacks one; `hash` keeps 32 hexadecimal digits of what `all` keeps, equal for equal rows, of use only to find them again.
    """
    if setting == "none":
        return None
    if setting == "all":
        return _rows(payload, payload.names)
    if setting == "hash":
        return [_digest(row) for row in _rows(payload, payload.names)]
    return _rows(payload, setting)


def kept_unit(unit: str | None, key: bytes | None) -> str | None:
    """The unit as the log keeps it: as it is without a key, else a keyed hash of 32 hexadecimal digits.

    For the log only: who sees the canary is drawn from the unit itself.
    """
    if unit is None or key is None:
        return unit
    text = unit.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, key=_short(key), digest_size=_DIGEST_BYTES).hexdigest()


def unit_key(variable: str | None) -> bytes | None:
    """The secret that units are hashed with, from the environment; None where none is asked for. UserError if missing."""
    if variable is None:
        return None
    secret = os.environ.get(variable, "")
    if not secret:
        raise UserError(
            f"serving.log.unit_key names the environment variable {variable}, and it is not set.",
            hint=f"Set {variable} to a long random secret, the same for every replica.",
            reason_code="no_unit_key",
        )
    return secret.encode("utf-8", "surrogateescape")


def _rows(payload: Payload, names: Sequence[str]) -> list[Any]:
    if payload.kind == "tensor" and payload.names == ("",):
        nameless: list[Any] = payload.arrays[0].tolist()
        return nameless if list(names) == [""] else [dict.fromkeys(names) for _ in nameless]
    found = dict(zip(payload.names, payload.arrays, strict=True))
    empty = [None] * payload.rows
    columns = [found[name].tolist() if name in found else empty for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _digest(row: Any) -> str:
    return hashlib.blake2b(_sorted(json_text(row)), digest_size=_DIGEST_BYTES).hexdigest()


def _sorted(text: bytes) -> bytes:
    """The same JSON with sorted keys: a client that orders its columns otherwise sends the same row."""
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS)
    except ValueError:  # integers of more than 64 bits, very deep nesting
        return text


def _short(key: bytes) -> bytes:
    return key if len(key) <= _LONGEST_KEY else hashlib.blake2b(key).digest()
