"""Requirements files with exact pins, as `uv pip compile` and `pip freeze` write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from holdfast.environment.pins import MAKE_ONE, Locked, Markers, Pin, add, holds, index_of, left_out, masked, read_text
from holdfast.errors import UserError

_PINNED = re.compile(r"([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*={2,3}\s*([^\s;,*]+)\s*(?:;(.*))?$")
_DIRECT = re.compile(r"([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*@\s*([^\s;]+)\s*(?:;(.*))?$")
_OPTION = re.compile(r"(-[rie])\s*=?\s*(.+)|(--requirement|--index-url|--extra-index-url|--editable)(?:\s+|=)(.+)")


def read_requirements(file: Path, text: str, given: Markers) -> Locked:
    found: dict[str, Pin] = {}
    skipped = _read_requirements(file, text, given, found, [file.resolve()], "index")
    return Locked(str(file), found, None, left_out(skipped))


def _read_requirements(
    file: Path, text: str, given: Markers, found: dict[str, Pin], open_files: list[Path], index: str
) -> int:
    """Add the pins of a file and of those it includes; how many were left out."""
    skipped = 0
    for number, line in _logical_lines(text):
        if line.startswith("-"):
            option = _OPTION.fullmatch(line)
            name, value = (option[1] or option[3], (option[2] or option[4]).strip()) if option else ("", "")
            if name in ("-r", "--requirement"):
                skipped += _included(file, value, given, found, open_files, index)
            elif name in ("-i", "--index-url", "--extra-index-url"):
                index = index_of(value)
            elif name in ("-e", "--editable") and not _is_here(value):
                add(found, *_editable(value, file, number), file)
            continue
        if _is_here(line):
            continue
        name, pin, marker = _requirement(line, index, file, number)
        if holds(marker, given, file):
            add(found, name, pin, file)
        else:
            skipped += 1
    return skipped


def _is_here(place: str) -> bool:
    return place in (".", "./") or place.startswith((".[", "./["))


def _editable(place: str, file: Path, number: int) -> tuple[str, Pin]:
    if "://" in place and not place.startswith("file:"):
        url, _, fragment = place.partition("#")
        egg = re.search(r"(?:^|&)egg=([\w.-]+)", fragment)
        name, pin, _ = _requirement(f"{egg[1] if egg else ''} @ {url}", "index", file, number)
        return name, pin
    place = re.sub(r"\[[^\]]*\]$", "", place)
    return canonicalize_name(Path(place).name), Pin("0", (), f"path:{place}")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) without comments, with continued lines joined."""
    held, start = "", 0
    for number, raw in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        start = start if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        whole = (held + line).strip()
        held = ""
        if whole:
            yield start, whole
    if held.strip():
        yield start, held.strip()


def _requirement(line: str, index: str, file: Path, number: int) -> tuple[str, Pin, str | None]:
    hashes = tuple(sorted(re.findall(r"--hash[=\s](\w+:[0-9a-fA-F]+)", line)))
    bare = re.sub(r"\s--\S+(?:[=\s]\w+:[0-9a-fA-F]+)?", "", " " + line).strip()
    if match := _PINNED.fullmatch(bare):
        return canonicalize_name(match[1]), Pin(match[2], hashes, index), match[3]
    if match := _DIRECT.fullmatch(bare):
        url = masked(match[2])
        if not url.startswith("git+"):
            version = re.search(r"-(\d[\w.!+]*?)(?:-|\.tar|\.zip)", url.rpartition("/")[2])
            return canonicalize_name(match[1]), Pin(version[1] if version else "0", hashes, f"url:{url}"), match[3]
        if reference := re.search(r"://[^/]*/[^@#]*@([^#]+)", url):  # without one it is whatever is there that day
            return canonicalize_name(match[1]), Pin(reference[1], hashes, f"git:{url[4:]}"), match[3]
    raise UserError(
        f"{file}, line {number}: expected an exact pin such as name==1.2.3, found {masked(line)[:80]!r}.",
        hint=MAKE_ONE,
    )


def _included(file: Path, name: str, given: Markers, found: dict[str, Pin], open_files: list[Path], index: str) -> int:
    other = (file.parent / name).resolve()
    if other in open_files:
        raise UserError(f"{file} includes itself through {name}.", hint="Remove the `-r` line.")
    return _read_requirements(other, read_text(other), given, found, [*open_files, other], index)
