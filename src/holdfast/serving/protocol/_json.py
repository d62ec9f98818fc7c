"""JSON as these protocols have it: with NaN, Infinity and -Infinity where a client or a model needs them.

RFC 8259 has no such words, but both reference servers (Triton and MLflow) read and write them, and so do the Python clients of
both. The other ways are worse: `null` makes NaN and both infinities one, and some typed clients read it as 0; to refuse would
make an answer fail that the model gave. A strict parser fails loudly on them; binary data has none of this.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from holdfast.serving.served import BadInput, ModelFault

_NON_FINITE = re.compile(rb"NaN|Infinity")
_LONG = re.compile(rb"[\[,: \t\r\n-][0-9]{19}")  # may be beyond 64 bits, where orjson rounds


def loads(body: bytes, *, exact: bool = False) -> Any:
    """The document in `body` (UTF-8). `exact` keeps whole numbers beyond 64 bits. Raises BadInput, whatever `body` is."""
    if exact and _LONG.search(body):
        return _slow(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if _NON_FINITE.search(body):
            return _slow(body)
        raise BadInput(f"The body is not JSON: {error}.") from None


def dumps(document: Any) -> bytes:
    """`document` without non-finite numbers in it; arrays of numbers are lists. Raises ModelFault for what JSON cannot hold."""
    try:
        return orjson.dumps(document, _plain, orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError:  # also keys, 64 bits, surrogates, depth
        return dumps_any(document)


def dumps_any(document: Any) -> bytes:
    """The same, slower, with NaN, Infinity and -Infinity for non-finite numbers."""
    try:
        return json.dumps(document, default=_plain, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFault("nonsense", f"The answer cannot be expressed in JSON: {error}.") from None


def expressible(value: Any) -> None:
    """Raises BadInput where a value of a request could not be written again: nested too deep, or beyond 64 bits."""
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise BadInput(f"A value of the request is out of bounds: {error}.") from None


def shown(value: object) -> str:
    """Something of a client's as a message may hold it: ASCII, and short."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(shown, value))}]" if len(value) < 8 and not _is_nested(value) else "a list"
    text = ascii(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_nested(values: Sequence[Any]) -> bool:
    return any(isinstance(value, (list, dict)) for value in values)


def _slow(body: bytes) -> Any:
    try:
        document = json.loads(body.decode("utf-8"), parse_float=_finite)
        json.dumps(document, ensure_ascii=False).encode()  # finds lone surrogates
    except (ValueError, RecursionError) as error:
        detail = "nested too deep" if isinstance(error, RecursionError) else str(error).split("\n", 1)[0]
        raise BadInput(f"The body is not JSON: {detail[:200]}.") from None
    return document


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is beyond the range of 64-bit floats")
    return number


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return base64.encodebytes(value).decode("ascii")  # with its line ends, as MLflow writes it
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__}")
