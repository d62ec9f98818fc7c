"""Structured logs: one JSON object a line on stderr. No unit ids, no inputs and no bodies are put into them."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, TextIO

_OF_LOGGING = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
MOST = 20  # lines a second with the same message


class JsonLines(logging.Formatter):
    """The event's message, and what `extra` says of it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OF_LOGGING}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Seldom(logging.Filter):
    """Lets `MOST` lines a second of each message through and counts the rest: a broken model fails at every request."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._seen: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        second = int(record.created)
        if second != self._second:
            self._second, self._seen = second, {}
        count = self._seen[record.msg] = self._seen.get(record.msg, 0) + 1
        if count == MOST:
            record.suppressed = "more of these within this second are left out"
        return count <= MOST


def configure(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Have all of Holdfast's serving tell what happens on `stream` (stderr)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(Seldom())
    for name in ("holdfast.serving", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level if name != "uvicorn" else logging.WARNING)
