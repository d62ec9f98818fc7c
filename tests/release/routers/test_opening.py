"""`release.router` becomes a router, or one sentence that says what to write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.release.routers import DocumentRouter, FileRouter, GatewayRouter, HAProxyRouter, NginxRouter, open_router
from holdfast.release.routers.addresses import by_file, endpoints, parsed
from holdfast.release.routing import Routing
from holdfast.store import open_store


def test_paths_are_relative_to_the_root(tmp_path: Path) -> None:
    file, absolute = open_router("file:a/r.json", tmp_path), open_router("file:/a/r.json", tmp_path)
    assert isinstance(file, FileRouter) and isinstance(absolute, FileRouter)
    assert (file.path, absolute.path) == (tmp_path / "a/r.json", Path("/a/r.json"))


def test_haproxy(tmp_path: Path) -> None:
    (tmp_path / "book.json").write_text(json.dumps({"7": "10.0.0.7:80"}))
    unix = open_router("haproxy:h.sock?addresses=book.json&prefix=search&keep=no", tmp_path)
    assert isinstance(unix, HAProxyRouter)
    assert (unix.runtime.address, unix.prefix, unix.keep) == (str(tmp_path / "h.sock"), "search", False)
    assert unix.address_of("7") == "10.0.0.7:80"
    tcp = open_router("haproxy:tcp://10.0.0.1:9999?address=search-{version}.internal:8080", tmp_path)
    assert isinstance(tcp, HAProxyRouter)
    assert (tcp.runtime.tcp, tcp.keep, tcp.address_of("7")) == (("10.0.0.1", 9999), False, "search-7.internal:8080")


def test_nginx(tmp_path: Path) -> None:
    router = open_router("nginx:n.conf?address=v{version}:80&conf=nginx.conf&nginx=/usr/sbin/nginx", tmp_path)
    assert isinstance(router, NginxRouter)
    assert router.nginx == ("/usr/sbin/nginx", "-c", str(tmp_path / "nginx.conf"))


def test_documents(tmp_path: Path) -> None:
    now = Routing(model="m", epoch=1, champion="1")
    (tmp_path / "t.json").write_text('{"plugins": {}}')
    for url, kind in {
        "kserve:a.yaml?name=s&storage=s3://m/{version}&format=sklearn&namespace=prod": "InferenceService",
        "gateway:a.yaml?name=s&gateway=g&service=v{version}&port=81&hostnames=a.example,b.example": "HTTPRoute",
        "argo:a.yaml?name=s&image=i:{version}&traffic=t.json&replicas=3&port=81": "Rollout",
    }.items():
        router = open_router(url, tmp_path)
        assert isinstance(router, DocumentRouter)
        assert router.document(now)["kind"] == kind


def test_the_gateway_needs_a_store_and_no_place(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    own = open_router("gateway:?token=MY_TOKEN", tmp_path, store=store, model="search")
    assert isinstance(own, GatewayRouter)
    assert (own.store, own.model, own.token) == (store, "search", "MY_TOKEN")
    assert open_router("gateway:", tmp_path, store=store).token == "HOLDFAST_ADMIN_TOKEN"


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("", "not one that Holdfast knows"),
        ("envoy:x", "not one that Holdfast knows"),
        ("haproxy", "not one that Holdfast knows"),
        ("haproxy:", "not one that Holdfast knows"),
        ("memory:x", "not one that Holdfast knows"),
        ("memory:?x=1", "does not know the option x"),
        ("file:x?lease=1", "does not know the option lease"),
        ("haproxy:x", "where versions answer"),
        ("haproxy:x?address=a:1", "must have {version}"),
        ("haproxy:x?address=a{version}:1&addresses=b", "where versions answer"),
        ("haproxy:x?address=a{version}:1&keep=maybe", "must be yes or no"),
        ("haproxy:tcp://h?address=a{version}:1", "host:port"),
        ("haproxy:tcp://h:1?address=a{version}:1&keep=yes", "over TCP"),
        ("haproxy:x?addresses=a&addresses=b", "twice"),
        ("haproxy:x?addresses", "cannot be read"),
        ("kserve:x", "needs the option name"),
        ("kserve:x?name=a&storage=", "needs the option storage"),
        ("gateway:", "needs the project's store"),
        ("gateway:x?name=a&gateway=b&port=x", "must be a whole number"),
        ("argo:x?name=a&image=i:{version}&traffic=none.json", "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_sentence(url: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=match) as caught:
        open_router(url, tmp_path)
    assert "\n" not in str(caught.value)


def test_the_address_book_is_read_anew_each_time(tmp_path: Path) -> None:
    book = by_file(tmp_path / "book.json")
    with pytest.raises(UserError, match="cannot be read"):
        book("1")
    (tmp_path / "book.json").write_text('{"1": "a:1"}')
    assert book("1") == "a:1"
    with pytest.raises(UserError, match="no address for version 2"):
        book("2")
    (tmp_path / "book.json").write_text("[]")
    with pytest.raises(UserError, match="cannot be read"):
        book("1")


def test_addresses() -> None:
    assert (parsed("search-7.internal:80"), parsed("[::1]:80")) == (("search-7.internal", 80), ("::1", 80))
    assert endpoints("127.0.0.1:80") == [("127.0.0.1", 80)]
    with pytest.raises(OutsideError, match="is not known"):
        endpoints("no-such-host.invalid:80")
