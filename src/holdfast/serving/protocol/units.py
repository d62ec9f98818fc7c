"""Headers of a request that name its unit or its variant, and those of its answer that say what happened.

Headers are a dict of lower-case name → value, each byte of the value one character (latin-1), as HTTP has them; a unit in it is
UTF-8. All of it is hostile until it is proven otherwise: what is not a plain short text raises BadInput.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from holdfast.serving.protocol._json import shown
from holdfast.serving.served import BadInput

UNIT = "x-holdfast-unit"
VARIANT = "x-holdfast-variant"
LONGEST_UNIT = 256  # bytes of UTF-8

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def unit_of(headers: Mapping[str, str], from_body: str | None = None) -> str | None:
    """The unit that header and body name; None where neither does. Both and different is a mistake: BadInput."""
    header = _text(headers.get(UNIT))
    if header and from_body and header != from_body:
        raise BadInput(
            f"The header {UNIT} and parameters.unit name different units; send one of them, or the same twice."
        )
    unit = header or from_body
    if not unit:
        return None
    if len(unit) * 4 > LONGEST_UNIT and len(unit.encode("utf-8", "surrogatepass")) > LONGEST_UNIT:
        raise BadInput(
            f"The unit is longer than {LONGEST_UNIT} bytes of UTF-8; send an id, or a digest of what identifies it."
        )
    if _UNPRINTABLE.search(unit):
        raise BadInput(f"The unit has a control character in it: {shown(unit)}; send an id of printable characters.")
    return unit


def override_of(headers: Mapping[str, str]) -> Literal["champion", "canary"] | None:
    """The variant that a tester asks for; None where the header is absent or empty."""
    wanted = headers.get(VARIANT, "").strip(" \t")
    if not wanted:
        return None
    if wanted == "champion":
        return "champion"
    if wanted == "canary":
        return "canary"
    raise BadInput(f"The header {VARIANT} is champion or canary, not {shown(wanted)}.")


def answer_headers(prediction_id: str, variant: str, version: str) -> list[tuple[bytes, bytes]]:
    """What an answer says of itself. Nothing in the values can end the header or begin another one."""
    return [
        (b"x-holdfast-prediction-id", prediction_id.encode("unicode_escape")),
        (b"x-holdfast-variant", variant.encode("unicode_escape")),
        (b"x-holdfast-version", version.encode("unicode_escape")),
    ]


def _text(value: str | None) -> str | None:
    if not value or value.isascii():
        return value and value.strip(" \t")
    try:
        return value.encode("latin-1").decode("utf-8").strip(" \t")
    except UnicodeError:
        raise BadInput(f"The header {UNIT} is not UTF-8; send the unit as UTF-8, or as ASCII.") from None
