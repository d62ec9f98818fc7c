"""What must never be printed: passwords in URLs, and values of the environment whose names say that they are secret."""

from __future__ import annotations

import re

_NAMES = re.compile(r"PASS|PWD|TOKEN|SECRET|KEY|CREDENTIAL|AUTH", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")

_known: set[str] = set()


def remember(name: str, value: str) -> None:
    """Keep a value of the environment out of everything this process prints, if its name says so or it holds a password."""
    if len(value) > 3 and (_NAMES.search(name) or _URL_PASSWORD.search(value)):
        _known.add(value)


def mask(text: str) -> str:
    """`text` without known secrets and without passwords in URLs."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _URL_PASSWORD.sub(r"\1:***@", text)
