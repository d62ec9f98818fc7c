"""Environments made by uv: exactly what was asked for, or one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.environment.build import Unbuildable, build_environment, conflict, requirements
from holdfast.environment.locks import Pin
from holdfast.errors import OutsideError, UserError
from tests.wheels import make_wheel


@pytest.fixture(autouse=True)
def _only_these_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "wheels"
    make_wheel(folder, "a", "1.0", requires=["b>=1"])
    make_wheel(folder, "b", "1.0")
    make_wheel(folder, "b", "0.5")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))


def build(tmp_path: Path, **pins: str | Pin) -> Path:
    made = {name: pin if isinstance(pin, Pin) else Pin(pin) for name, pin in pins.items()}
    return build_environment(made, tmp_path / "made" / "venv", python=sys.executable, cwd=tmp_path).python


def test_exactly_these_packages(tmp_path: Path) -> None:
    python = build(tmp_path, a="1.0", b="0.5")  # what does not resolve is still installed as it is asked for
    code = "from importlib.metadata import distributions as d; print(sorted(x.name + x.version for x in d()))"
    assert (
        subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "['a1.0', 'b0.5']"
    )


@pytest.mark.parametrize(
    ("pins", "said"),
    [
        ({"missing": Pin("1.0")}, "missing"),
        ({"a": Pin("9.9")}, "a==9.9"),
        ({"b": Pin("1.0", ("sha256:" + "0" * 64,))}, "(?i)hash"),
    ],
)
def test_what_cannot_be_installed(tmp_path: Path, pins: dict[str, Pin], said: str) -> None:
    with pytest.raises(Unbuildable, match=said) as caught:
        build(tmp_path, **pins)
    assert "\n" not in caught.value.message
    assert not (tmp_path / "made" / "venv").exists()


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unbuildable, match="no such Python"):
        build_environment({"b": Pin("1.0")}, tmp_path / "v", python="3.9.77", cwd=tmp_path)


def test_a_folder_cannot_be_built_from() -> None:
    with pytest.raises(UserError, match=r"mine comes from the folder \.\./mine"):
        requirements({"mine": Pin("1", (), "path:../mine")})


def test_other_sources_as_requirements() -> None:
    pins = {
        "g": Pin("1", (), "git:https://example.org/g.git@abc"),
        "u": Pin("1", (), "url:https://example.org/u.whl"),
        "p": Pin("2", (), "index:https://example.org/simple"),
    }
    assert requirements(pins).splitlines() == [
        "g @ git+https://example.org/g.git@abc",
        "p==2",
        "u @ https://example.org/u.whl",
    ]


@pytest.mark.parametrize(
    ("pins", "said"),
    [
        ({"a": "1.0", "b": "1.0"}, None),
        ({"a": "1.0", "b": "0.5"}, "b>=1"),
        ({"a": "1.0"}, "a needs b, which it does not hold"),
    ],
)
def test_why_packages_do_not_resolve(tmp_path: Path, pins: dict[str, str], said: str | None) -> None:
    found = conflict(
        {name: Pin(version) for name, version in pins.items()}, tmp_path, python=sys.executable, cwd=tmp_path
    )
    assert found == said if said is None else said in (found or "")


def test_no_network_is_no_fault_of_the_combination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(OutsideError, match="cannot be fetched") as caught:
        build(tmp_path, b="1.0")
    assert not isinstance(caught.value, Unbuildable)


def test_a_private_index_that_uv_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unbuildable) as caught:
        build(tmp_path, secret=Pin("1.0", (), "index:https://***@private.example.org/simple"))
    assert "secret comes from the index https://***@private.example.org/simple" in str(caught.value.hint)
