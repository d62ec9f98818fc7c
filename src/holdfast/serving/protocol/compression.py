"""Compressed bodies, undone up to a limit."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from holdfast.serving.protocol._json import shown
from holdfast.serving.served import BadInput

_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # deflate is zlib's format, as RFC 9110 has it


def decoded(body: bytes, headers: Mapping[str, str], limit: int) -> bytes:
    """The body without its Content-Encoding (gzip, deflate or none); never more than `limit` bytes are made of it.

    Raises BadInput for another encoding, damaged data, and what would be longer.
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return body
    window = _WINDOW.get(encoding)
    if window is None:
        raise BadInput(f"The Content-Encoding {shown(encoding)} is not known here; send gzip, deflate, or none.")
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadInput(f"The body is not {encoding}: {error}.") from None
    if len(plain) > limit:
        raise BadInput(f"The body is longer than {limit} bytes without its {encoding}; send fewer rows a request.")
    if not stream.eof or stream.unused_data:
        raise BadInput(f"The {encoding} body is cut short or goes on after its end.")
    return plain
