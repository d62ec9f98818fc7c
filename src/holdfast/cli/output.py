"""How commands speak: text for people, one JSON document for programs, and the exit status."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.config.secrets import mask
from holdfast.errors import HoldfastError, UserError
from holdfast.verdict import Report

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130
_OF_SERVE = {"deltalake", "httptools", "orjson", "prometheus_client"}  # what the extra brings
LOG_WIDTH = 120  # of what is not a terminal: CI logs and files


class Output:
    """Where a command's words go: with `--json` people's text goes to stderr and stdout gets one document."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._emitted = False

    @functools.cached_property
    def console(self) -> Console:
        from rich.console import Console

        console = Console(stderr=self.as_json, highlight=False, soft_wrap=True)
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = LOG_WIDTH
        return console

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """One line for people; the text is never read as markup."""
        self.console.print(mask(text), style=style, markup=False)

    def emit(self, document: Any) -> None:
        """The one JSON document of this command; nothing without `--json`."""
        if self.as_json:
            if self._emitted:
                raise RuntimeError("a command prints one JSON document")
            self._emitted = True
            sys.stdout.write(mask(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)) + "\n")

    def report(self, report: Report) -> int:
        """Show a report; returns its exit status."""
        from holdfast.reports import render_terminal

        render_terminal(report, self.console)
        self.emit(report.to_json())
        return report.verdict.exit_status

    @contextlib.contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show that something long is going on; on a terminal only, so that logs stay readable."""
        if self.console.is_terminal:
            with self.console.status(text):
                yield
        else:
            self.say(f"{text} …")
            yield

    def failed(self, error: HoldfastError) -> int:
        """Say what went wrong, in one sentence and a hint; returns the exit status."""
        sys.stderr.write(mask(f"holdfast: {error}\n"))
        if not self._emitted:
            self.emit(
                {
                    "schema": 1,
                    "verdict": "error",
                    "error": {"reason_code": error.reason_code, "message": error.message, "hint": error.hint},
                }
            )
        return error.exit_status


def command(function: Callable[..., int | Report | None]) -> Callable[..., None]:
    """Make `function(out, …)` a command body: adds `--json`, renders what it returns, turns errors into statuses."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else.")
    @functools.wraps(function)
    def body(*args: Any, as_json: bool, **kwargs: Any) -> None:
        sys.exit(_status(function, Output(as_json), args, kwargs))

    return body


def _status(function: Callable[..., int | Report | None], out: Output, args: Any, kwargs: Any) -> int:
    try:
        result = function(out, *args, **kwargs)
        if isinstance(result, Report):
            return out.report(result)
        return result or 0
    except HoldfastError as error:
        return out.failed(error)
    except KeyboardInterrupt:
        sys.stderr.write("holdfast: interrupted; nothing is half-written, the same command continues.\n")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("HOLDFAST_DEBUG"):
            raise
        return out.failed(_defect(error))


def _defect(error: Exception) -> HoldfastError:
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing in _OF_SERVE:
        hint = "Type: pip install 'holdfast[serve]'"
        return UserError(f"{missing} is not installed here, and this command needs it.", hint=hint)
    if isinstance(error, OSError) and error.strerror:
        place = f" ({error.filename})" if error.filename else ""
        return HoldfastError(f"the system refused: {error.strerror}{place}.", reason_code="system")
    text = " ".join(str(error).split()) or type(error).__name__
    return HoldfastError(
        f"unexpected {type(error).__name__}: {text[:300]}.",
        hint="This is a defect of Holdfast; HOLDFAST_DEBUG=1 shows where.",
        reason_code="defect",
    )


config_option = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("holdfast.yaml"),
    show_default=True,
    help="The project file.",
)

python_option = click.option(
    "--python", help="The interpreter, or the .venv, to judge instead of the project's own (a pull request's)."
)
