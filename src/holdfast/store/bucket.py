"""Objects in a bucket: S3, Google Cloud Storage, Azure, or this process's memory, all through obstore."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import MemoryStore, from_url

from holdfast.errors import OutsideError

_TIMEOUT = timedelta(seconds=10)
_CONNECT = timedelta(seconds=4)
_RETRY: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=15)}


class Bucket:
    """A bucket and a prefix in it; `shown` is the URL as it may be printed."""

    def __init__(self, store: Any, shown: str) -> None:
        self._store = store
        self._shown = shown

    def get(self, key: str) -> bytes | None:
        with self._explained("read from"):
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except (NotFoundError, FileNotFoundError):
                return None

    def reader(self, key: str) -> io.RawIOBase:
        """The object as a file of which only what is asked for is transferred; OSError where it cannot be read."""
        return _Reading(self._store, key)

    def put(self, key: str, data: bytes) -> None:
        with self._explained("written to"):
            obstore.put(self._store, key, data, use_multipart=False)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self._explained("written to"):
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def list(self, prefix: str) -> list[str]:
        folder = prefix.rpartition("/")[0]
        with self._explained("listed in"):
            found = [str(meta["path"]) for page in obstore.list(self._store, folder or None) for meta in page]
        return sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        with self._explained("deleted from"), contextlib.suppress(NotFoundError, FileNotFoundError):
            obstore.delete(self._store, key)

    def exists(self, key: str) -> bool:
        with self._explained("read from"):
            try:
                obstore.head(self._store, key)
            except (NotFoundError, FileNotFoundError):
                return False
        return True

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise OutsideError(
                f"the store {self._shown} could not be {doing}: {first_line(error)}.",
                hint="Check its URL, the network and the credentials.",
                reason_code="store_unavailable",
            ) from None


class _Reading(io.RawIOBase):
    """An object, read piece by piece. Whoever reads it is Arrow, which knows errors of the system only."""

    def __init__(self, store: Any, key: str) -> None:
        self._store, self._key, self._at = store, key, 0
        with self._as_os_errors():
            self._size = int(obstore.head(store, key)["size"])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return self._size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        with self._as_os_errors():
            data = bytes(obstore.get_range(self._store, self._key, start=self._at, end=end))
        self._at += len(data)
        return data

    @contextlib.contextmanager
    def _as_os_errors(self) -> Iterator[None]:
        try:
            yield
        except (NotFoundError, FileNotFoundError):
            raise FileNotFoundError(errno.ENOENT, "it is not there", self._key) from None
        except BaseError as error:
            raise OSError(errno.EIO, first_line(error), self._key) from None


def open_bucket(url: str, shown: str) -> Bucket:
    """The bucket at `url`; endpoint and credentials come from the environment, as obstore reads them."""
    if url.startswith("memory:"):
        return Bucket(MemoryStore(), shown)
    options: dict[str, Any] = {}
    client: Any = {"timeout": _TIMEOUT, "connect_timeout": _CONNECT}
    if _is_s3(url):
        options["config"] = {"conditional_put": "etag"}
        if _is_plain_http():
            client["allow_http"] = True
    return Bucket(from_url(url, client_options=client, retry_config=_RETRY, **options), shown)


def foreign_options(url: str) -> dict[str, str]:
    """The same as text, for a library that opens places in the store by itself (delta-rs)."""
    options = {"timeout": f"{_TIMEOUT.seconds}s", "connect_timeout": f"{_CONNECT.seconds}s", "max_retries": "2"}
    if _is_s3(url):
        options["conditional_put"] = "etag"
        if _is_plain_http():
            options["allow_http"] = "true"
    return options


def _is_s3(url: str) -> bool:
    return url.startswith(("s3://", "s3a://"))


def _is_plain_http() -> bool:
    return os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")


def first_line(error: Exception) -> str:
    """The first sentence of an obstore error, which goes on with a debug dump."""
    text = str(error).split("\n\nDebug source", maxsplit=1)[0]
    return " ".join(text.split())[:300].rstrip(".")
