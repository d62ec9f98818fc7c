"""Content is its name: canonical JSON and SHA-256 digests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIX = "sha256:"


def canonical_json(document: Any) -> bytes:
    """`document` as UTF-8 JSON with sorted keys and no spaces; ValueError for NaN, TypeError for what is no JSON."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", errors="surrogatepass")


def known_fields(cls: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    """What `document` holds of the dataclass `cls`; fields of later releases of Holdfast are left out."""
    names = {field.name for field in dataclasses.fields(cls)}
    return {name: value for name, value in document.items() if name in names}


def digest(data: bytes) -> str:
    """`sha256:<hex>` of some bytes."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def digest_file(path: str | Path) -> str:
    """`sha256:<hex>` of a file's bytes, read in pieces."""
    with Path(path).open("rb") as file:
        return PREFIX + hashlib.file_digest(file, "sha256").hexdigest()


def hex_of(found: str) -> str:
    """The 64 hexadecimal digits of a digest; ValueError for anything else."""
    text = found.removeprefix(PREFIX)
    if not found.startswith(PREFIX) or len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"expected sha256: and 64 hexadecimal digits, found {found[:80]!r}")
    return text
