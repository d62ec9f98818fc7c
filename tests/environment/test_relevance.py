"""Changes in the order in which they are likely to matter."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.environment import Fingerprint
from holdfast.environment.locks import Locked, Pin
from holdfast.environment.relevance import Moved, by_relevance, host_changes, imported_packages, moved, step_of


def test_the_order() -> None:
    changes = [
        Moved("zipp", "1.0", "2.0"),
        Moved("urllib3", "1.0.0", "1.0.1"),
        Moved("numpy", "2.0", "2.1"),
        Moved("nltk", "3.8", "3.9"),
        Moved("mine", "1", "2"),
        Moved("python", "3.11", "3.12"),
    ]
    found = by_relevance(changes, {"nltk", "mine"})
    assert [change.package for change in found] == ["python", "nltk", "mine", "numpy", "zipp", "urllib3"]
    assert found[1].why == "the project imports it; text, minor step"
    assert found[1].weight > found[3].weight > found[4].weight


def test_the_order_within_a_kind_is_the_size_of_the_step() -> None:
    changes = [
        Moved("content", "1 (sha256:a)", "1 (sha256:b)"),
        Moved("patch", "1.0.0", "1.0.1"),
        Moved("minor", "1.0", "1.1"),
        Moved("added", None, "1"),
        Moved("removed", "1", None),
        Moved("major", "1.0", "2.0"),
        Moved("torch", "1.0.0", "1.0.1"),
        Moved("spacy", "1.0.0", "1.0.1"),
        Moved("unicode", "14", "15"),
    ]
    found = by_relevance(changes, set())
    expected = ["unicode", "spacy", "torch", "major", "removed", "added", "minor", "patch", "content"]
    assert [change.package for change in found] == expected
    assert [change.why for change in found[1:6]] == [
        "text, patch step",
        "models, patch step",
        "major step",
        "removed",
        "added",
    ]


@given(st.permutations([Moved(name, "1", "2") for name in ("python", "numpy", "nltk", "a", "b", "c")]))
def test_the_order_does_not_hang_on_the_order_given(changes: list[Moved]) -> None:
    assert [change.package for change in by_relevance(changes, {"b"})] == ["python", "b", "nltk", "numpy", "a", "c"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Moved("six", "1", "2"), "six 1 → 2"),
        (Moved("six", None, "2"), "six 2 added"),
        (Moved("six", "1", None), "six 1 removed"),
    ],
)
def test_a_change_as_text(change: Moved, text: str) -> None:
    assert str(change) == text
    assert change.to_json() == {"package": "six", "old": change.old, "new": change.new, "why": ""}


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ("1.2.3", "2.0", "major"),
        ("1.2.3", "1.3", "minor"),
        ("1.2.3", "1.2.4", "patch"),
        (None, "1", "added"),
        ("1", None, "removed"),
        ("1.2.0 (sha256:aa)", "1.2.0 (sha256:bb)", "content"),
        ("1.0rc1", "1.0rc2", "patch"),
        ("1.2.3", "1.2.3.post1", "patch"),
        ("2024a", "2024b", "patch"),
        ("1.0", "1.0+cpu", "patch"),
        ("3.11", "3.12", "minor"),
        ("1.2", "1.2.1", "patch"),
        ("10.0", "9.0", "major"),
        ("main", "main", "content"),
    ],
)
def test_steps(old: str | None, new: str | None, step: str) -> None:
    assert step_of(old, new) == step


def test_imports_of_a_project(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("import sklearn.metrics\nfrom rapidfuzz import fuzz\nfrom . import b\n")
    (tmp_path / "src" / "broken.py").write_text("def (")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "c.py").write_text("import torch")
    assert imported_packages(tmp_path) == {"scikit-learn", "rapidfuzz"}


@pytest.mark.parametrize(
    "code",
    [
        b"\xef\xbb\xbfimport nltk\n",
        b"# -*- coding: latin-1 -*-\nimport nltk  # \xe9\n",
        b"import nltk\npattern = '\\d'\n",
        b"def late():\n    from nltk.corpus import words\n",
    ],
)
def test_imports_of_files_that_python_reads(tmp_path: Path, code: bytes) -> None:
    (tmp_path / "a.py").write_bytes(code)
    assert imported_packages(tmp_path) == {"nltk"}


@pytest.mark.parametrize("code", [b"import nltk\n\0", b"import (", b""])
def test_imports_of_files_that_python_does_not_read(tmp_path: Path, code: bytes) -> None:
    (tmp_path / "a.py").write_bytes(code)
    (tmp_path / "b.py").write_text("import sentence_transformers, os.path\n")
    assert imported_packages(tmp_path) == {"sentence-transformers", "os"}


def test_imports_of_no_folder(tmp_path: Path) -> None:
    assert imported_packages(tmp_path / "missing") == set()


def test_a_lock_and_a_fingerprint_are_compared_by_version() -> None:
    lock = Locked("x", {"a": Pin("1"), "b": Pin("1"), "pip": Pin("9")})
    installed = Fingerprint("3.11", "14", {"a": {"version": "2", "hash": "h", "source": "installed"}})
    assert moved(lock, installed) == [Moved("a", "1", "2"), Moved("b", "1", None)]


def test_host_facts() -> None:
    one = Fingerprint("3.11", "14", {}, {"cpu": {"features": ["avx"]}, "locale": "C"})
    two = Fingerprint(
        "3.11", "14", {}, {"cpu": {"features": ["avx", "fma"]}, "locale": "C", "variables": {"TZ": "UTC"}}
    )
    assert host_changes(one, two) == [("cpu.features", "avx", "avx fma"), ("variables.TZ", "unset", "UTC")]
