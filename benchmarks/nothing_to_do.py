"""`holdfast run` where nothing has changed: target < 1.5 s."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.project import holdfast, make_project, search_path

RUNS = 5


def main() -> None:
    """Time whole processes of `holdfast run` with nothing to do, beside `import mlflow`, which each run avoids."""
    with tempfile.TemporaryDirectory() as place:
        folder = make_project(Path(place) / "project")
        holdfast(folder, "run")
        holdfast(folder, "release", "promote")
        holdfast(folder, "run")
        ours = [_seconds([str(Path(sys.executable).with_name("holdfast")), "run"], folder) for _ in range(RUNS)]
        peer = [_seconds([sys.executable, "-c", "import mlflow"], folder) for _ in range(RUNS)]
    for name, times in (("holdfast run, nothing to do", ours), ("import mlflow", peer)):
        print(f"{name:30} median {statistics.median(times):.2f} s  [{min(times):.2f}, {max(times):.2f}]")
    print(f"ratio {statistics.median(peer) / statistics.median(ours):.1f}, target < 1.5 s")


def _seconds(command: list[str], folder: Path) -> float:
    import os

    begin = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env={**os.environ, "PATH": search_path()})
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
