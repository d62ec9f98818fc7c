"""What changed between two environments, in the order in which it is likely to matter to features. Pure but for one scan."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from holdfast.environment.fingerprint import Fingerprint, difference
from holdfast.environment.locks import Locked

_FILES = 2_000  # Python files of a project that are read for their imports
_SKIPPED = {".venv", "venv", ".git", ".holdfast", "node_modules", "__pycache__", "build", "dist", "demo"}

# What packages do, for those whose results reach features; the rest serves, stores, logs or tests.
_TEXT = (
    "nltk spacy rapidfuzz regex tokenizers sentencepiece transformers tiktoken unidecode ftfy jieba textblob gensim icu"
)
_NUMBERS = "numpy pandas scipy polars pyarrow duckdb dask numba xarray statsmodels category-encoders feature-engine pytz tzdata"
_MODELS = "scikit-learn lightgbm xgboost catboost torch tensorflow keras jax onnxruntime sentence-transformers implicit"
KINDS = dict.fromkeys(_TEXT.split(), "text")
KINDS |= dict.fromkeys(_NUMBERS.split(), "numbers") | dict.fromkeys(_MODELS.split(), "models")
WEIGHTS = (10.0, 10.0, 3.0, 1.0)  # odds by rank: Python and Unicode, imported, known to reach features, the rest
_IMPORTED_AS = {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
}


@dataclass(frozen=True)
class Moved:
    """One difference: a package (or `python`, `unicode`), its version before and after, and why it may matter."""

    package: str
    old: str | None
    new: str | None
    why: str = ""
    weight: float = 1.0  # the odds that it matters, beside those of the others

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.package} {self.new} added"
        return f"{self.package} {self.old} removed" if self.new is None else f"{self.package} {self.old} → {self.new}"

    def to_json(self) -> dict[str, Any]:
        """For `--json` and for reports."""
        return {name: value for name, value in asdict(self).items() if name != "weight"}


def moved(a: Fingerprint | Locked, b: Fingerprint | Locked) -> list[Moved]:
    """What changed from `a` to `b`, by name; of two fingerprints content too, else versions only."""
    if isinstance(a, Fingerprint) and isinstance(b, Fingerprint):
        return [Moved(change.package, change.old, change.new) for change in difference(a, b)]
    old, new = versions(a), versions(b)
    return [
        Moved(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def versions(environment: Fingerprint | Locked) -> dict[str, str]:
    """Package → version, without the tools that a fingerprint leaves out."""
    if isinstance(environment, Fingerprint):
        return {name: str(package[0]) for name, package in environment.hashed["packages"].items()}
    from holdfast.environment.probe import TOOLS

    return {name: pin.version for name, pin in environment.packages.items() if name not in TOOLS}


def by_relevance(changes: Iterable[Moved], imported: set[str]) -> list[Moved]:
    """Sorted by what is likely to change a feature: Python and Unicode, what the project imports, text, numbers, models,
    then the size of the step; each with the reason.
    """
    explained = [_explained(change, imported) for change in changes]
    return [change for _, change in sorted(explained, key=lambda item: item[0])]


def _explained(change: Moved, imported: set[str]) -> tuple[tuple[int, int, int, str], Moved]:
    kind = KINDS.get(change.package, "")
    step = step_of(change.old, change.new)
    if change.package in ("python", "unicode"):
        rank, why = 0, "every text and number goes through it"
    elif change.package in imported:
        rank, why = 1, f"the project imports it{'; ' + kind if kind else ''}"
    else:
        rank, why = (2, kind) if kind else (3, "")
    size = {"added": 1, "removed": 0, "major": 0, "minor": 2, "patch": 3, "content": 4}[step]
    kinds = ["text", "numbers", "models", ""]
    why = ", ".join(filter(None, [why, f"{step} step" if step in ("major", "minor", "patch") else step]))
    key = (rank, kinds.index(kind), size, change.package)
    weight = WEIGHTS[rank] * (2 if rank == 1 and kind == "text" else 1)
    return key, Moved(change.package, change.old, change.new, why, weight)


def step_of(old: str | None, new: str | None) -> str:
    """`major`, `minor`, `patch`, `added`, `removed`, or `content` where the version is the same."""
    if old is None or new is None:
        return "added" if old is None else "removed"
    before, after = old.partition(" ")[0], new.partition(" ")[0]
    one, two = (re.findall(r"\d+", version)[:3] for version in (before, after))
    for name, a, b in zip(("major", "minor", "patch"), one, two, strict=False):
        if a != b:
            return name
    return "content" if before == after else "patch"


def imported_packages(root: Path) -> set[str]:
    """The packages that the project's own Python files import, by normal name (as far as names agree)."""
    found: set[str] = set()
    for path in islice(_python_files(root), _FILES):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the user's code, such as "\d"
                tree = ast.parse(path.read_bytes())  # bytes: a byte order mark or a coding line is understood
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return {re.sub(r"[-_.]+", "-", _IMPORTED_AS.get(name, name)).lower() for name in found}


def _python_files(root: Path) -> Iterable[Path]:
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path.is_dir() and path.name not in _SKIPPED and not path.is_symlink():
            yield from _python_files(path)
        elif path.suffix == ".py":
            yield path


def host_changes(a: Fingerprint, b: Fingerprint) -> list[tuple[str, str, str]]:
    """Host facts that differ: (name, there, here); they are compared, not hashed."""
    old, new = _flat(a.host), _flat(b.host)
    return [
        (n, old.get(n, "unset"), new.get(n, "unset"))
        for n in sorted(old.keys() | new.keys())
        if old.get(n) != new.get(n)
    ]


def _flat(host: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in host.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return flat
