"""Kinds of values that a project declares: durations, sizes, shares, and the base of every part. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_SIZES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(value: Any) -> timedelta:
    """`90s`, `30m`, `24h` or `7d` as a timedelta; ValueError otherwise."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|[smhd])", str(value))
    if match is None:
        raise ValueError("expected a duration such as 250ms, 90s, 30m, 24h or 7d")
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def parse_size(value: Any) -> int:
    """`512KiB`, `16MB` or a number of bytes as bytes; ValueError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]i?B|B)", str(value))
    if match is None:
        raise ValueError("expected a size such as 512KiB or 16MB")
    return int(float(match[1]) * _SIZES[match[2]])


def listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
ByteSize = Annotated[int, BeforeValidator(parse_size)]
Share = Annotated[float, Field(ge=0, le=1)]
Names = Annotated[list[str], BeforeValidator(listed)]
Confidence = Annotated[float, Field(gt=0.5, lt=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
