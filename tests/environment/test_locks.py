"""Lock files of every kind, damaged and hostile ones among them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.environment.build import find_uv
from holdfast.environment.locks import Pin, locked_file, masked, read_lock
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
        ("six==1 \\\n  # why\nother==2  # because\n", {"six": Pin("1"), "other": Pin("2")}),
        (f"six==1 ; python_version > '3' --hash={HASH}\n", {"six": Pin("1", (HASH,))}),
        ("six==1 ; extra == 'fast'\nother==2\n", {"other": Pin("2")}),
        ("six==1\n--extra-index-url=https://example.org/simple\n", {"six": Pin("1")}),
        (
            "x[fast] @ git+https://me:secret@example.org/x.git@v1#egg=x ; python_version > '3'\n",
            {"x": Pin("v1", (), "git:https://***@example.org/x.git@v1#egg=x")},
        ),
        ("x @ git+ssh://git@example.org/x.git@a/b\n", {"x": Pin("a/b", (), "git:ssh://***@example.org/x.git@a/b")}),
        ("x @ file:///libs/x-1.0.tar.gz\n", {"x": Pin("1.0", (), "url:file:///libs/x-1.0.tar.gz")}),
        (
            "x @ https://me:secret@example.org/x.zip\n",
            {"x": Pin("0", (), "url:https://***@example.org/x.zip")},
        ),
        (
            "-e git+https://me:secret@example.org/x.git@abc#egg=X_y\n",
            {"x-y": Pin("abc", (), "git:https://***@example.org/x.git@abc")},
        ),
        ("--editable=./libs/mine[fast]\n-e .[dev]\n.\n", {"mine": Pin("0", (), "path:./libs/mine")}),
    ],
)
def test_requirements(tmp_path: Path, text: str, expected: dict[str, Pin]) -> None:
    assert dict(read_lock(write(tmp_path, "requirements.txt", text)).packages) == expected


def test_requirements_include_others(tmp_path: Path) -> None:
    write(tmp_path, "base.txt", "six==1.0\n")
    for option in ("-r base.txt", "-rbase.txt", "--requirement=base.txt"):
        assert set(read_lock(write(tmp_path, "all.txt", f"{option}\nother==2\n")).packages) == {"six", "other"}


def test_an_index_holds_in_included_files(tmp_path: Path) -> None:
    write(tmp_path, "base.txt", "six==1.0\n")
    path = write(tmp_path, "all.txt", "-i https://example.org/simple\n-r base.txt\n")
    assert read_lock(path).packages["six"].source == "index:https://example.org/simple"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ok==1 \\\n  --hash=sha256:ab\n\n# why\nsix\n", 5),
        ("ok==1\nsix \\\n  --hash=sha256:ab\n", 2),
        ("./libs/six\n", 1),
        ("six @ git+https://me:secret@example.org/six.git\n", 1),
        ("-e git+https://me:secret@example.org/six.git#egg=six\n", 1),
        ("git+https://me:secret@example.org/six.git@abc\n", 1),
    ],
)
def test_what_is_not_exact_is_named_by_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    write(tmp_path, "base.txt", text)
    with pytest.raises(UserError) as caught:
        read_lock(write(tmp_path, "all.txt", "first==1\n-r base.txt\n"))
    assert caught.value.message.startswith(f"{tmp_path / 'base.txt'}, line {line}: expected an exact pin")
    assert "secret" not in caught.value.message


def test_a_loop_through_another_file(tmp_path: Path) -> None:
    write(tmp_path, "one.txt", "-r two.txt\n")
    with pytest.raises(UserError, match=r"one\.txt includes itself through two\.txt"):
        read_lock(write(tmp_path, "two.txt", "-r one.txt\n"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/x@1", "https://example.org/x@1"),
        ("https://token@example.org/x@1", "https://***@example.org/x@1"),
        ("https://me:p@ss@example.org/x", "https://***@example.org/x"),
        ("six==1", "six==1"),
    ],
)
def test_passwords_are_masked(url: str, expected: str) -> None:
    assert masked(url) == expected


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
        ("uv.lock", "version = '1'\n[[package]]\nname = 'six'\n", "not of the expected form"),
        ("uv.lock", "version = 1\n[[package]]\nname = 'six'\nsource = 'x'\n", "not of the expected form"),
        ("uv.lock", "version = 1\n[[package]]\nname = 'a'\nversion = '1'\n[[package]]\n", "with a name"),
        ("uv.lock", "", "pins no package"),
        ("poetry.lock", "[[package]\nname = 'six'\n", "is no TOML"),
        ("poetry.lock", "package = []\n[metadata]\nlock-version = '2.0'\n", "pins no package"),
        ("poetry.lock", "[[package]]\nname='six'\n[metadata]\nlock-version = '2.0'\n", "not of the expected form"),
        (
            "poetry.lock",
            "[[package]]\nname='six'\nversion='1'\nmarkers = 'x ~ 3'\n[metadata]\nlock-version = '2.1'\n",
            "a marker that cannot be read",
        ),
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
    assert "1 package of the lock is for another platform" in found.notices[0]


FORKS = """
version = 1
[[package]]
name = "shop"
source = { editable = "." }
dependencies = [{ name = "forked" }, { name = "member" }, { name = "direct" }]
[package.optional-dependencies]
extra = [{ name = "not-asked-for" }]
[package.dev-dependencies]
dev = [{ name = "for-tests" }]
[[package]]
name = "forked"
version = "1.0"
resolution-markers = ["sys_platform == 'win32'", "sys_platform == 'cygwin'"]
[[package]]
name = "forked"
version = "2.0"
resolution-markers = ["sys_platform == 'linux'"]
dependencies = [{ name = "member" }]
[[package]]
name = "member"
version = "0.1"
source = { editable = "libs/member" }
dependencies = [{ name = "forked" }]
[[package]]
name = "direct"
version = "3"
source = { url = "https://me:secret@example.org/direct-3.zip" }
sdist = { hash = "sha256:33" }
[[package]]
name = "not-asked-for"
version = "1"
[[package]]
name = "for-tests"
version = "1"
"""


@pytest.mark.parametrize(("platform", "version"), [("linux", "2.0"), ("win32", "1.0"), ("cygwin", "1.0")])
def test_forks_of_uv(tmp_path: Path, platform: str, version: str) -> None:
    found = read_lock(write(tmp_path, "uv.lock", FORKS), markers={"sys_platform": platform})
    assert dict(found.packages) == {
        "forked": Pin(version),
        "member": Pin("0.1", (), "path:libs/member"),
        "direct": Pin("3", ("sha256:33",), "url:https://***@example.org/direct-3.zip"),
    }
    assert found.notices[0].startswith("2 packages")


def test_a_lock_that_uv_made_of_the_newest(tmp_path: Path) -> None:
    project = '[project]\nname = "shop"\nversion = "0"\nrequires-python = ">=3.11"\n'
    write(tmp_path, "pyproject.toml", project + 'dependencies = ["six", "packaging"]\n')
    subprocess.run([find_uv(), "lock", "-q"], cwd=tmp_path, check=True)
    found = read_lock(tmp_path / "uv.lock")
    assert set(found.packages) == {"six", "packaging"}
    assert all(len(pin.hashes) == 2 and pin.version[0].isdigit() for pin in found.packages.values())
    assert (found.python, found.notices) == (">=3.11", ())


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


OLD_POETRY = """
[[package]]
name = "main-one"
version = "1.0"
category = "main"
optional = false
[[package]]
name = "dev-one"
version = "1.0"
category = "dev"
optional = false
[package.source]
[metadata]
lock-version = "1.1"
python-versions = "^3.11"
[metadata.files]
main-one = [{ file = "x", hash = "sha256:22" }, { file = "y", hash = "sha256:11" }]
dev-one = []
"""


def test_an_old_poetry_lock(tmp_path: Path) -> None:
    found = read_lock(write(tmp_path, "poetry.lock", OLD_POETRY))
    assert dict(found.packages) == {"main-one": Pin("1.0", ("sha256:11", "sha256:22"))}
    assert found.python == "^3.11"
    assert found.notices[0].startswith("1 package of the lock")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ('files = [{ hash = "sha256:11" }]', Pin("1", ("sha256:11",))),
        ('groups = ["dev", "main"]', Pin("1")),
        ('groups = ["dev"]', None),
        ("optional = true", None),
        ("markers = \"sys_platform == 'linux'\"", Pin("1")),
        ("groups = ['main', 'dev']\nmarkers = { main = \"sys_platform == 'win32'\", dev = '' }", None),
        ("groups = ['main', 'dev']\nmarkers = { dev = \"sys_platform == 'win32'\" }", Pin("1")),
        ('source = { type = "directory", url = "libs/x" }', Pin("1", (), "path:libs/x")),
        ('source = { type = "file", url = "x-1.zip" }', Pin("1", (), "path:x-1.zip")),
        (
            'source = { type = "url", url = "https://me:secret@example.org/x.zip" }',
            Pin("1", (), "url:https://***@example.org/x.zip"),
        ),
        (
            'source = { type = "git", url = "https://token@example.org/x.git", reference = "main" }',
            Pin("1", (), "git:https://***@example.org/x.git@main"),
        ),
        (
            'source = { type = "legacy", url = "https://me:secret@example.org/simple" }',
            Pin("1", (), "index:https://***@example.org/simple"),
        ),
    ],
)
def test_a_package_of_poetry(tmp_path: Path, more: str, expected: Pin | None) -> None:
    text = "[[package]]\nname = 'other'\nversion = '2'\n[[package]]\nname = 'x'\nversion = '1'\n"
    path = write(tmp_path, "poetry.lock", f"{text}{more}\n[metadata]\nlock-version = '2.1'\n")
    found = read_lock(path, markers={"sys_platform": "linux"})
    assert found.packages.get("x") == expected
    assert bool(found.notices) == (expected is None)


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


toml_values = st.recursive(
    st.sampled_from(["1", "'x'", "true", "[]", "{}"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda values: f"[{', '.join(values)}]"),
        st.tuples(st.sampled_from(["name", "hash", "git", "main", "marker", "type"]), inner).map(
            lambda pair: f"{{ {pair[0]} = {pair[1]} }}"
        ),
    ),
    max_leaves=4,
)
KEYS = ("version", "source", "dependencies", "wheels", "files", "groups", "markers", "optional", "resolution-markers")


@given(st.dictionaries(st.sampled_from(KEYS), toml_values), st.sampled_from(["", "'2.1'", "'1.1'", "3", "[]"]))
def test_tables_of_any_form_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, str], poetry: str
) -> None:
    package = "[[package]]\nname = 'x'\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
    text = package * 2 + (f"[metadata]\nlock-version = {poetry}\n" if poetry else "")
    path = write(tmp_path_factory.mktemp("tables"), "uv.lock", text)
    try:
        assert "x" in read_lock(path).packages
    except UserError as error:
        assert error.message.endswith(".")


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
