"""Whether loading a saved model would unpickle, which runs whatever code the file says.

Found by the model's own description, by file names, and by the first bytes of every file, so that a renamed pickle is
found too. Code that a model brings openly (models from code, `code/`) is the user's code and is not asked about.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

from holdfast.errors import Refused, UserError
from holdfast.models.reference import model_files, read_mlmodel

_SUFFIXES = {
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".cloudpickle": "cloudpickle",
    ".dill": "dill",
    ".joblib": "joblib",
    ".pt": "torch",
    ".pth": "torch",
    ".ckpt": "torch",
}
_MADE_OF_PICKLES = {"pmdarima": "pickle", "statsmodels": "pickle", "dspy": "cloudpickle", "langchain": "pickle"}
# Types whose loading runs no code of the file's choice; MLflow itself lists most of them for LightGBM.
_HARMLESS_TYPES = {
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMModel",
    "lightgbm.sklearn.LGBMRanker",
    "lightgbm.sklearn.LGBMRegressor",
}
_FORMATS = {"pickle", "cloudpickle", "joblib", "dill"}
_COMPRESSED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": lambda head: zlib.decompressobj(wbits=31).decompress(head, 2),
    b"x\x9c": lambda head: zlib.decompressobj().decompress(head, 2),
    b"x\x01": lambda head: zlib.decompressobj().decompress(head, 2),
    b"x^": lambda head: zlib.decompressobj().decompress(head, 2),
    b"x\xda": lambda head: zlib.decompressobj().decompress(head, 2),
    b"BZ": lambda head: bz2.BZ2Decompressor().decompress(head, 2),
    b"\xfd7": lambda head: lzma.LZMADecompressor().decompress(head, 2),
    b"]\x00": lambda head: lzma.LZMADecompressor().decompress(head, 2),
}
_HEAD = 1 << 20


class UnsafeFile(NamedTuple):
    """A file inside a saved model, by its path there, and the loader that would unpickle it."""

    file: str
    loader: str


def unsafe_files(folder: str | Path) -> list[UnsafeFile]:
    """Every file of a saved model that would be unpickled when the model is loaded, sorted by path.

    `loader` is `cloudpickle`, `pickle`, `joblib`, `dill`, `torch`, or `skops` where the model itself says which types
    of its skops file to trust (a crafted file may trust anything; without such a list skops refuses unknown types).
    UserError where the model names a file outside its folder.
    """
    root = Path(folder)
    declared = dict(_declared(read_mlmodel(root).get("flavors") or {}))
    for name in declared:
        if not (root / name).resolve().is_relative_to(root.resolve()):
            raise UserError(f"{root / 'MLmodel'} names the file {name}, which is outside the model's folder.")
    found = []
    for path in model_files(root):
        name = path.relative_to(root).as_posix()
        loader = declared.pop(name, None) or _by_content(path)
        if loader is not None:
            found.append(UnsafeFile(name, loader))
    found += [UnsafeFile(name, loader) for name, loader in declared.items()]
    return sorted(found)


def unsafe_loaders(folder: str | Path) -> list[str]:
    """The loaders that loading this model would use and that run what the file says; empty for a safe model."""
    return sorted({unsafe.loader for unsafe in unsafe_files(folder)})


def check_loaders(folder: str | Path, allow_pickle: Iterable[str], name: str) -> list[str]:
    """The unsafe loaders this model needs, all of them allowed by name; Refused where one is not."""
    allowed = set(allow_pickle)
    needed = unsafe_files(folder)
    for unsafe in needed:
        if unsafe.loader not in allowed:
            wanted = ", ".join(sorted({*allowed, *(other.loader for other in needed)}))
            raise Refused(
                f"loading {name} would run code from its file {unsafe.file} ({unsafe.loader}), and the project "
                "does not allow that.",
                hint=f"If you trust where it comes from, write  model: {{allow_pickle: [{wanted}]}}  in holdfast.yaml.",
                reason_code="pickle_refused",
            )
    return sorted({unsafe.loader for unsafe in needed})


def is_skops(folder: str | Path) -> bool:
    """Whether some flavor of this model is stored in the skops format."""
    flavors = (read_mlmodel(folder).get("flavors") or {}).values()
    return any(isinstance(flavor, dict) and flavor.get("serialization_format") == "skops" for flavor in flavors)


def _declared(flavors: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """(file, loader) as the flavors of an MLmodel file describe them."""
    for name, flavor in flavors.items():
        if not isinstance(flavor, dict):
            continue
        file = next((flavor[k] for k in ("pickled_model", "model_path", "data", "python_model") if flavor.get(k)), name)
        stored = flavor.get("serialization_format")
        if name == "python_function" and flavor.get("python_model") and not flavor.get("model_code_path"):
            yield str(flavor["python_model"]), "cloudpickle"
        if stored in _FORMATS or (name == "sklearn" and stored is None):
            yield str(file), str(stored or "pickle")
        elif stored == "skops" and not set(flavor.get("skops_trusted_types") or ()) <= _HARMLESS_TYPES:
            yield str(file), "skops"
        elif name in _MADE_OF_PICKLES and not flavor.get("model_code_path"):
            yield str(file), _MADE_OF_PICKLES[name]


def _by_content(path: Path) -> str | None:
    """The loader that a file's first bytes or its name betray; None for a file that holds no pickle."""
    named = _SUFFIXES.get(path.suffix.lower())
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if _starts_pickle(head) or _starts_pickle(_unpacked(head)):
        return named or "pickle"
    if head.startswith(b"PK"):
        return _in_archive(path) or named
    return named


def _starts_pickle(head: bytes) -> bool:
    return len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5  # PROTO, and the protocols that write it


def _unpacked(head: bytes) -> bytes:
    unpack = _COMPRESSED.get(head[:2])
    with suppress(OSError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile):
        return unpack(head) if unpack is not None else b""
    return b""


def _in_archive(path: Path) -> str | None:
    """`torch` for an archive with a pickle in it: how torch.save writes."""
    try:
        with ZipFile(path) as archive:
            return "torch" if any(name.endswith(".pkl") for name in archive.namelist()) else None
    except (BadZipFile, OSError):
        return None
