"""Register a run's model and stage it as the candidate.

python scripts/promote_to_staging.py --run-id RUN --model-name search-ranking
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description="Stage a trained ranker.")
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--model-name", default="search-ranking")
    given = parser.parse_args()
    declared = (ROOT / "holdfast.yaml").read_text("utf-8")
    if not re.search(rf"^model: *{re.escape(given.model_name)} *(#.*)?$", declared, re.MULTILINE):
        print(f"holdfast.yaml does not declare the model {given.model_name}.", file=sys.stderr)
        return 2
    program = Path(sys.executable).with_name("holdfast")
    for words in (["register", "--run-id", given.run_id], ["stage"]):
        status = subprocess.run([str(program), *words], cwd=ROOT, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
