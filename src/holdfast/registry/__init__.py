"""Where versions of models are kept and named; MLflow first."""

from __future__ import annotations

from pathlib import Path

from holdfast.registry.mlflow import open_mlflow, registry_of
from holdfast.registry.protocol import Registry, Version
from holdfast.registry.uris import absolute_uri, without_passwords

__all__ = ["Registry", "Version", "absolute_uri", "open_registry", "registry_of", "without_passwords"]


def open_registry(uri: str, root: str | Path = ".") -> Registry:
    """The registry at an MLflow tracking URI; a relative `sqlite:///` path is relative to `root`.

    Raises UserError where mlflow is not installed, OutsideError (within seconds) where the registry does not answer.
    """
    return open_mlflow(absolute_uri(uri, Path(root)))
