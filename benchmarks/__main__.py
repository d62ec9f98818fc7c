"""Run the benchmarks in order: `python -m benchmarks [NAME …]`."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import time

NAMES = (
    "imports",
    "nothing_to_do",
    "gate_statistics",
    "data_check",
    "champion_elsewhere",
    "bisection",
    "canary_detection",
    "canary_evidence",
    "controller",
    "prediction_log",
    "log_compaction",
    "live_evidence",
    "gateway_road",
    "serving_peers",
    "router_rollback",
)


def main(names: list[str]) -> None:
    """Run the named benchmarks, all of them for no name."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise SystemExit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}.")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    for name in names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n{name}: {(module.__doc__ or '').strip().splitlines()[0]}\n", flush=True)
        begun = time.perf_counter()
        module.main()
        print(f"\n  ({time.perf_counter() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
