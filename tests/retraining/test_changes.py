from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.retraining.changes import changed_since, matching


@pytest.mark.parametrize(
    ("glob", "named", "not_named"),
    [
        ("src/**", ["src/a.py", "src/deep/b.py", "src/.hidden"], ["source/a.py", "lib/src/a.py", "src"]),
        ("src", ["src/a.py", "src/deep/b.py", "src"], ["srcs/a.py", "lib/src/a.py"]),
        ("src/", ["src/a.py"], ["srcs"]),
        ("./train.py", ["train.py"], ["lib/train.py", "train_py"]),
        ("**/*.py", ["a.py", "x/y/a.py"], ["a.pyc", "x/a.txt"]),
        ("*.py", ["a.py"], ["x/a.py"]),
        ("conf/?.yaml", ["conf/a.yaml"], ["conf/ab.yaml", "conf//.yaml"]),
        ("a/**/z", ["a/z", "a/b/c/z", "a/b/z/deep"], ["a/bz", "z"]),
        ("data (1)/[x].csv", ["data (1)/[x].csv"], ["data (1)/x.csv"]),
        ("größe/**", ["größe/—.txt", "größe/new\nline"], ["grösse/x"]),
    ],
)
def test_globs(glob: str, named: list[str], not_named: list[str]) -> None:
    assert matching([*named, *not_named], [glob]) == named


def test_any_glob_will_do_and_the_order_stays() -> None:
    assert matching(["b", "x", "a"], ["a", "b"]) == ["b", "a"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("1\n" * 50)
    (tmp_path / "README").write_text("x")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    who = {f"GIT_{role}_{what}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    return git(folder, "rev-parse", "HEAD")


def test_changes_since_a_commit(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    assert changed_since(first, repository) == []
    (repository / "src" / "größe — new.py").write_text("2")
    (repository / "README").unlink()
    commit(repository)
    assert sorted(changed_since(first, repository)) == ["README", "src/größe — new.py"]
    assert changed_since(first[:10], repository / "src") == ["größe — new.py"]


def test_a_renamed_file_counts_under_both_names(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    (repository / "src" / "a.py").rename(repository / "moved.py")
    commit(repository)
    assert sorted(changed_since(first, repository)) == ["moved.py", "src/a.py"]


def test_a_commit_that_is_not_here_is_one_sentence(repository: Path) -> None:
    with pytest.raises(OutsideError, match=r"since 000000000000: .*fetch-depth: 0"):
        changed_since("0" * 40, repository)


def test_no_repository_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="git could not tell"):
        changed_since("0" * 40, tmp_path)


def test_no_git_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutsideError, match="git could not be asked"):
        changed_since("0" * 40, tmp_path)


@pytest.mark.parametrize("commit", ["--output=/tmp/x", "HEAD", "", "123456", "0" * 65])
def test_what_is_no_commit_never_reaches_git(commit: str) -> None:
    with pytest.raises(UserError, match="hash of a commit"):
        changed_since(commit)
