"""What starts a training: a call or command on this machine, or a GitHub workflow."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from holdfast.config.schema import WorkflowConfig
from holdfast.errors import OutsideError, UserError

_ENDED = {0: "passed", 1: "was stopped by a gate", 3: "ended inconclusive"}
_INTERRUPT_SECONDS = 30  # that a run gets to clean up after Ctrl-C


class Trigger(Protocol):
    """Starts a training of a model; `name` stands in the ledger."""

    name: str

    def start(self, model: str) -> str:
        """Start it and say in one sentence what happened; OutsideError or UserError where it did not start."""
        ...


class LocalTrigger:
    """Runs the road here and waits for it. `run` gives an exit status as the command line does.

    0, 1 and 3 are runs that took place (what a gate said is the report's business); any other status raises
    OutsideError.
    """

    name = "local"

    def __init__(self, run: Callable[[], int]) -> None:
        self.run = run

    def start(self, model: str) -> str:
        status = self.run()
        if status not in _ENDED:
            raise OutsideError(f"The run for {model} failed with exit status {status}.")
        return f"The run for {model} {_ENDED[status]} (exit status {status})."


def holdfast_run(project_file: str | Path) -> int:
    """`holdfast run` for a project file in a process of its own; its exit status."""
    code = "from holdfast.cli import main; raise SystemExit(main())"
    return run_command([sys.executable, "-c", code, "run", "--config", str(project_file)])


def run_command(command: Sequence[str], cwd: str | Path | None = None) -> int:
    """The exit status of `command`; after Ctrl-C it gets half a minute to clean up before it is killed."""
    try:
        process = subprocess.Popen(command, cwd=cwd)
    except OSError as error:
        raise OutsideError(f"The command {command[0]!r} could not be started: {error.strerror}.") from error
    try:
        return process.wait()
    except BaseException:
        try:
            process.wait(_INTERRUPT_SECONDS)
        finally:
            process.kill()
        raise


class GitHubWorkflowTrigger:
    """Sends `workflow_dispatch` to a GitHub workflow; the token is read from the environment when it is needed.

    The token goes to `config.api` only: not in clear text beyond this machine, and along no redirect. It never stands
    in a message.
    """

    name = "github workflow"

    def __init__(self, config: WorkflowConfig, *, timeout: float = 30) -> None:
        self.config = config
        self.timeout = timeout

    def start(self, model: str) -> str:
        token = _token(self.config.token_env)
        what = f"The workflow {self.config.file} of {self.config.repository}"
        try:
            with _OPENER.open(self._request(token), timeout=self.timeout) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            said = _said(error).replace(token, "…")
            raise OutsideError(
                f"{what} could not be started: {urlsplit(self.config.api).netloc} answered {error.code}, {said}.",
                hint=_HINTS.get(error.code, "").format(config=self.config) or None,
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error or type(error).__name__
            raise OutsideError(f"{what} could not be started: {self.config.api} is out of reach, {reason}.") from None
        return f"{what} was asked to train {model} on {self.config.ref}."

    def _request(self, token: str) -> urllib.request.Request:
        api = urlsplit(self.config.api)
        if api.scheme != "https" and api.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise UserError(f"Expected an https address for the token to go to, found {self.config.api}.")
        workflow = quote(PurePosixPath(self.config.file).name, safe="")
        url = f"{self.config.api.rstrip('/')}/repos/{self.config.repository}/actions/workflows/{workflow}/dispatches"
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "User-Agent": "holdfast",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        body = json.dumps({"ref": self.config.ref}).encode()
        return urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 (checked above)


_HINTS = {
    401: "Check the token in {config.token_env}.",
    403: "The token in {config.token_env} needs the permission 'actions: write'.",
    404: "Check the names, and that the token in {config.token_env} may see the repository.",
    422: "Check that the workflow has 'on: workflow_dispatch' and that {config.ref} exists.",
}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would carry the token to wherever a redirect points."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _token(variable: str) -> str:
    token = os.environ.get(variable, "").strip()
    if re.fullmatch(r"[!-~]+", token) is None:
        raise UserError(
            f"Expected a GitHub token in the environment variable {variable}, found "
            + ("none." if not token else "something that is no token."),
            hint=f"Set {variable}.",
        )
    return token


def _said(error: urllib.error.HTTPError) -> str:
    """GitHub's own words, else the status's."""
    try:
        document = json.loads(error.read(65536))
        message = str(document["message"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        message = str(error.reason)
    return " ".join(message.split())[:200].rstrip(".") or "no reason given"
