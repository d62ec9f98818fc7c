"""One store, on a folder and on S3: whole objects, one winner, content verified."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import Damaged, OutsideError, UserError
from holdfast.store import canonical_json, digest, digest_file, masked, object_key, open_store
from holdfast.store.objects import safe_key

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_keys(any_store_url: str) -> None:
    store = open_store(any_store_url)
    assert store.get("a/b.json") is None
    store.put("a/b.json", b"1")
    store.put("a/b.json", b"2")
    assert (store.get("a/b.json"), store.exists("a/b.json"), store.exists("a")) == (b"2", True, False)
    store.put("a/c", b"3")
    store.put("ab", b"4")
    assert (store.list("a/"), store.list("a"), store.list("zz")) == (["a/b.json", "a/c"], ["a/b.json", "a/c", "ab"], [])
    store.delete("a/c")
    store.delete("a/c")
    assert store.list("a/") == ["a/b.json"]


def test_put_if_absent_keeps_the_first(any_store_url: str) -> None:
    store = open_store(any_store_url)
    assert store.put_if_absent("x/1", b"first") is True
    assert store.put_if_absent("x/1", b"second") is False
    assert store.get("x/1") == b"first"


def race(url: str, key: str, start: multiprocessing.synchronize.Event, won: multiprocessing.Queue) -> None:
    store = open_store(url)
    start.wait()
    won.put(store.put_if_absent(key, str(os.getpid()).encode()))


def test_of_racing_processes_exactly_one_wins(any_store_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    for number in range(3):
        start, won = context.Event(), context.Queue()
        racers = [context.Process(target=race, args=(any_store_url, f"race/{number}", start, won)) for _ in range(4)]
        for racer in racers:
            racer.start()
        start.set()
        results = [won.get(timeout=60) for _ in racers]
        for racer in racers:
            racer.join()
        assert sorted(results) == [False, False, False, True]


def test_objects_are_verified(any_store_url: str, tmp_path: Path) -> None:
    store = open_store(any_store_url)
    name = store.put_object(b"content")
    assert name == digest(b"content") == store.put_object(b"content")
    assert store.get_object(name) == b"content"
    path = store.fetch_object(name, tmp_path / "cache")
    path.write_bytes(b"tampered")
    assert store.fetch_object(name, tmp_path / "cache").read_bytes() == b"content"
    store.put(object_key(name), b"Content")
    with pytest.raises(Damaged, match="was changed"):
        store.get_object(name)
    store.delete(object_key(name))
    with pytest.raises(Damaged, match="has lost"):
        store.get_object(name)


def test_what_stages_remember_is_disposable(any_store_url: str) -> None:
    store = open_store(any_store_url)
    key = digest(b"inputs")
    assert store.recall("train", key) is None
    store.remember("train", key, {"run": 1})
    assert store.recall("train", key) == {"run": 1}
    store.put(store.list("memory/")[0], b"{damaged")
    assert store.recall("train", key) is None


def test_more_than_a_page_of_keys(s3_store_url: str) -> None:
    store = open_store(s3_store_url)
    for number in range(1_050):
        store.put(f"many/{number:05d}", b"")
    assert len(store.list("many/")) == 1_050


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/%2e%2e/b", "..%2fx", "a\\b", "a\0b", "a\nb", "./a", "a/"]
)
def test_hostile_keys_are_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no key"):
        open_store(tmp_path).put(key, b"x")


@given(st.text(max_size=20))
def test_a_safe_key_stays_inside(key: str) -> None:
    root = Path("/store")
    try:
        inside = root / safe_key(key)
    except ValueError:
        return
    assert os.path.normpath(inside) == str(inside)
    assert root in inside.parents


@pytest.mark.parametrize("name", ["", "sha256:", "sha256:" + "g" * 64, "../../etc", "md5:" + "a" * 64])
def test_what_is_no_digest_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        open_store(tmp_path).get_object(name)


def test_a_folder_leaves_nothing_temporary_and_is_private(tmp_path: Path) -> None:
    store = open_store(tmp_path / "new" / "store")
    store.put("a/b", b"1")
    store.put_if_absent("a/b", b"2")
    files = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert files == ["b"]
    assert (tmp_path / "new" / "store" / "a").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutsideError, match="could not be written"):
        open_store(tmp_path / "file").put("a", b"1")


def test_a_read_only_place_is_one_sentence() -> None:
    with pytest.raises(OutsideError, match="could not be written"):
        open_store("/proc/holdfast").put("a", b"1")


FULL = """
import resource, signal, sys
from holdfast.errors import OutsideError
from holdfast.store import open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
store = open_store(sys.argv[1])
store.put("small", b"1")
try:
    store.put("large", b"x" * 5000)
except OutsideError as error:
    print(error)
"""


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "could not be written: File too large" in done.stdout
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["small"]


def test_an_unreachable_endpoint_is_one_sentence_without_secrets(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(OutsideError) as caught:
        open_store("s3://bucket/x").get("a")
    assert "s3://bucket/x" in str(caught.value)
    assert "testing-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_bucket_is_one_sentence(s3_server: str) -> None:
    with pytest.raises(OutsideError, match="could not be written"):
        open_store("s3://no-such-bucket/x").put("a", b"1")


@pytest.mark.parametrize("url", ["ftp://host/x", "http://host/x", "nonsense://a"])
def test_an_unknown_scheme_is_the_users_mistake(url: str) -> None:
    with pytest.raises(UserError, match="unknown scheme"):
        open_store(url)


def test_passwords_are_masked() -> None:
    assert masked("s3://user:secret@bucket/x") == "s3://***@bucket/x"


def test_content(tmp_path: Path) -> None:
    assert canonical_json({"b": 1, "a": [None, "é"]}) == '{"a":[null,"é"],"b":1}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})
    (tmp_path / "f").write_bytes(b"x" * 100_000)
    assert digest_file(tmp_path / "f") == digest(b"x" * 100_000)
    assert json.loads(canonical_json("\ud800".encode("utf-16", "surrogatepass").hex())) is not None
