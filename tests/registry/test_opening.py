from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.registry import absolute_uri, open_registry, without_passwords
from tests.fixtures.registries import fresh_sqlite

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///mlflow.db", "sqlite:////project/mlflow.db"),
        ("sqlite:///sub/mlflow.db", "sqlite:////project/sub/mlflow.db"),
        ("sqlite:////elsewhere/mlflow.db", "sqlite:////elsewhere/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
        ("file:///runs", "file:///runs"),
        ("mlruns", "/project/mlruns"),
        ("databricks", "databricks"),
    ],
)
def test_relative_places_are_taken_from_the_project(uri: str, expected: str) -> None:
    assert absolute_uri(uri, Path("/project")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:pa@ss@host/db", "postgresql://***@host/db"),
        ("no route to https://token@host:5000/api now", "no route to https://***@host:5000/api now"),
        ("http://host/a@b", "http://host/a@b"),
        ("sqlite:////srv/me@work/x.db", "sqlite:////srv/me@work/x.db"),
    ],
)
def test_passwords_are_hidden(text: str, expected: str) -> None:
    assert without_passwords(text) == expected


@pytest.mark.parametrize(
    "uri", ["http://me:secret@127.0.0.1:{port}", "postgresql+psycopg2://me:secret@127.0.0.1:{port}/mlflow"]
)
def test_a_server_that_is_away_is_told_at_once_without_its_password(uri: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OutsideError, match="refused") as caught:
            open_registry(uri.format(port=taken.getsockname()[1]))
    assert caught.value.reason_code == "registry_unavailable"
    assert "secret" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listening, but silent. MLflow alone would wait for minutes."""
    monkeypatch.setattr("holdfast.registry.opening._CONNECT_SECONDS", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        with pytest.raises(OutsideError, match="cannot be reached"):
            open_registry(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - started < 60


def test_what_is_no_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("these are not the bytes of a database, whatever its name may say" * 20)
    with pytest.raises(OutsideError, match="not a database"):
        open_registry("sqlite:///mlflow.db", tmp_path)
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(OutsideError, match="unable to open"):
        open_registry("sqlite:///folder.db", tmp_path)


def test_a_folder_is_no_registry_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(UserError, match="is a folder") as caught:
        open_registry("mlruns", tmp_path)
    assert "sqlite:///mlflow.db" in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UserError, match="needs the driver psycopg"):
        open_registry("postgresql+psycopg://host/db")


def test_without_mlflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"holdfast\[mlflow\]"):
        open_registry("sqlite:///mlflow.db", tmp_path)


def test_patience_and_log_levels_are_ours_only_while_we_call(tmp_path: Path) -> None:
    """A training command inherits our environment, and may need to wait longer than we do."""
    before = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_HTTP")}
    registry = open_registry(fresh_sqlite(tmp_path))
    registry.aliases("m")
    assert {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_HTTP")} == before


def test_a_new_file_is_made_in_silence(tmp_path: Path) -> None:
    """MLflow's first words are some sixty lines of migrations; with --json nothing but the document may be said."""
    code = "from holdfast.registry import open_registry; r = open_registry('sqlite:///new/mlflow.db'); r.aliases('m')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "new" / "mlflow.db").is_file()
