"""Real model servers, a real HAProxy and a real nginx for the tests of routers."""

from __future__ import annotations

import multiprocessing.util
import tempfile
from collections.abc import Iterator

import pytest

from tests.release.routers.proxies import HAProxy, Nginx, Servers, needs


@pytest.fixture(scope="session", autouse=True)
def temporary_files() -> Iterator[None]:
    """Locks and folders of proxies in one short folder: a unix socket's path has some 100 characters."""
    multiprocessing.util.get_temp_dir()  # made now, where it outlives the folder below
    with tempfile.TemporaryDirectory(prefix="hf-") as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", place)
        yield


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Servers of the versions 1, 2 and 3."""
    found = Servers()
    found.start("1", "2", "3")
    yield found
    found.close()


@pytest.fixture
def haproxy(servers: Servers) -> Iterator[HAProxy]:
    """HAProxy that was told nothing yet: version 1 answers everybody, version 2 is its spare server."""
    with HAProxy(needs("haproxy"), servers) as running:
        yield running


@pytest.fixture
def nginx(servers: Servers) -> Iterator[Nginx]:
    """nginx with everybody at version 1, epoch 0."""
    with Nginx(needs("nginx"), servers) as running:
        yield running
