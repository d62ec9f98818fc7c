"""Numpy arrays and a JSON document as bytes that are checked when they are read."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.errors import Damaged

_MAGIC = b"holdfast-sums\n"
_LENGTH = struct.Struct("<I")
_DIGEST = 16
_KINDS = {"<f8", "<i8", "<u8", "|i1", "|u1"}


def packed(head: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The document and the arrays as bytes, little-endian, with a digest at the end."""
    forms = {name: [_little(array).dtype.str, list(array.shape)] for name, array in arrays.items()}
    text = json.dumps({**head, "arrays": forms}, sort_keys=True, separators=(",", ":")).encode()
    bodies = [np.ascontiguousarray(_little(arrays[name])).tobytes() for name in sorted(arrays)]
    content = b"".join([_MAGIC, _LENGTH.pack(len(text)), text, *bodies])
    return content + _digest(content)


def unpacked(content: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """The document and the arrays; Damaged where the bytes are not what was written."""
    body, digest = content[:-_DIGEST], content[-_DIGEST:]
    begin = len(_MAGIC) + _LENGTH.size
    if len(body) < begin or not body.startswith(_MAGIC) or _digest(body) != digest:
        raise Damaged(
            f"{len(content):,} bytes are no summary: expected what Holdfast wrote.", hint="Have it written again."
        )
    end = begin + _LENGTH.unpack_from(body, len(_MAGIC))[0]
    try:
        head = json.loads(body[begin:end])
        return head, _arrays(head.pop("arrays"), body, end)
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(
            "The summary is cut, or of another form than Holdfast writes.", hint="Have it written again."
        ) from error


def _arrays(forms: Mapping[str, Any], body: bytes, place: int) -> dict[str, npt.NDArray[Any]]:
    found = {}
    for name in sorted(forms):
        kind, shape = forms[name]
        if kind not in _KINDS:
            raise ValueError(kind)
        array = np.frombuffer(body, np.dtype(kind), int(np.prod(shape)), place).reshape(shape)
        place += array.nbytes
        found[name] = array.astype(array.dtype.newbyteorder("="))
    return found


def _little(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()
