"""`holdfast init`: look at a repository and write a first project file, a workflow and a test."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

from holdfast.data.tables import Table, open_table
from holdfast.errors import HoldfastError, UserError

_LABELS = ("label", "target", "y", "class", "relevance", "outcome")
_GROUPS = ("query_id", "user_id", "customer_id", "session_id", "group", "patient_id")
_IGNORED = {".venv", "venv", "node_modules", ".git", ".holdfast", "mlruns", "tests", "site-packages"}


def initialise(folder: Path) -> list[Path]:
    """Write what is missing of holdfast.yaml, the workflow and the test; the paths written, relative to `folder`.

    Nothing that exists is touched. UserError where `folder` is no folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder.")
    data = _first(folder, ("*.parquet", "*.csv"))
    wanted = {
        "holdfast.yaml": project_text(folder, data),
        ".github/workflows/holdfast.yml": _WORKFLOW,
        "tests/test_holdfast_project.py": _TEST,
    }
    written = []
    for name, text in wanted.items():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            written.append(Path(name))
    return written


def project_text(folder: Path, data: Path | None) -> str:
    """A commented project file with what was found; what was not found says TODO."""
    table = _table(folder / data) if data else None
    columns = table.columns if table else []
    label = next((name for name in _LABELS if name in columns), columns[-1] if columns else "label")
    group = next((name for name in _GROUPS if name in columns), None)
    script = _first(folder, ("train.py", "training.py", "fit.py"))
    ranking = group == "query_id"
    metric = "ndcg@10" if ranking else _metric(table, label)
    return _PROJECT.format(
        name=re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.resolve().name).strip("-.") or "model",
        data=data.as_posix() if data else "data/train.parquet   # TODO: your training table",
        label=label,
        label_note="" if label in _LABELS else "   # TODO: is this the label?",
        group=f"  group: {group}" if group else "  # group: user_id",
        script=script.as_posix() if script else "train.py",
        script_note="" if script else "   # TODO: your training command",
        metric=metric,
        limits="max_regression: 0.02" if metric != "rmse" else "max_regression: 0.1",
    )


def _metric(table: Table | None, label: str) -> str:
    if table is None or label not in table.columns:
        return "accuracy"
    return "rmse" if pa.types.is_floating(table.schema.field(label).type) else "accuracy"


def _table(path: Path) -> Table | None:
    try:
        return open_table(path)
    except HoldfastError:
        return None


def _first(folder: Path, patterns: tuple[str, ...]) -> Path | None:
    """The first match, the one nearest to the root first."""
    found = [
        path.relative_to(folder)
        for pattern in patterns
        for path in folder.rglob(pattern)
        if not _IGNORED & set(path.relative_to(folder).parts)
    ]
    return min(found, key=lambda path: (len(path.parts), path.as_posix()), default=None)


_PROJECT = """\
# What Holdfast does for this project. Type `holdfast run --dry-run` to see it, `holdfast run` to do it.
version: 1
model: {name}
registry: sqlite:///mlflow.db        # any MLflow tracking URI
store: .holdfast                     # s3://bucket/holdfast for a team: ledger, holdouts, reports
data:
  train: {data}
  label: {label}{label_note}
{group}                    # the unit of randomness, where rows of one user or query belong together
  # key: [id]                        # what names a row
  # columns: {{age: {{type: float, min: 0, max: 120, max_null_share: 0.1}}}}
holdout: {{name: v1, share: 0.2}}
train:
  run: "python {script}"{script_note}
  inputs: [{script}]                 # when these change, the model is trained anew
  # The command finds its table in HOLDFAST_TRAIN_DATA and says its run as a line `run_id=…`.
# snapshots:                         # functions of yours whose outputs must not change unseen
#   functions:
#     tokens: {{function: "package.module:tokenize", input: title}}
gates:
  metrics:
    {metric}: {{{limits}}}     # how much worse than the champion is tolerated
  # latency: {{p99_ms: 200, max_regression_pct: 0.10}}
  confidence: 0.95
  on_inconclusive: fail              # or hold: exit status 3
# release:                           # users before everybody has it: holdfast release drill, start, control
#   router: file:routing.json        # haproxy:SOCKET?addresses=FILE, nginx:…
#   log: {{predictions: log/predictions, outcomes: log/outcomes}}
#   canary: {{steps: [{{share: 0.01, hours: 4}}, {{share: 0.05}}], max_hours: 96}}
#   guardrails: {{click: {{max_drop: 0.005, absent: zero, delay: 30m}}, error: {{max_rise: 0.001}}}}
retraining: {{every_days: 7, cooldown_hours: 12}}
"""

_WORKFLOW = """\
name: holdfast
on:
  push:
  pull_request:
permissions:
  contents: read
jobs:
  gate:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2
        with:
          fetch-depth: 0
      - uses: actions/setup-python@0b93645e9fea7318ecaed2b359559ac225c90a2b # v5.3.0
        with:
          python-version: "3.11"
      - run: python -m pip install "holdfast[mlflow]"
      - run: holdfast data check
      - if: github.event_name == 'push' && github.ref == 'refs/heads/main'
        run: holdfast run
      # A pull request brings no new model, but it may change what the champion sees: its packages, its feature code.
      # Both need a store and a registry that this job can read. Type `holdfast bisect` where one of them says no.
      # - if: github.event_name == 'pull_request'
      #   run: holdfast snapshot check --markdown "$GITHUB_STEP_SUMMARY"
      # - if: github.event_name == 'pull_request'
      #   run: holdfast gate --environment --markdown "$GITHUB_STEP_SUMMARY"
      - if: always()
        run: holdfast report --markdown "$GITHUB_STEP_SUMMARY" || true
"""

_TEST = '''\
"""The project file is right, and says what it would do."""

import subprocess


def test_the_project_file_is_right() -> None:
    done = subprocess.run(["holdfast", "plan"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
'''
