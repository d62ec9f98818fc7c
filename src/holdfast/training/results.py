"""What a training command says about itself: a file, GitHub's output file, a line on its output. Pure.

Every source gives a mapping; `run_id` names the run, `model_uri` a model that is elsewhere, anything else is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from holdfast.errors import OutsideError, UserError

HOW_TO_SAY = (
    'Write the run id into the file that HOLDFAST_RUN_FILE names, print a line "run_id=ID", '
    "or let the command log one MLflow run to MLFLOW_TRACKING_URI."
)
_RUN_ID_LINE = re.compile(r"""(?<![\w.])run_id["']?\s*[=:]\s*["']?([A-Za-z0-9][\w.-]*)""")
_RUN_ID = re.compile(r"[A-Za-z0-9][\w.-]*")


def from_run_file(text: str) -> dict[str, str]:
    """The content of HOLDFAST_RUN_FILE: the bare id, or a JSON object such as {"run_id": …}; UserError otherwise."""
    text = text.strip()
    if not text:
        return {}
    try:
        document = json.loads(text)
    except ValueError:
        document = text
    if isinstance(document, dict):
        return {str(k): v if isinstance(v, str) else json.dumps(v) for k, v in document.items() if v is not None}
    run_id = str(document).strip() if isinstance(document, (str, int)) else ""
    if not _RUN_ID.fullmatch(run_id):
        raise UserError(
            f"HOLDFAST_RUN_FILE should hold a run id or a JSON object, and it holds {text[:80]!r}.", hint=HOW_TO_SAY
        )
    return {"run_id": run_id}


def from_github_output(text: str) -> dict[str, str]:
    """The `name=value` lines and `name<<END … END` blocks of a GITHUB_OUTPUT file; the last of a name counts."""
    found: dict[str, str] = {}
    name, end, block = "", None, list[str]()
    for line in text.splitlines():
        opening = re.fullmatch(r"([^=<]+)<<(.+)", line)
        if end is not None and line != end:
            block.append(line)
        elif end is not None:
            found[name], end = "\n".join(block), None
        elif opening:
            name, end, block = opening[1], opening[2], []
        elif "=" in line:
            key, _, value = line.partition("=")
            found[key.strip()] = value.strip()
    return found


def run_id_in_line(line: str) -> str | None:
    """The id in a line such as `run_id=0a1b`, `run_id: 0a1b` or `{"run_id": "0a1b"}`."""
    match = _RUN_ID_LINE.search(line)
    return match[1] if match else None


def choose_run(outputs: Mapping[str, str], logged: Sequence[str]) -> str:
    """The run of a training: what the command named, else the only MLflow run since the start; OutsideError if none."""
    named = outputs.get("run_id")
    if named:
        return named
    if len(logged) == 1:
        return logged[0]
    if logged:
        raise OutsideError(
            f"the training command logged {len(logged)} MLflow runs ({', '.join(logged)}) and named none of them.",
            hint=HOW_TO_SAY,
            reason_code="many_runs",
        )
    raise OutsideError(
        "the training command named no run and logged none to MLflow.", hint=HOW_TO_SAY, reason_code="no_run"
    )
