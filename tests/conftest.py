"""Stores for every test: a folder, and a bucket of a real S3 server (moto's)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

BUCKET = "holdfast-tests"
LONGEST = (  # begin first, so that no core waits at the end
    "tests/test_incident.py",
    "examples/flight_delays/",
    "tests/cli/",
    "tests/release/test_",
    "tests/snapshots/",
    "tests/environment/",
    "tests/registry/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of `testpaths` would do, but pytest sorts paths of which one holds another."""
    items.sort(key=lambda item: next((n for n, start in enumerate(LONGEST) if item.nodeid.startswith(start)), 99))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """moto's server with an empty bucket; its URL and credentials stand in the environment, as a user would set them."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    given = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket=BUCKET)
    yield url
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    server.stop()


@pytest.fixture
def s3_store_url(s3_server: str) -> str:
    """An empty place in the bucket."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture(params=["folder", "s3"])
def any_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, then a place in the bucket."""
    if request.param == "folder":
        return str(tmp_path / "store")
    return str(request.getfixturevalue("s3_store_url"))
