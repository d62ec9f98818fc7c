"""Environments are named by what is installed there; each case installs something by hand, as an installer would."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.environment import difference, fingerprint
from holdfast.environment.fingerprint import Fingerprint
from holdfast.errors import Damaged, OutsideError, UserError


def make_venv(folder: Path) -> Path:
    """A virtual environment without packages; its python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"


def install(python: Path, name: str, version: str, files: dict[str, str], *, installer: str = "pip") -> Path:
    """Write a distribution into an environment the way pip or uv would; its dist-info folder."""
    site = next((python.parent.parent / "lib").iterdir()) / "site-packages"
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    script = f"../../../bin/{name}"
    own = {**files, f"{info.name}/METADATA": f"Name: {name}\nVersion: {version}\n", f"{info.name}/INSTALLER": installer}
    own[script] = f"#!{python}\n"
    lines = []
    for path, text in own.items():
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        content = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={content},{len(text)}")
    if installer == "pip":
        lines += [f"{name}/__pycache__/x.cpython-311.pyc,,", f"{name}/__pycache__/y.cpython-311.pyc,sha256=abc,3"]
    (info / "RECORD").write_text("\n".join([*lines, f"{info.name}/RECORD,,"]) + "\n")
    return info


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two empty environments in different folders."""
    return make_venv(tmp_path_factory.mktemp("a") / "env"), make_venv(tmp_path_factory.mktemp("longer-name") / "env")


def test_the_same_lock_installed_twice_is_one_environment(two: tuple[Path, Path], tmp_path: Path) -> None:
    for python, installer in zip(two, ("pip", "uv"), strict=True):
        install(python, "alpha", "1.0", {"alpha/__init__.py": "x = 1"}, installer=installer)
    install(two[0], "pip", "24.0", {"pip/__init__.py": ""})
    a, b = (fingerprint(python, tmp_path) for python in two)
    assert a.packages["alpha"] == b.packages["alpha"]
    assert a.digest == b.digest
    assert difference(a, b) == []


def test_a_changed_file_under_the_same_version_is_seen(two: tuple[Path, Path], tmp_path: Path) -> None:
    install(two[0], "beta", "2.0", {"beta/__init__.py": "x = 1"})
    install(two[1], "beta", "2.0", {"beta/__init__.py": "x = 2"})
    install(two[0], "gamma_thing", "1", {})
    install(two[1], "Gamma.Thing", "2", {})
    a, b = (fingerprint(python, tmp_path) for python in two)
    assert a.digest != b.digest
    changes = {change.package: change for change in difference(a, b)}
    assert changes["gamma-thing"][1:] == ("1", "2")
    assert changes["beta"].old != changes["beta"].new
    assert "2.0 (sha256:" in str(changes["beta"].old)


def test_the_project_itself_is_code_and_another_local_folder_is_environment(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    project, library = tmp_path / "project", tmp_path / "library"
    for name, folder in (("mine", project), ("theirs", library)):
        folder.mkdir()
        (folder / "code.py").write_text("x = 1")
        info = install(two[0], name, "0.1", {})
        (info / "direct_url.json").write_text(json.dumps({"url": folder.as_uri(), "dir_info": {"editable": True}}))
    before = fingerprint(two[0], project)
    assert before.packages["mine"]["source"] == "project"
    (project / "code.py").write_text("x = 2")
    assert fingerprint(two[0], project).digest == before.digest
    (library / "code.py").write_text("x = 2")
    assert fingerprint(two[0], project).digest != before.digest


def test_host_facts_are_beside_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(sys.executable, tmp_path)
    for name, value in {"TZ": "Asia/Tokyo", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "7", "LC_ALL": "C"}.items():
        monkeypatch.setenv(name, value)
    after = fingerprint(sys.executable, tmp_path)
    assert after.digest == before.digest
    assert after.host["variables"]["OMP_NUM_THREADS"] == "1"
    assert after.host["time_zone"] != before.host["time_zone"]
    assert after.unicode
    assert after.python == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert after.packages["numpy"]["hash"].startswith("sha256:")


def test_json_there_and_back_and_a_tampered_one(tmp_path: Path) -> None:
    made = fingerprint(sys.executable, tmp_path)
    document = json.loads(json.dumps(made.to_json()))
    assert Fingerprint.from_json(document) == made
    document["packages"]["numpy"]["version"] = "0.0"
    with pytest.raises(Damaged):
        Fingerprint.from_json(document)


def test_remembered_until_something_is_installed(two: tuple[Path, Path], tmp_path: Path) -> None:
    first = fingerprint(two[1], tmp_path)
    assert fingerprint(two[1], tmp_path) is first
    install(two[1], "delta", "3.1", {"delta/__init__.py": ""})
    assert fingerprint(two[1], tmp_path).packages["delta"]["version"] == "3.1"


def test_no_interpreter_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no interpreter nowhere/python"):
        fingerprint("nowhere/python", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no interpreter `python`"):
        fingerprint(None, tmp_path)


def test_an_interpreter_that_fails_is_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no libpython here >&2\nexit 127\n")
    broken.chmod(0o755)
    with pytest.raises(OutsideError, match=r"exit 127.*no libpython here"):
        fingerprint(broken, tmp_path)


def test_python_path_is_part_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(sys.executable, tmp_path)
    (tmp_path / "extra" / "epsilon-1.0.dist-info").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(tmp_path / "extra")]))
    assert [change.package for change in difference(before, fingerprint(sys.executable, tmp_path))] == ["epsilon"]
