"""Bisection of the incident's two lock files, with a cold and a warm cache of uv, beside asking the changes one by one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from holdfast.environment.bisection import Bisection, Ends, Laboratory, bisect
from holdfast.environment.build import Environment
from holdfast.environment.locks import read_lock
from holdfast.environment.relevance import Moved, moved
from holdfast.verdict import CheckResult, Verdict

LOCKS = Path(__file__).resolve().parent.parent / "examples" / "search_ranking" / "incident"


def check(environment: Environment) -> CheckResult:
    """Fails under rapidfuzz 3; takes next to no time, so that what is measured is making environments."""
    code = "import sys, rapidfuzz; sys.exit(rapidfuzz.__version__.startswith('3'))"
    failed = subprocess.run([str(environment.python), "-c", code], check=False).returncode
    verdict = Verdict.FAIL if failed else Verdict.PASS
    return CheckResult(name="rapidfuzz", kind="environment", verdict=verdict, message="asked.")


def search(place: Path, cache: Path, changes: list[Moved]) -> Bisection:
    """One bisection, with nothing remembered and this cache."""
    os.environ["UV_CACHE_DIR"] = str(cache)
    good, bad = (read_lock(LOCKS / name).packages for name in ("requirements.lock", "requirements-bump.lock"))
    place.mkdir()
    ends = Ends(good, bad, sys.executable)
    return bisect(Laboratory(ends, check, place / "e", cwd=place, memory=place / "m.json"), changes)


def main() -> None:
    """Print environments and seconds: no suspicion at all (every change weighs the same, in the order of the alphabet)."""
    before = os.environ.get("UV_CACHE_DIR")
    changes = moved(read_lock(LOCKS / "requirements.lock"), read_lock(LOCKS / "requirements-bump.lock"))
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("cold", "warm"):
                begin = time.perf_counter()
                found = search(Path(folder) / name, Path(folder) / "cache", changes)
                seconds = time.perf_counter() - begin
                assert [change.package for change in found.guilty] == ["rapidfuzz"]
                each = seconds / found.environments
                print(
                    f"{name} cache: {found.environments} environments for {len(changes)} changes in {seconds:.1f} s, "
                    f"{each:.2f} s each; one by one {len(changes)} environments, about {each * len(changes):.0f} s "
                    f"(ratio {len(changes) / found.environments:.1f})"
                )
    finally:
        os.environ.pop("UV_CACHE_DIR") if before is None else os.environ.__setitem__("UV_CACHE_DIR", before)


if __name__ == "__main__":
    main()
