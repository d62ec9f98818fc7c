from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Type

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own


@pytest.mark.parametrize(("module", "words"), [("deltalake", ["log", "show"]), ("httptools", ["serve"])])
def test_what_the_extra_brings_is_named(
    project: Path, type_: Type, monkeypatch: pytest.MonkeyPatch, module: str, words: list[str]
) -> None:
    for name in list(sys.modules):
        if name.startswith("holdfast.serving"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    found = type_(*words, status=2)
    assert f"{module} is not installed" in found.output
    assert "holdfast[serve]" in found.output
