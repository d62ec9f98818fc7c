from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from holdfast.config.schema import RetrainingConfig, WorkflowConfig
from holdfast.errors import OutsideError, UserError
from holdfast.retraining import GitHubWorkflowTrigger, LocalTrigger, trigger_from
from holdfast.retraining.triggers import run_command

TOKEN = "ghp_do-not-print-me"


class Server(http.server.ThreadingHTTPServer):
    """Answers every POST with `status`, `body` and `headers`, and keeps what came."""

    status = 204
    body = b""
    extra: Mapping[str, str] = MappingProxyType({})

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        for name, value in {"Content-Length": str(len(self.server.body)), **self.server.extra}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("ROBOT_TOKEN", TOKEN)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def trigger(url: str, **changes: Any) -> GitHubWorkflowTrigger:
    options = {
        "repository": "shop/ranker",
        "file": "ml-pipeline.yml",
        "token_env": "ROBOT_TOKEN",
        "api": url,
        **changes,
    }
    return GitHubWorkflowTrigger(WorkflowConfig(**options), timeout=2)


def test_a_dispatch_is_what_github_asks_for(github: Server) -> None:
    said = trigger(github.url, file=".github/workflows/ml pipeline.yml", ref="release").start("search")
    ((method, path, headers, body),) = github.seen
    assert (method, path) == ("POST", "/repos/shop/ranker/actions/workflows/ml%20pipeline.yml/dispatches")
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Accept"] == "application/vnd.github+json"
    assert json.loads(body) == {"ref": "release"}
    assert said == "The workflow .github/workflows/ml pipeline.yml of shop/ranker was asked to train search on release."


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b'{"message": "Bad credentials"}', r"answered 401, Bad credentials\. Check the token in ROBOT_TOKEN\."),
        (403, b'{"message": "Resource not accessible"}', r"answered 403, .*actions: write"),
        (404, b'{"message": "Not Found"}', r"answered 404, Not Found\. Check the names"),
        (422, b'{"message": "No ref found for: main"}', r"answered 422, No ref .* main exists"),
        (500, b"<html>oops</html>", r"answered 500, Internal Server Error\.$"),
        (500, b'["no", "object"]', r"answered 500, Internal Server Error\.$"),
        (400, f'{{"message": "bad header Bearer {TOKEN}"}}'.encode(), r"bad header Bearer …\.$"),
    ],
)
def test_a_refusal_is_one_sentence_without_the_token(github: Server, status: int, body: bytes, message: str) -> None:
    github.status, github.body = status, body
    with pytest.raises(OutsideError, match=message) as caught:
        trigger(github.url).start("search")
    assert TOKEN not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_token_follows_no_redirect(github: Server, status: int) -> None:
    github.status, github.extra = status, {"Location": f"{github.url}/elsewhere"}
    with pytest.raises(OutsideError, match=f"answered {status}"):
        trigger(github.url).start("search")
    assert len(github.seen) == 1


def test_an_api_out_of_reach_is_one_sentence(github: Server) -> None:
    with pytest.raises(OutsideError, match=r"could not be started: http://127\.0\.0\.1:1 is out of reach, .*refused"):
        trigger("http://127.0.0.1:1").start("search")


def test_the_token_does_not_travel_in_clear_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOT_TOKEN", TOKEN)
    with pytest.raises(UserError, match="Expected an https address"):
        trigger("http://api.example.org").start("search")


@pytest.mark.parametrize(
    ("value", "found"),
    [(None, "found none"), ("  ", "found none"), ("two\nlines", "is no token"), ("café", "is no token")],
)
def test_a_missing_or_odd_token(github: Server, monkeypatch: pytest.MonkeyPatch, value: str | None, found: str) -> None:
    monkeypatch.delenv("ROBOT_TOKEN") if value is None else monkeypatch.setenv("ROBOT_TOKEN", value)
    with pytest.raises(UserError, match=f"ROBOT_TOKEN, .*{found}") as caught:
        trigger(github.url).start("search")
    assert value is None or not value.strip() or value not in str(caught.value)
    assert github.seen == []


def test_a_trailing_newline_in_the_token_is_forgiven(github: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOT_TOKEN", TOKEN + "\n")
    trigger(github.url).start("search")
    assert github.seen[0][2]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (0, "The run for m passed (exit status 0)."),
        (1, "The run for m was stopped by a gate (exit status 1)."),
        (3, "The run for m ended inconclusive (exit status 3)."),
    ],
)
def test_a_local_run_that_took_place(status: int, message: str) -> None:
    assert (
        LocalTrigger(lambda: run_command([sys.executable, "-c", f"raise SystemExit({status})"])).start("m") == message
    )


@pytest.mark.parametrize("status", [2, 4, 77])
def test_a_local_run_that_failed(status: int) -> None:
    with pytest.raises(OutsideError, match=f"The run for m failed with exit status {status}"):
        LocalTrigger(lambda: status).start("m")


def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(OutsideError, match="'/no/such' could not be started: No such file"):
        run_command(["/no/such"])


def test_ctrl_c_lets_the_run_clean_up(tmp_path: Path) -> None:
    """The child notices the interrupt, tidies up, and only then does its parent end."""
    child = (
        "import pathlib, sys, time\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "try:\n    (folder / 'ready').touch(); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(0.6); (folder / 'tidy').touch()\n"
    )
    parent = (
        "import sys; from holdfast.retraining.triggers import run_command\n"
        f"run_command([sys.executable, '-c', {child!r}, sys.argv[1]])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent, str(tmp_path)], start_new_session=True, stderr=subprocess.DEVNULL
    )
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) != 0
    assert (tmp_path / "tidy").exists()


def test_the_declared_trigger() -> None:
    workflow = WorkflowConfig(repository="a/b", file="x.yml")
    assert isinstance(trigger_from(RetrainingConfig(workflow=workflow), lambda: 0), GitHubWorkflowTrigger)
    assert isinstance(trigger_from(RetrainingConfig(), lambda: 0), LocalTrigger)
