"""Lock files read: uv.lock, poetry.lock, and requirements with exact pins."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.utils import canonicalize_name

from holdfast.environment.pins import MAKE_ONE, Locked, Markers, Pin, add, holds, index_of, left_out, masked, read_text
from holdfast.environment.requirements_file import read_requirements
from holdfast.errors import UserError

__all__ = ["Locked", "Pin", "locked_file", "read_lock"]

_UV_VERSION, _POETRY_VERSION = 1, 2


def read_lock(path: str | Path, *, markers: Markers | None = None) -> Locked:
    """The packages that a lock file pins where `markers` (PEP 508; default: this interpreter's) hold.

    UserError with one sentence for a file that is not there, not readable, newer than known, or not exact.
    """
    file = Path(path)
    text = read_text(file)
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
        locked = read_requirements(file, text, given)
    if not locked.packages:
        raise UserError(f"{file} pins no package for this platform.", hint=MAKE_ONE)
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


def _toml(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is no TOML: {error}.", hint="Make the lock again.") from None


# --- uv.lock --------------------------------------------------------------------------------------------------------


def _uv(file: Path, document: Mapping[str, Any], given: Markers) -> Locked:
    if document.get("version", 1) > _UV_VERSION:
        raise UserError(f"{file} has version {document['version']}; this Holdfast reads uv.lock version {_UV_VERSION}.")
    packages = _tables(file, document)
    root = next((p for p in packages if _is_project(p)), None)
    wanted = list(_reachable(file, packages, root, given)) if root else [p for p in packages if not _is_project(p)]
    found: dict[str, Pin] = {}
    for package in wanted:
        add(found, canonicalize_name(str(package["name"])), _uv_pin(package), file)
    others = len({p["name"] for p in packages if not _is_project(p)}) - len(found)
    return Locked(str(file), found, document.get("requires-python"), left_out(others))


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
            if holds(need.get("marker"), given, file):
                todo += [(found, frozenset(need.get("extra", []))) for found in _named(packages, need, given, file)]


def _named(
    packages: list[dict[str, Any]], need: Mapping[str, Any], given: Markers, file: Path
) -> Iterable[Mapping[str, Any]]:
    """The package of a dependency; of several forks the one whose version is named, or whose markers hold."""
    same = [p for p in packages if p.get("name") == need.get("name")]
    if "version" in need:
        same = [p for p in same if p.get("version") == need["version"]]
    if len(same) > 1:
        forks = [p for p in same if any(holds(m, given, file) for m in p.get("resolution-markers", [""]))]
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
    return Pin(version, hashes, index_of(str(source.get("registry", ""))) if source.get("registry") else "index")


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
            add(found, canonicalize_name(str(package["name"])), pin, file)
    python = document["metadata"].get("python-versions")
    return Locked(str(file), found, python, left_out(len(packages) - len(found)))


def _poetry_wanted(package: Mapping[str, Any], given: Markers, file: Path) -> bool:
    groups = package.get("groups", [package.get("category", "main")])
    markers = package.get("markers")
    if isinstance(markers, Mapping):
        markers = markers.get("main")
    return "main" in groups and not package.get("optional") and holds(markers, given, file)


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
    return Pin(version, hashes, index_of(url) if url else "index")


def _tables(file: Path, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    packages = document.get("package", [])
    if not isinstance(packages, list) or not all(
        isinstance(p, dict) and isinstance(p.get("name"), str) for p in packages
    ):
        raise UserError(
            f"{file} is no lock file: expected [[package]] tables with a name.", hint="Make the lock again."
        )
    return packages
