"""Lock files of every kind, damaged and hostile ones among them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.environment.build import find_uv
from holdfast.environment.locks import Pin, locked_file, read_lock
from holdfast.errors import UserError

HASH = "sha256:" + "ab" * 32


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("six==1.16.0\n", {"six": Pin("1.16.0")}),
        ("# a comment\nSix_Lib ==1.0  # why\n\n", {"six-lib": Pin("1.0")}),
        (
            f"six==1.16.0 \\\n    --hash={HASH} \\\n    --hash=sha256:{'cd' * 32}\n",
            {"six": Pin("1.16.0", (HASH, "sha256:" + "cd" * 32))},
        ),
        ("six[extra]===1.0+local\n", {"six": Pin("1.0+local")}),
        ("six==1.0 ; python_version >= '3.8'\nold==1 ; python_version < '3'\n", {"six": Pin("1.0")}),
        ("\ufeffsix==1.0\r\nother==2\r\n", {"six": Pin("1.0"), "other": Pin("2")}),
        (
            "--index-url https://me:secret@example.org/simple\nsix==1\n",
            {"six": Pin("1", (), "index:https://***@example.org/simple")},
        ),
        (
            "x @ git+https://example.org/x.git@abc123\n",
            {"x": Pin("abc123", (), "git:https://example.org/x.git@abc123")},
        ),
        (
            "x @ https://example.org/x-1.2-py3-none-any.whl\n",
            {"x": Pin("1.2", (), "url:https://example.org/x-1.2-py3-none-any.whl")},
        ),
        ("-e .\nsix==1\n", {"six": Pin("1")}),
        ("-e ./libs/mine\nsix==1\n", {"mine": Pin("0", (), "path:./libs/mine"), "six": Pin("1")}),
        ("--no-binary :all:\n-c other.txt\nsix==1", {"six": Pin("1")}),
    ],
)
def test_requirements(tmp_path: Path, text: str, expected: dict[str, Pin]) -> None:
    assert dict(read_lock(write(tmp_path, "requirements.txt", text)).packages) == expected


def test_requirements_include_others(tmp_path: Path) -> None:
    write(tmp_path, "base.txt", "six==1.0\n")
    assert set(read_lock(write(tmp_path, "all.txt", "-r base.txt\nother==2\n")).packages) == {"six", "other"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("requirements.txt", "six\n", "line 1: expected an exact pin"),
        ("requirements.txt", "ok==1\nsix>=1\n", "line 2: expected an exact pin"),
        ("requirements.txt", "six==1.*\n", "exact pin"),
        ("requirements.txt", "", "pins no package"),
        ("requirements.txt", "six==1\nsix==2\n", "pins six twice"),
        ("requirements.txt", "-r requirements.txt\n", "includes itself"),
        ("requirements.txt", "-r missing.txt\n", "there is no lock file"),
        ("requirements.txt", "six==1 ; nonsense ~ 3\n", "a marker that cannot be read"),
        ("requirements.txt", b"six==1\xff\n", "expected UTF-8"),
        ("uv.lock", "version = 2\n[[package]]\nname = 'six'\nversion = '1'\n", "reads uv.lock version 1"),
        ("uv.lock", "version = 1\n[[package]]\nname = \n", "is no TOML"),
        ("uv.lock", "version = 1\npackage = 3\n", "expected [[package]] tables"),
        (
            "poetry.lock",
            "[[package]]\nname='six'\nversion='1'\n[metadata]\nlock-version = '3.0'\n",
            "reads poetry.lock up to 2",
        ),
    ],
)
def test_bad_locks_are_one_sentence(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_lock(write(tmp_path, name, text))
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_lock_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "no.lock", tmp_path):
        with pytest.raises(UserError, match="there is no lock file"):
            read_lock(path)


UV = """
version = 1
requires-python = ">=3.11"

[[package]]
name = "shop"
source = { virtual = "." }
dependencies = [
  { name = "a", extra = ["fast"] },
  { name = "never", marker = "sys_platform == 'nowhere'" },
  { name = "forked", version = "2.0", marker = "python_version >= '3'" },
  { name = "forked", version = "1.0", marker = "python_version < '3'" },
  { name = "from-git" }, { name = "from-path" }, { name = "from-private" },
]

[[package]]
name = "a"
version = "1.0"
source = { registry = "https://pypi.example/simple" }
sdist = { url = "x", hash = "sha256:11" }
wheels = [{ url = "y", hash = "sha256:22" }]
[package.optional-dependencies]
fast = [{ name = "speedups" }]

[[package]]
name = "speedups"
version = "3.0"
source = { registry = "https://pypi.example/simple" }

[[package]]
name = "never"
version = "9"

