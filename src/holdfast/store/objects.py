"""One URL for all state: keys that are written once or over, and objects named by the hash of their content."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from holdfast.errors import Damaged, OutsideError, UserError
from holdfast.store.backend import Backend, Folder
from holdfast.store.content import canonical_json, digest, digest_file, hex_of

_BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "azure", "adl", "abfs", "abfss", "memory"}


class Store:
    """State under one URL.

    Every method raises OutsideError, with one sentence that names the URL, where the place cannot be reached or written;
    a key that could lead outside is a ValueError.
    """

    def __init__(self, backend: Backend, url: str, address: str | None = None) -> None:
        self._backend = backend
        self.url = url
        self._address = url if address is None else address

    def get(self, key: str) -> bytes | None:
        """What is stored under `key`; None where there is nothing."""
        with self._explained("read"):
            return self._backend.get(safe_key(key))

    def put(self, key: str, data: bytes) -> None:
        """Write `data`, over what may be there. Durable on return."""
        with self._explained("written"):
            self._backend.put(safe_key(key), data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` unless there is something; True for exactly one of any number of racing writers."""
        with self._explained("written"):
            return self._backend.put_if_absent(safe_key(key), data)

    def list(self, prefix: str = "") -> list[str]:
        """The keys that begin with `prefix`, sorted."""
        with self._explained("read"):
            return self._backend.list(prefix)

    def delete(self, key: str) -> None:
        """Remove `key`; nothing happens where there is nothing."""
        with self._explained("written"):
            self._backend.delete(safe_key(key))

    def exists(self, key: str) -> bool:
        """Whether something is stored under `key`."""
        with self._explained("read"):
            return self._backend.exists(safe_key(key))

    def place(self, key: str) -> str:
        """Where other libraries find `key`: the path of a file or folder, or a URL."""
        if isinstance(self._backend, Folder):
            return str(self._backend.root / safe_key(key))
        return f"{self._address.rstrip('/')}/{safe_key(key)}"

    def source(self, key: str) -> Path | io.RawIOBase:
        """What a library that reads files by pieces is given for `key`: a path, or a file open for reading (OSError)."""
        if isinstance(self._backend, Folder):
            return self._backend.root / safe_key(key)
        return self._backend.reader(safe_key(key))

    def clean(self, prefix: str, older_than: timedelta) -> None:
        """Delete what writers that died left half-written below the folder `prefix`; buckets show no such thing."""
        if isinstance(self._backend, Folder):
            with self._explained("written"):
                self._backend.clean(safe_key(prefix), older_than)

    def put_object(self, data: bytes) -> str:
        """Store some content and return its name, `sha256:…`; storing it again changes nothing."""
        name = digest(data)
        key = object_key(name)
        if self.get(key) != data:
            self.put(key, data)
        return name

    def put_file(self, path: str | Path) -> str:
        """`put_object` of a file's content."""
        return self.put_object(Path(path).read_bytes())

    def get_object(self, name: str) -> bytes:
        """The content called `name`, verified; Damaged where it is missing or is not what its name says."""
        data = self.get(object_key(name))
        if data is None:
            raise Damaged(f"the store {self.url} has lost {name}.", reason_code="missing_object")
        if digest(data) != name:
            raise Damaged(f"{name} in the store {self.url} was changed: its content is {digest(data)}.")
        return data

    def fetch_object(self, name: str, folder: str | Path) -> Path:
        """The content called `name` as a file in `folder`, verified whether it was there already or not."""
        path = Path(folder) / hex_of(name)
        if path.is_file() and digest_file(path) == name:
            return path
        data = self.get_object(name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
        return path

    def remember(self, stage: str, key: str, document: Mapping[str, Any]) -> None:
        """Keep what a stage gave for the inputs `key`; losing it costs time, never correctness."""
        self.put(_memory_key(stage, key), canonical_json(dict(document)))

    def recall(self, stage: str, key: str) -> dict[str, Any] | None:
        """What `remember` kept; None where it is lost or unreadable."""
        data = self.get(_memory_key(stage, key))
        try:
            document = json.loads(data) if data is not None else None
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutsideError(
                f"the store {self.url} could not be {doing}: {error.strerror or error}.",
                hint="Check that the folder exists, is writable and has room.",
                reason_code="store_unavailable",
            ) from None


def open_store(url: str | Path) -> Store:
    """The store at `url`: a folder, `file://…`, `s3://bucket/prefix`, `gs://…`, `az://…`; UserError for another scheme.

    Credentials and endpoints come from the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …). Nothing is written.
    """
    text = str(url)
    scheme = text.partition("://")[0].lower() if "://" in text else "file"
    if scheme == "file":
        path = Path(unquote(urlsplit(text).path)) if "://" in text else Path(text)
        return Store(Folder(path.expanduser().absolute()), text)
    if scheme not in _BUCKETS:
        raise UserError(
            f"the store {masked(text)} has the unknown scheme {scheme}://.",
            hint="Expected a folder, s3://, gs:// or az://.",
        )
    from obstore.exceptions import BaseError

    from holdfast.store.bucket import first_line, open_bucket

    try:
        return Store(open_bucket(text, masked(text)), masked(text), text)
    except (BaseError, ValueError, TypeError) as error:
        raise UserError(f"the store {masked(text)} cannot be opened: {first_line(error)}.") from None


def masked(url: str) -> str:
    """`url` without the password or token that it may hold."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))


def safe_key(key: str) -> str:
    """`key` if it is a plain relative path; ValueError if it could lead anywhere else, decoded or not."""
    plain = unquote(key)
    path = PurePosixPath(plain)
    unsafe = (
        not path.parts
        or path.is_absolute()
        or ".." in path.parts
        or "\\" in plain
        or "\0" in plain
        or str(path) != plain
    )
    if not key or unsafe or re.search(r"[\x00-\x1f]", plain):
        raise ValueError(f"{key[:80]!r} is no key of a store: expected a plain relative path")
    return key


def object_key(name: str) -> str:
    """Where the content called `name` is kept; ValueError for what is no digest."""
    text = hex_of(name)
    return f"objects/sha256/{text[:2]}/{text}"


def _memory_key(stage: str, key: str) -> str:
    return f"memory/{stage}/{key.removeprefix('sha256:')}.json"
