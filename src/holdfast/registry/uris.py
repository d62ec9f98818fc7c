"""What a registry is called: relative paths made absolute, passwords hidden. Pure."""

from __future__ import annotations

import re
from pathlib import Path

_NAMES_OF_THEIR_OWN = {"databricks", "databricks-uc", "uc"}  # MLflow knows them without a scheme


def absolute_uri(uri: str, root: Path) -> str:
    """`uri` with a relative sqlite path or folder taken from `root`."""
    if uri.startswith("sqlite:///") and not uri.startswith(("sqlite:////", "sqlite:///:memory:")):
        return f"sqlite:///{(root / uri.removeprefix('sqlite:///')).absolute()}"
    if "://" in uri or uri.startswith("file:") or uri in _NAMES_OF_THEIR_OWN:
        return uri
    return str((root / uri).absolute())


def without_passwords(text: str) -> str:
    """`text` with `user:password@` of every URI in it replaced by `***@`."""
    return re.sub(r"://[^/\s'\"]*@", "://***@", text)
