"""`holdfast serve` as a user runs it: a project with a champion and a staged version, and a real process that answers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.project import holdfast, search_path, set_parameters

TOKEN = "a test's token"
SERVE = [sys.executable, "-c", "from holdfast.cli import main; main()", "serve"]
SERVED = """
release:
  router: "gateway:"
  canary: {steps: [{share: 0.5}], min_hours: 24, max_hours: 49, unit: user, unit_window: 6h}
  guardrails: {click: {max_drop: 0.05, absent: zero, delay: 1s}, error: {max_rise: 0.02}}
serving:
  mode: in_process
  allow_other_environment: ["1", "2"]
  port: 0
  admin_port: 0
  poll: 100ms
  log: {compact_every: 500ms, inputs: all}
"""


class Served:
    """A running `holdfast serve`, and what can be asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [*SERVE, "--json"]
        environ = {**os.environ, "PATH": search_path(), "HOLDFAST_ADMIN_TOKEN": TOKEN}
        with (folder / "serve.log").open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        text = b""
        while not text.endswith(b"}\n"):
            line = self.process.stdout.readline()
            assert line, (folder / "serve.log").read_text()
            text += line
        self.told = json.loads(text)

    def ask(
        self, method: str, path: str, body: Any = None, *, admin: bool = False, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        port = self.told["admin_port" if admin else "port"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        is_json = "json" in found.get("content-type", "") and content.strip()
        return answer.status, found, json.loads(content) if is_json else content.decode()

    def status(self) -> dict[str, Any]:
        return dict(self.ask("GET", "/status", admin=True, authorization=f"Bearer {TOKEN}")[2])

    def predict(self, x: float, unit: str) -> tuple[int, dict[str, str], Any]:
        body = {"dataframe_split": {"columns": ["x"], "data": [[x]]}}
        return self.ask("POST", "/invocations", body, content_type="application/json", x_holdfast_unit=unit)

    def wait(self, what: Any, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, (self.folder / "serve.log").read_text()
            assert time.monotonic() < until, f"{self.status()}\n{(self.folder / 'serve.log').read_text()}"
            time.sleep(0.1)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def stage_second(folder: Path, settings: str = SERVED) -> None:
    """In a project whose version 1 is champion, version 2 is staged and the gateway declared."""
    set_parameters(folder, "mode: good, shift: 0.001")
    holdfast(folder, "run")
    file = folder / "holdfast.yaml"
    file.write_text(file.read_text() + settings)