[[package]]
name = "forked"
version = "1.0"
[[package]]
name = "forked"
version = "2.0"

[[package]]
name = "from-git"
version = "0.1"
source = { git = "https://token@example.org/x.git?rev=main#abc" }
[[package]]
name = "from-path"
version = "0.1"
source = { directory = "libs/x" }
[[package]]
name = "from-private"
version = "0.2"
source = { registry = "https://me:secret@private.example.org/simple" }
"""


def test_uv_lock(tmp_path: Path) -> None:
    found = read_lock(write(tmp_path, "uv.lock", UV))
    assert dict(found.packages) == {
        "a": Pin("1.0", ("sha256:11", "sha256:22")),
        "speedups": Pin("3.0"),
        "forked": Pin("2.0"),
        "from-git": Pin("0.1", (), "git:https://***@example.org/x.git@abc"),
        "from-path": Pin("0.1", (), "path:libs/x"),
        "from-private": Pin("0.2", (), "index:https://***@private.example.org/simple"),
    }
    assert found.python == ">=3.11"
    assert "1 packages of the lock are for other platforms" in found.notices[0]


def test_a_lock_that_uv_made(tmp_path: Path) -> None:
    needs = ["six==1.16.0", "colorama==0.4.6 ; sys_platform == 'win32'"]
    project = f'[project]\nname = "shop"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = {needs}\n'
    write(tmp_path, "pyproject.toml", project)
    subprocess.run([find_uv(), "lock", "-q"], cwd=tmp_path, check=True)
    here = read_lock(tmp_path / "uv.lock", markers={"sys_platform": "linux"})
    there = read_lock(tmp_path / "uv.lock", markers={"sys_platform": "win32"})
    assert set(here.packages) == {"six"}
    assert set(there.packages) == {"six", "colorama"}
    assert here.packages["six"].version == "1.16.0"
    assert here.packages["six"].source == "index"
    assert len(here.packages["six"].hashes) == 2


POETRY = """
[[package]]
name = "Main_One"
version = "1.0"
optional = false
groups = ["main"]
files = [{file = "x", hash = "sha256:11"}]
[[package]]
name = "dev-one"
version = "1.0"
optional = false
groups = ["dev"]
[[package]]
name = "old-style"
version = "2.0"
optional = false
category = "main"
[[package]]
name = "extra-one"
version = "1.0"
optional = true
groups = ["main"]
[[package]]
name = "elsewhere"
version = "1.0"
optional = false
groups = ["main"]
markers = "sys_platform == 'nowhere'"
[[package]]
name = "from-git"
version = "0.1"
optional = false
[package.source]
type = "git"
url = "https://example.org/x.git"
resolved_reference = "abc"
[[package]]
name = "from-private"
version = "0.2"
optional = false
[package.source]
type = "legacy"
url = "https://private.example.org/simple"
[metadata]
lock-version = "2.1"
python-versions = ">=3.11"
"""


def test_poetry_lock(tmp_path: Path) -> None:
    found = read_lock(write(tmp_path, "poetry.lock", POETRY))
    assert dict(found.packages) == {
        "main-one": Pin("1.0", ("sha256:11",)),
        "old-style": Pin("2.0"),
        "from-git": Pin("0.1", (), "git:https://example.org/x.git@abc"),
        "from-private": Pin("0.2", (), "index:https://private.example.org/simple"),
    }


names = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?", fullmatch=True)
versions = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}((a|b|rc)[0-9])?", fullmatch=True)
hashes = st.lists(st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True), max_size=3, unique=True).map(sorted).map(tuple)


@given(st.dictionaries(names, st.tuples(versions, hashes), min_size=1, max_size=30))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, pins: dict[str, tuple[str, tuple[str, ...]]]
) -> None:
    lines = [
        f"{name}=={version}" + "".join(f" \\\n  --hash={h}" for h in found) for name, (version, found) in pins.items()
    ]
    path = write(tmp_path_factory.mktemp("locks"), "requirements.txt", "\n".join(lines))
    assert dict(read_lock(path).packages) == {name: Pin(version, found) for name, (version, found) in pins.items()}


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("requirements.txt", "uv.lock", "poetry.lock"):
        path = write(folder, name, text.encode("utf-8", "surrogatepass"))
        try:
            assert read_lock(path).packages
        except UserError as error:
            assert error.message.endswith(".")


def test_the_lock_of_a_project(tmp_path: Path) -> None:
    assert locked_file(tmp_path) is None
    write(tmp_path, "requirements.txt", "six>=1\n")
    assert locked_file(tmp_path) is None
    exact = write(tmp_path, "requirements.lock", "six==1\n")
    assert locked_file(tmp_path) == exact
