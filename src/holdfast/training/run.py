"""Run the user's training command, catch the run it made, and write on the run what it was made from."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.config.schema import TrainConfig
from holdfast.errors import OutsideError
from holdfast.models.reference import MlflowModel, parse_reference
from holdfast.registry import Registry
from holdfast.training.command import Finished, run_command
from holdfast.training.results import choose_run, from_github_output, from_run_file, run_id_in_line


@dataclass(frozen=True)
class TrainingResult:
    """A training that ended well: its run, its model's URI, how long it took, and all that was reported."""

    run_id: str
    candidate_uri: str
    seconds: float
    outputs: Mapping[str, str] = field(default_factory=dict)


def train(
    config: TrainConfig,
    *,
    model_name: str,
    train_data: Path,
    cwd: Path,
    registry: Registry,
    tags: Mapping[str, str],
    echo: Callable[[str], None],
    cache: Path | None = None,
) -> TrainingResult:
    """Run `config.run` in `cwd` on `train_data`.

    The command finds in its environment: HOLDFAST_TRAIN_DATA, HOLDFAST_SEED, HOLDFAST_RUN_FILE, HOLDFAST_MODEL,
    HOLDFAST_GIT_COMMIT (from `tags`), HOLDFAST_PARAM_NAME for every parameter, MLFLOW_TRACKING_URI, and a fresh
    GITHUB_OUTPUT whose lines are handed on to the surrounding one. Its run is, in this order: what HOLDFAST_RUN_FILE
    holds, `run_id` of GITHUB_OUTPUT, the last line `run_id=…` of its output, the only MLflow run since the start.
    `tags` are written on the run. The candidate is `runs:/ID/MODEL_PATH`, or the `model_uri` that the command reported.
    That it exists is seen by downloading it into `cache` (by default a folder that is removed again).

    Raises OutsideError where the command fails, takes too long, names no run, or its run has no model there; UserError
    where it cannot be started; KeyboardInterrupt at Ctrl-C, when everything it started has ended.
    """
    scratch = Path(tempfile.mkdtemp(prefix="holdfast-train-"))
    try:
        started = datetime.now(UTC)
        said = _Said(echo)
        variables = _variables(config, model_name, train_data, scratch)
        variables |= {"MLFLOW_TRACKING_URI": registry.uri, "HOLDFAST_GIT_COMMIT": tags.get("holdfast.commit", "")}
        try:
            finished = run_command(
                config.run,
                cwd=cwd,
                environment={**os.environ, **variables},
                timeout=config.timeout.total_seconds(),
                echo=said,
            )
        finally:
            _hand_on(scratch / "github_output")
        _check_status(finished)
        outputs = _outputs(scratch, said.run_id)
        run_id = choose_run(outputs, [] if outputs.get("run_id") else registry.runs_since(started))
        candidate = outputs.get("model_uri") or f"runs:/{run_id}/{config.model_path}"
        _record(registry, run_id, candidate, tags=tags, cwd=cwd, cache=cache or scratch / "model")
        return TrainingResult(run_id, candidate, finished.seconds, {**outputs, "run_id": run_id})
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Said:
    """Passes lines on and remembers the last run id among them."""

    def __init__(self, echo: Callable[[str], None]) -> None:
        self.echo = echo
        self.run_id: str | None = None

    def __call__(self, line: str) -> None:
        self.run_id = run_id_in_line(line) or self.run_id
        self.echo(line)


def _variables(config: TrainConfig, model_name: str, train_data: Path, scratch: Path) -> dict[str, str]:
    (scratch / "github_output").touch()
    parameters = {
        f"HOLDFAST_PARAM_{re.sub('[^A-Z0-9_]', '_', name.upper())}": value
        if isinstance(value, str)
        else json.dumps(value)
        for name, value in config.parameters.items()
    }
    return {
        **parameters,
        "HOLDFAST_TRAIN_DATA": str(train_data.resolve()),
        "HOLDFAST_SEED": str(config.seed),
        "HOLDFAST_RUN_FILE": str(scratch / "run"),
        "HOLDFAST_MODEL": model_name,
        "GITHUB_OUTPUT": str(scratch / "github_output"),
        "PYTHONUNBUFFERED": "1",  # else lines come when the buffer is full
    }


def _hand_on(file: Path) -> None:
    """What the command wrote for later steps of a GitHub job reaches them."""
    outer = os.environ.get("GITHUB_OUTPUT")
    text = file.read_text("utf-8", errors="replace") if file.exists() else ""
    if outer and text:
        with Path(outer).open("a", encoding="utf-8") as out:
            out.write(text if text.endswith("\n") else text + "\n")


def _check_status(finished: Finished) -> None:
    if finished.status == 0:
        return
    how = f"exit status {finished.status}" if finished.status > 0 else f"signal {-finished.status}"
    lines = [line for line in finished.last_lines if line.strip()][-8:]
    shown = "; its last lines:\n  " + "\n  ".join(lines) if lines else " and printed nothing."
    raise OutsideError(f"the training command ended with {how}{shown}", reason_code="training_failed")


def _outputs(scratch: Path, printed: str | None) -> dict[str, str]:
    """All that the command reported; the earlier source wins."""
    run_file = scratch / "run"
    text = run_file.read_text("utf-8", errors="replace") if run_file.exists() else ""
    github = (scratch / "github_output").read_text("utf-8", errors="replace")
    line = {"run_id": printed} if printed else {}
    return {**line, **from_github_output(github), **from_run_file(text)}


def _record(
    registry: Registry, run_id: str, candidate: str, *, tags: Mapping[str, Any], cwd: Path, cache: Path
) -> None:
    """See that the model is there, and tag the run. A model in a local folder has no run in the registry to tag."""
    reference = parse_reference(candidate, cwd)
    if not isinstance(reference, MlflowModel) or reference.is_local:
        return
    registry.set_run_tags(run_id, {name: str(value) for name, value in tags.items()})
    cache.mkdir(parents=True, exist_ok=True)
    try:
        registry.download(candidate, cache)
    except OutsideError as error:
        raise OutsideError(
            f"the training command's run {run_id} has no model at {candidate}: {error.message}",
            hint="Log it under that name, or set `train: {model_path: …}`.",
            reason_code="no_model",
        ) from None
