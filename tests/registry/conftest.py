from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.registry import Registry, open_registry
from tests.fixtures.registries import fresh_sqlite, mlflow_on_postgres


@pytest.fixture(scope="session")
def server_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow tracking server on a real PostgreSQL, one for all tests."""
    with mlflow_on_postgres(tmp_path_factory.mktemp("server")) as uri:
        yield uri


@pytest.fixture(params=["sqlite", "server"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    """The same contract holds of every real registry."""
    if request.param == "server":
        return open_registry(request.getfixturevalue("server_uri"))
    return open_registry(fresh_sqlite(tmp_path))


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses: the server is shared."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name)
