"""Run the user's command: its output line by line as it comes, a time limit, and an end for all it started."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import shlex
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import OutsideError, UserError
from holdfast.models.process import end_group

INTERRUPT_GRACE_SECONDS = 10.0  # for a command to save its work after Ctrl-C
_LAST_LINES = 20
_SHELL_CHARACTERS = set("|&;<>()*?[]{}~!#\n")


@dataclass(frozen=True)
class Finished:
    """A command that ended: its exit status (minus the signal's number if killed) and its last lines."""

    status: int
    last_lines: tuple[str, ...]
    seconds: float


def arguments(command: str) -> list[str]:
    """`command` as a program and its arguments, by the shell's rules of quoting.

    A command that uses more of the shell (pipes, `&&`, redirections, variables, patterns, `NAME=value` before it) is
    given to `/bin/sh -c`. UserError where the quotes do not match or there is no command.
    """
    if needs_shell(command):
        return ["/bin/sh", "-c", command]
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UserError(f"train.run cannot be read as a command: {error}.", hint=f"It is: {command}") from None
    if not words:
        raise UserError("train.run is empty.", hint="Write the command that trains the model.")
    return words


def needs_shell(command: str) -> bool:
    """Whether `command` uses something of the shell beyond quoting."""
    unquoted = re.sub(r"\\.", "", re.sub(r"'[^']*'", "", command))
    outside = re.sub(r'"[^"]*"', "", unquoted)
    return bool(set("$`") & set(unquoted) or _SHELL_CHARACTERS & set(outside) or re.match(r"\s*[A-Za-z_]\w*=", command))


def run_command(
    command: str, *, cwd: Path, environment: Mapping[str, str], timeout: float, echo: Callable[[str], None]
) -> Finished:
    """Run `command` in a process group of its own; every line it prints goes to `echo` as it comes.

    After `timeout` seconds the group is ended and OutsideError raised (`training_timed_out`). At Ctrl-C the group gets
    the same signal and some seconds to end, then KeyboardInterrupt goes on; a second Ctrl-C ends it at once.
    """
    words = arguments(command)
    start = time.monotonic()
    process = _start(words, cwd, environment)
    last: deque[str] = deque(maxlen=_LAST_LINES)

    def pass_on(line: str) -> None:
        last.append(line)
        echo(line)

    output = _Output(process)
    try:
        for line in output.lines(start + timeout):
            pass_on(line)
        if process.poll() is None and not _ended(process, start + timeout):
            raise OutsideError(
                f"the training command did not end within {timeout:g} s and was stopped.",
                hint="Raise `train: {timeout: …}` if it needs longer.",
                reason_code="training_timed_out",
            )
    except KeyboardInterrupt:
        _signal_group(process, signal.SIGINT)
        for line in output.lines(time.monotonic() + INTERRUPT_GRACE_SECONDS):
            pass_on(line)
        raise
    finally:
        end_group(process)
        output.close()
    return Finished(process.returncode, tuple(last), time.monotonic() - start)


def _start(words: list[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            words,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(
            f"the training command cannot be started: {words[0]}: {error.strerror}.", hint="Correct `train: {run: …}`."
        ) from None


class _Output:
    """The lines of a running process, until it closes its output, ends, or the time is over."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.rest = ""

    def lines(self, end: float) -> Iterator[str]:
        """Complete lines as they come; a line ends with LF, CR or both (progress bars use CR)."""
        assert self.process.stdout is not None  # noqa: S101 - it was asked for above
        fd = self.process.stdout.fileno()
        while (left := end - time.monotonic()) > 0:
            over = self.process.poll() is not None  # before looking, so that the last words are still read
            ready, _, _ = select.select([fd], [], [], 0 if over else min(left, 0.2))
            data = os.read(fd, 1 << 16) if ready else b""
            yield from self._split(self.decoder.decode(data))
            if (ready and not data) or (over and not ready):
                break
        if self.rest:
            yield self.rest
            self.rest = ""

    def _split(self, text: str) -> list[str]:
        *complete, self.rest = re.split(r"\r\n|\n|\r(?!$)", self.rest + text)
        return complete

    def close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


def _ended(process: subprocess.Popen[bytes], end: float) -> bool:
    """Wait for a process that has closed its output."""
    try:
        process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
