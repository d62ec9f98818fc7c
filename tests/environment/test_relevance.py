"""Changes in the order in which they are likely to matter."""

from __future__ import annotations

from pathlib import Path

import pytest

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
