"""Seconds of whole processes: importing Holdfast and its help, beside importing MLflow and a bare Python."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

_HELP = "import sys; sys.argv = ['holdfast', '--help']; from holdfast.cli import main; main()"
# name, code, runs, target of the whole process in ms
CASES = (
    ("python -c pass", "pass", 20, None),
    ("import holdfast", "import holdfast", 20, 50),
    ("holdfast --help", _HELP, 20, 200),
    ("import mlflow", "import mlflow", 3, None),
)


def main() -> None:
    """Print median, minimum and maximum of each, what it adds to a bare Python, and its ratio to that."""
    print(f"  {'':<18}{'runs':>5}{'median ms':>11}{'min':>8}{'max':>8}{'beyond python':>15}{'ratio':>8}  target")
    bare = None
    for name, code, runs, target in CASES:
        taken = [_milliseconds(code) for _ in range(runs + 1)][1:]  # the first one warms the disk's cache
        median = statistics.median(taken)
        bare = median if bare is None else bare
        row = f"  {name:<18}{runs:>5}{median:>11.0f}{min(taken):>8.0f}{max(taken):>8.0f}{median - bare:>15.0f}"
        print(f"{row}{median / bare:>7.1f}×  {_judged(median, target)}", flush=True)


def _milliseconds(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - begun)


def _judged(median: float, target: float | None) -> str:
    if target is None:
        return ""
    return f"< {target} ms: {'met' if median < target else 'MISSED'}"


if __name__ == "__main__":
    main()
