"""CSV as pandas reads it by default: a header, then rows whose columns are typed by what they hold."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from holdfast.serving.payload import Payload
from holdfast.serving.protocol.arrays import MOST_CELLS, Array, column, named, objects
from holdfast.serving.served import BadInput

_ABSENT = ["", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "NULL", "null", "None"]
_NOT_A_NUMBER = ["NaN", "nan", "-NaN", "-nan", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"]
_MISSING = frozenset([*_ABSENT, *_NOT_A_NUMBER])
_TRUTHS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,300}\s*", re.ASCII)
_REAL = re.compile(
    r"\s*[+-]?(?:inf|infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)\s*", re.ASCII | re.IGNORECASE
)


def parse(body: bytes) -> Payload:
    """A frame from CSV with a header. Raises BadInput, whatever `body` is."""
    try:
        text = body.decode("utf-8-sig")
        lines = [
            line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line and not _is_blank(line)
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"The body is not CSV in UTF-8: {error}.") from None
    if len(lines) < 2:
        raise BadInput("Expected a header and at least one row of CSV.")
    header, rows = lines[0], lines[1:]
    if max(map(len, rows)) > len(header):
        raise BadInput(f"A row of the CSV has more values than the header's {len(header)} names.")
    if len(header) * len(rows) > MOST_CELLS and sum(map(len, rows)) < len(header) * len(rows):
        raise BadInput("Rows of the CSV are shorter than its header; give every row every value.")
    names = [name or f"Unnamed: {place}" for place, name in enumerate(header)]
    values = list(zip_longest(*rows, fillvalue=""))
    values += [("",) * len(rows)] * (len(names) - len(values))
    return named(names, [_typed(cells) for cells in values])


def _is_blank(line: Sequence[str]) -> bool:
    return len(line) == 1 and not line[0].strip(" \t")


def _typed(cells: Sequence[str]) -> Array:
    given = [cell for cell in cells if cell not in _MISSING]
    if not given:
        return np.full(len(cells), np.nan)
    if all(map(_WHOLE.fullmatch, given)):
        return column([None if cell in _MISSING else int(cell) for cell in cells])
    if all(map(_REAL.fullmatch, given)):
        return column([None if cell in _MISSING else float(cell) for cell in cells])
    if all(cell in _TRUTHS for cell in given):
        return column([_TRUTHS.get(cell) for cell in cells])
    return objects([None if cell in _MISSING else cell for cell in cells])
