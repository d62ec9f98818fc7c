"""Train on the training part only, and stop a run that saw the holdout."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast._version import __version__
from holdfast.config.schema import TrainConfig
from holdfast.data.holdout import Holdout, training_part
from holdfast.data.leaks import check_leaks
from holdfast.data.profile import profile_table
from holdfast.data.tables import open_table
from holdfast.errors import UserError
from holdfast.models.reference import model_digest
from holdfast.pipeline.candidates import remember_candidate
from holdfast.pipeline.data_stages import data_digest, open_holdout
from holdfast.pipeline.environments import keep_environment
from holdfast.pipeline.golden import make_snapshot
from holdfast.pipeline.road import Decision, Outcome, Road, decide_by_memory, stage_key
from holdfast.pipeline.workspace import Workspace
from holdfast.store import canonical_json, digest, digest_file
from holdfast.training.run import TrainingResult, train
from holdfast.verdict import Report, Verdict, utc_text

_IGNORED = {"__pycache__", ".git", ".venv", ".holdfast", "node_modules"}


def train_config(workspace: Workspace) -> TrainConfig:
    """The declared training command; UserError where there is none."""
    config = workspace.config.train
    if config is None:
        raise UserError(
            f"{workspace.project.file.name} declares no `train:`, so there is nothing to run.",
            hint="Judge a model that exists with `holdfast gate --candidate URI`.",
        )
    return config


def input_files(root: Path, patterns: list[str]) -> Iterator[Path]:
    """The files that `train.inputs` names: files, whole folders, or globs; UserError where one names nothing."""
    for pattern in patterns:
        found = [root / pattern] if (root / pattern).exists() else sorted(root.glob(pattern))
        if not found:
            raise UserError(f"train.inputs: nothing is called {pattern} in {root}.", hint="Correct or remove it.")
        for path in found:
            inside = path.rglob("*") if path.is_dir() else [path]
            yield from (p for p in sorted(inside) if p.is_file() and not _IGNORED & set(p.parts))


def inputs_digest(root: Path, patterns: list[str]) -> str:
    """The hash of the content of every file that `train.inputs` names."""
    files = {str(path.relative_to(root)): digest_file(path) for path in input_files(root, patterns)}
    return digest(canonical_json(files))


def current_commit(root: Path) -> str | None:
    """The commit that stands in `root`, with `-dirty` where tracked files differ; None outside git."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    return f"{commit}-dirty" if git("status", "--porcelain", "--untracked-files=no") else commit


class TrainStage:
    """Run the user's command on the training part."""

    name = "train"

    def decide(self, road: Road) -> Decision:
        workspace = road.workspace
        config = train_config(workspace)
        if not config.inputs:
            return Decision(
                action="run", reason="train.inputs is not declared, so nothing shows that the code is the same"
            )
        key = stage_key(
            self.name,
            data=data_digest(workspace),
            holdout=road.outputs["holdout"]["holdout"],
            config=config.model_dump(mode="json"),
            code=inputs_digest(workspace.root, config.inputs),
            environment=workspace.fingerprint.digest,
        )
        return decide_by_memory(road, self.name, key, "code, data or environment are new")

    def run(self, road: Road) -> Outcome:
        return train_candidate(road)


def train_candidate(road: Road) -> Outcome:
    """Write the training part, run the command, look for leaks, and gather what is known of the candidate."""
    workspace = road.workspace
    holdout = open_holdout(workspace)
    part = training_part(
        workspace.table, workspace.store, workspace.config.data, workspace.cache / "training_part.parquet"
    )
    lineage = _lineage(workspace, holdout)
    result = _run_command(road, part, lineage)
    leaks = leak_report(workspace, holdout, Path(result.outputs.get("train_data") or part))
    folder = workspace.registry.download(result.candidate_uri, workspace.cache / "models")
    outputs = {
        **lineage,
        "candidate": result.candidate_uri,
        "run_id": result.run_id,
        "digest": model_digest(folder),
        "profile": _training_profile(workspace, part),
        "table_profile": road.outputs.get("data", {}).get("table_profile"),
        "snapshot": _snapshot(road),
        "seconds": round(result.seconds, 1),
    }
    remember_candidate(workspace, outputs)
    if leaks.verdict is not Verdict.PASS:
        summary = f"run {result.run_id} saw the holdout: {leaks.failed[0].message}"
        return Outcome(verdict=leaks.verdict, summary=summary, outputs=outputs, report=leaks, remember=False)
    summary = f"run {result.run_id} in {result.seconds:.1f} s; no row of the holdout in its data."
    return Outcome(verdict=Verdict.PASS, summary=summary, outputs=outputs, report=leaks)


def _snapshot(road: Road) -> str | None:
    """What the declared functions give now, kept with the candidate; None where nothing is declared."""
    if not road.workspace.config.snapshots.functions:
        return None
    road.echo("recording the snapshot of its features")
    return make_snapshot(road.workspace)[0]


def _lineage(workspace: Workspace, holdout: Holdout) -> dict[str, Any]:
    config = train_config(workspace)
    return {
        "commit": current_commit(workspace.root),
        "code": inputs_digest(workspace.root, config.inputs) if config.inputs else None,
        "data": data_digest(workspace),
        "holdout": holdout.digest,
        "seed": config.seed,
        "parameters": dict(config.parameters),
        "environment": workspace.fingerprint.digest,
        "lock": keep_environment(workspace),
    }


def _run_command(road: Road, part: Path, lineage: dict[str, Any]) -> TrainingResult:
    workspace = road.workspace
    tags = {
        f"holdfast.{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in lineage.items()
        if value is not None
    }
    return train(
        train_config(workspace),
        model_name=workspace.model,
        train_data=part,
        cwd=workspace.root,
        registry=workspace.registry,
        tags=tags,
        echo=road.echo,
        cache=workspace.cache / "models",
    )


def leak_report(workspace: Workspace, holdout: Holdout, data: Path) -> Report:
    """Whether the table at `data` holds rows of the holdout, by key, by unit or by content."""
    path = data if data.is_absolute() else workspace.root / data
    checks = check_leaks(open_table(path), holdout, workspace.config.data)
    return Report(
        title="Leaks between training data and holdout",
        checks=tuple(checks),
        model=workspace.model,
        inputs={"holdout": holdout.digest, "data": data_digest(workspace), "commit": current_commit(workspace.root)},
        created=utc_text(workspace.clock()),
        holdfast=__version__,
    )


def _training_profile(workspace: Workspace, part: Path) -> str:
    """The digest of the stored profile of the training part: what drift is measured against."""
    profile = profile_table(open_table(part), group=workspace.config.data.group)
    return workspace.store.put_object(canonical_json(profile.to_json()))
