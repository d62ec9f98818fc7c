"""Where versions of models are kept and named; MLflow first."""

from __future__ import annotations

from pathlib import Path

from holdfast.registry.mlflow import registry_of
from holdfast.registry.protocol import Registry, Version

__all__ = ["Registry", "Version", "open_registry", "registry_of"]


def open_registry(uri: str, root: str | Path = ".") -> Registry:
    """The registry at an MLflow tracking URI; a relative `sqlite:///` path is relative to `root`."""
    from holdfast.registry.mlflow import open_mlflow

    return open_mlflow(absolute_uri(uri, Path(root)))


def absolute_uri(uri: str, root: Path) -> str:
    """`uri` with a relative sqlite path or folder made absolute."""
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        return f"sqlite:///{(root / uri.removeprefix('sqlite:///')).absolute()}"
    if "://" not in uri and not uri.startswith("file:"):
        return str((root / uri).absolute())
    return uri
