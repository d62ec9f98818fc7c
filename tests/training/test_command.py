"""The user's command as a process: its lines, its end, its shell."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.training.command import Finished, arguments, run_command


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python train.py --name 'two words'", ["python", "train.py", "--name", "two words"]),
        ('python train.py "a|b;c>d*"', ["python", "train.py", "a|b;c>d*"]),
        ("python '$HOME;x'", ["python", "$HOME;x"]),
        ("cd src && python train.py", None),
        ("python train.py | tee log", None),
        ("python train.py > log", None),
        ("python train.py $SEED", None),
        ('python train.py "$SEED"', None),
        ("SEED=1 python train.py", None),
        ("python train.py data/*.csv", None),
        ("python train.py\npython other.py", None),
    ],
)
def test_the_shell_only_where_it_is_needed(command: str, expected: list[str] | None) -> None:
    assert arguments(command) == (expected or ["/bin/sh", "-c", command])


@pytest.mark.parametrize(
    ("command", "sentence"), [("", "is empty"), ("  ", "is empty"), ("python 'train.py", "No closing quotation")]
)
def test_no_command(command: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        arguments(command)


def run(folder: Path, script: str, echo: Callable[[str], None] = lambda _: None, timeout: float = 60) -> Finished:
    (folder / "script.py").write_text(script)
    command = shlex.join([sys.executable, "script.py"])
    return run_command(command, cwd=folder, environment=os.environ, timeout=timeout, echo=echo)


def test_lines_come_as_they_are_printed(tmp_path: Path) -> None:
    """The script waits for what the echo of its first line does: a buffered line would never come."""
    script = (
        "import pathlib, sys, time\nprint('héllo', flush=True)\n"
        "while not pathlib.Path('seen').exists(): time.sleep(0.02)\n"
        "print('10%\\r50%\\r100%', flush=True); print('\\nto stderr', file=sys.stderr, end='')\nsys.exit(3)\n"
    )
    lines: list[str] = []

    def echo(line: str) -> None:
        lines.append(line)
        if line == "héllo":
            (tmp_path / "seen").touch()

    finished = run(tmp_path, script, echo)
    assert lines == ["héllo", "10%", "50%", "100%", "", "to stderr"]
    assert finished.status == 3
    assert finished.last_lines == tuple(lines)


STUBBORN = """
import os, signal, subprocess, sys, time
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", stubborn])
open("pids.part", "w").write(f"{os.getpid()} {child.pid}"); os.rename("pids.part", "pids")
print("working", flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("saved my work", flush=True)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_gone(folder: Path) -> bool:
    end = time.monotonic() + 20
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    while any(alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


def test_the_time_limit_ends_the_whole_group(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match=r"did not end within 5 s") as caught:
        run(tmp_path, STUBBORN, timeout=5)
    assert caught.value.reason_code == "training_timed_out"
    assert all_gone(tmp_path)


INTERRUPTED = """
import os, sys
from pathlib import Path
from holdfast.training.command import run_command
try:
    run_command(sys.executable + " script.py", cwd=Path("."), environment=os.environ, timeout=60, echo=print)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_reaches_the_command_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(STUBBORN)
    parent = subprocess.Popen(
        [sys.executable, "-u", "-c", INTERRUPTED],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "working\n"
    parent.send_signal(signal.SIGINT)
    rest, _ = parent.communicate(timeout=30)
    # A grandchild that is still starting may complain of the interrupt in between; our two words keep their order.
    assert [line for line in rest.splitlines() if "Python error" not in line] == ["saved my work", "interrupted"]
    assert all_gone(tmp_path)


def test_a_daemon_that_keeps_the_output_open_does_not_hold_us(tmp_path: Path) -> None:
    script = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("done")
"""
    assert run(tmp_path, script).last_lines == ("done",)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be started: no-such-program: No such file"):
        run_command("no-such-program x", cwd=tmp_path, environment={}, timeout=5, echo=print)
