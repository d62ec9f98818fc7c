"""Tell replicas to look at the ledger now. A courtesy: one that does not answer looks by itself a moment later."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

SECONDS = 1.0


def nudge(urls: Iterable[str], token: str) -> int:
    """POST to `/routing` under each admin URL, all at once; how many have agreed within a second. Raises nothing."""
    agreed: list[str] = []

    def ask(url: str) -> None:
        with contextlib.suppress(OSError, HTTPException, ValueError):
            if _posted(url, token):
                agreed.append(url)

    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    until = time.monotonic() + SECONDS
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))
    return len(agreed)


def _posted(url: str, token: str) -> bool:
    parts = urlsplit(url)
    kinds = {"http": HTTPConnection, "https": HTTPSConnection}
    if parts.scheme not in kinds or parts.hostname is None:
        return False
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=SECONDS)
    with contextlib.closing(connection):
        headers = {"authorization": f"Bearer {token}", "content-length": "0"}
        connection.request("POST", f"{parts.path.rstrip('/')}/routing", headers=headers)
        status: int = connection.getresponse().status
        return 200 <= status < 300
