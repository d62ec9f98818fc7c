"""Lock files read: uv.lock, poetry.lock, and requirements with exact pins. What they pin, with hashes and sources."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.markers import InvalidMarker, Marker, default_environment
from packaging.utils import canonicalize_name

from holdfast.errors import UserError

Markers = Mapping[str, str]
_PUBLIC = re.compile(r"https?://pypi\.\w+(?:/|$)")  # the public index; every other one is named in the pin
_LARGEST = 50_000_000  # bytes
_UV_VERSION, _POETRY_VERSION = 1, 2
_MAKE_ONE = "Make a lock with `uv pip compile --generate-hashes requirements.in -o requirements.lock`."


@dataclass(frozen=True)
class Pin:
    """One package: its version, `sha256:…` hashes, and where it comes from.

    `source` is `index`, `index:URL` for another one than the public default, `git:URL@COMMIT`, `url:URL` or `path:PATH`.
    """

    version: str
    hashes: tuple[str, ...] = ()
    source: str = "index"


@dataclass(frozen=True)
class Locked:
    """What a lock file says for this platform: package (by its PEP 503 name) → pin."""

    name: str
    packages: Mapping[str, Pin]
    python: str | None = None
    notices: tuple[str, ...] = field(default=())


def read_lock(path: str | Path, *, markers: Markers | None = None) -> Locked:
    """The packages that a lock file pins where `markers` (PEP 508; default: this interpreter's) hold.

    UserError with one sentence for a file that is not there, not readable, newer than known, or not exact.
    """
    file = Path(path)
    text = _text(file)
    given: dict[str, str] = {**_here(), "extra": "", **(markers or {})}
    if file.name.endswith(("uv.lock", "poetry.lock")) or re.search(r"(?m)^\[\[package\]\]", text):
        document = _toml(file, text)
        try:
            is_poetry = "lock-version" in document.get("metadata", {})
            locked = _poetry(file, document, given) if is_poetry else _uv(file, document, given)
        except (AttributeError, KeyError, TypeError):
            raise UserError(
                f"{file} is no lock file: a table of it is not of the expected form.", hint="Make the lock again."
            ) from None
    else:
        locked = _requirements(file, text, given)
    if not locked.packages:
        raise UserError(f"{file} pins no package for this platform.", hint=_MAKE_ONE)
    return locked


def _here() -> dict[str, str]:
    return {name: str(value) for name, value in default_environment().items()}


def locked_file(root: Path) -> Path | None:
    """The lock file of a project: uv.lock, poetry.lock, requirements.lock, or requirements.txt if it is exact."""
    for name in ("uv.lock", "poetry.lock", "requirements.lock", "requirements.txt"):
        if (root / name).is_file():
            if name == "requirements.txt":
                try:
                    read_lock(root / name)
                except UserError:
                    continue
            return root / name
    return None


def masked(url: str) -> str:
    """A URL without the password or token that it may hold."""
    return re.sub(r"(\w+://)[^/\s]+@", r"\1***@", url)


def _text(file: Path) -> str:
    if not file.is_file():
        raise UserError(f"there is no lock file {file}.", hint=_MAKE_ONE)
    if file.stat().st_size > _LARGEST:
        raise UserError(f"{file} is larger than any lock file: {file.stat().st_size:,} bytes.")
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text: expected UTF-8, found other bytes at {error.start}.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from None


def _toml(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is no TOML: {error}.", hint="Make the lock again.") from None


def _holds(marker: str | None, given: Markers, file: Path) -> bool:
    if not marker:
        return True
    try:
        found: bool = Marker(marker).evaluate(dict(given))
        return found
    except (InvalidMarker, KeyError, ValueError, NameError):
        raise UserError(
            f"{file} has a marker that cannot be read: {marker[:120]!r}.", hint="Make the lock again."
        ) from None


def _add(found: dict[str, Pin], name: str, pin: Pin, file: Path) -> None:
    before = found.get(name)
    if before is not None and before.version != pin.version:
        raise UserError(
            f"{file} pins {name} twice: {before.version} and {pin.version}.", hint="Keep one, or make the lock again."
        )
    found[name] = pin


def _index(url: str) -> str:
    return "index" if _PUBLIC.match(url) else f"index:{masked(url)}"


# --- uv.lock --------------------------------------------------------------------------------------------------------


def _uv(file: Path, document: Mapping[str, Any], given: Markers) -> Locked:
    if document.get("version", 1) > _UV_VERSION:
        raise UserError(f"{file} has version {document['version']}; this Holdfast reads uv.lock version {_UV_VERSION}.")
    packages = _tables(file, document)
    root = next((p for p in packages if _is_project(p)), None)
    wanted = list(_reachable(file, packages, root, given)) if root else [p for p in packages if not _is_project(p)]
    found: dict[str, Pin] = {}
    for package in wanted:
        _add(found, canonicalize_name(str(package["name"])), _uv_pin(package), file)
    left_out = len({p["name"] for p in packages if not _is_project(p)}) - len(found)
    return Locked(str(file), found, document.get("requires-python"), _left_out(left_out))


def _is_project(package: Mapping[str, Any]) -> bool:
    source = package.get("source", {})
    return "." in (source.get("virtual"), source.get("editable"))


def _reachable(
    file: Path, packages: list[dict[str, Any]], root: Mapping[str, Any], given: Markers
) -> Iterator[Mapping[str, Any]]:
    """Every package that the project needs here, by dependencies whose markers hold; extras are followed."""
    todo = [(root, frozenset[str]())]
    seen: set[tuple[int, frozenset[str]]] = set()
    while todo:
        package, extras = todo.pop()
        if (id(package), extras) in seen:
            continue
        if package is not root and not any(key[0] == id(package) for key in seen):
            yield package
        seen.add((id(package), extras))
        optional = package.get("optional-dependencies", {})
        needs = [*package.get("dependencies", []), *(d for extra in extras for d in optional.get(extra, []))]
        for need in needs:
            if _holds(need.get("marker"), given, file):
                todo += [(found, frozenset(need.get("extra", []))) for found in _named(packages, need, given, file)]


def _named(
    packages: list[dict[str, Any]], need: Mapping[str, Any], given: Markers, file: Path
) -> Iterable[Mapping[str, Any]]:
    """The package of a dependency; of several forks the one whose version is named, or whose markers hold."""
    same = [p for p in packages if p.get("name") == need.get("name")]
    if "version" in need:
        same = [p for p in same if p.get("version") == need["version"]]
    if len(same) > 1:
        forks = [p for p in same if any(_holds(m, given, file) for m in p.get("resolution-markers", [""]))]
        same = forks[:1] or same[:1]
    return same


def _uv_pin(package: Mapping[str, Any]) -> Pin:
    source = package.get("source", {})
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    hashes = tuple(sorted({f["hash"] for f in files if "hash" in f}))
    version = str(package.get("version", "0"))
    if "git" in source:
        url, _, commit = str(source["git"]).partition("#")
        return Pin(version, (), f"git:{masked(url.partition('?')[0])}@{commit}")
    if "url" in source:
        return Pin(version, hashes, f"url:{masked(source['url'])}")
    for kind in ("path", "directory", "editable", "virtual"):
        if kind in source:
            return Pin(version, (), f"path:{source[kind]}")
    return Pin(version, hashes, _index(str(source.get("registry", ""))) if source.get("registry") else "index")


# --- poetry.lock ----------------------------------------------------------------------------------------------------


def _poetry(file: Path, document: Mapping[str, Any], given: Markers) -> Locked:
    version = str(document["metadata"]["lock-version"])
    if not version.partition(".")[0].isdigit() or int(version.partition(".")[0]) > _POETRY_VERSION:
        raise UserError(
            f"{file} has lock-version {version}; this Holdfast reads poetry.lock up to {_POETRY_VERSION}.x."
        )
    packages = _tables(file, document)
    files = document["metadata"].get("files", {})  # before lock-version 2 they stood here, by package
    found: dict[str, Pin] = {}
    for package in packages:
        if _poetry_wanted(package, given, file):
            pin = _poetry_pin({"files": files.get(package["name"], []), **package})
            _add(found, canonicalize_name(str(package["name"])), pin, file)
    python = document["metadata"].get("python-versions")
    return Locked(str(file), found, python, _left_out(len(packages) - len(found)))


def _poetry_wanted(package: Mapping[str, Any], given: Markers, file: Path) -> bool:
    groups = package.get("groups", [package.get("category", "main")])
    markers = package.get("markers")
    if isinstance(markers, Mapping):
        markers = markers.get("main")
    return "main" in groups and not package.get("optional") and _holds(markers, given, file)


def _poetry_pin(package: Mapping[str, Any]) -> Pin:
    source = package.get("source", {})
    version, url = str(package["version"]), masked(str(source.get("url", "")))
    hashes = tuple(sorted({f["hash"] for f in package.get("files", []) if "hash" in f}))
    kind = source.get("type")
    if kind == "git":
        return Pin(version, (), f"git:{url}@{source.get('resolved_reference', source.get('reference', ''))}")
    if kind in ("directory", "file"):
        return Pin(version, (), f"path:{url}")
    if kind == "url":
        return Pin(version, hashes, f"url:{url}")
    return Pin(version, hashes, _index(url) if url else "index")


def _tables(file: Path, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    packages = document.get("package", [])
    if not isinstance(packages, list) or not all(
        isinstance(p, dict) and isinstance(p.get("name"), str) for p in packages
    ):
        raise UserError(
            f"{file} is no lock file: expected [[package]] tables with a name.", hint="Make the lock again."
        )
    return packages


def _left_out(count: int) -> tuple[str, ...]:
    return (
        (f"{count} packages of the lock are for other platforms, groups or extras and were left out.",)
        if count > 0
        else ()
    )


# --- requirements ---------------------------------------------------------------------------------------------------

_PINNED = re.compile(r"([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*={2,3}\s*([^\s;,*]+)\s*(?:;(.*))?$")
_DIRECT = re.compile(r"([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*@\s*([^\s;]+)\s*(?:;(.*))?$")
_OPTION = re.compile(r"(-[rie])\s*=?\s*(.+)|(--requirement|--index-url|--extra-index-url|--editable)(?:\s+|=)(.+)")


def _requirements(file: Path, text: str, given: Markers) -> Locked:
    found: dict[str, Pin] = {}
    skipped = _read_requirements(file, text, given, found, [file.resolve()], "index")
    return Locked(str(file), found, None, _left_out(skipped))


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
                index = _index(value)
            elif name in ("-e", "--editable") and not _is_here(value):
                _add(found, *_editable(value, file, number), file)
            continue
        if _is_here(line):
            continue
        name, pin, marker = _requirement(line, index, file, number)
        if _holds(marker, given, file):
            _add(found, name, pin, file)
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
        hint=_MAKE_ONE,
    )


def _included(file: Path, name: str, given: Markers, found: dict[str, Pin], open_files: list[Path], index: str) -> int:
    other = (file.parent / name).resolve()
    if other in open_files:
        raise UserError(f"{file} includes itself through {name}.", hint="Remove the `-r` line.")
    return _read_requirements(other, _text(other), given, found, [*open_files, other], index)
