"""Why a candidate failed: what changed since the champion, and which change brings the failure when it alone is made.

The second part is run, not guessed: the model is trained again with one thing of the candidate's and everything else as
it was for the champion, and compared with the champion's recorded predictions by the metric that failed. Code comes
from git, packages from the recorded environment. A table is not kept, so data cannot be put back.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holdfast.config.schema import TrainConfig
from holdfast.data.holdout import Holdout, training_part
from holdfast.environment.build import build_environment
from holdfast.environment.relevance import by_relevance, imported_packages, moved
from holdfast.errors import HoldfastError, UserError
from holdfast.gates.evidence import Contender, Rows, seed_from
from holdfast.gates.quality import quality_checks
from holdfast.models import parse_reference
from holdfast.pipeline.environments import known_environment, pins_of, stored_environment
from holdfast.pipeline.predictions import predict_holdout
from holdfast.pipeline.workspace import Workspace
from holdfast.stats import Metric
from holdfast.training.run import train
from holdfast.verdict import CheckResult, Report, Verdict, worst

FACTORS = ("code", "data", "environment", "parameters", "seed")
Lineage = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Factor:
    """One thing that differs between champion and candidate: in words, and what came of changing it alone.

    `alone` is the verdict of the failed checks with only this changed; None where it was not run, and `why` says why.
    """

    name: str
    change: str
    alone: Verdict | None = None
    estimate: float | None = None
    why: str | None = None

    def to_json(self) -> dict[str, Any]:
        alone = None if self.alone is None else self.alone.value
        return {"factor": self.name, "change": self.change, "alone": alone, "estimate": self.estimate, "why": self.why}

    @property
    def sentence(self) -> str:
        """For the report."""
        if self.alone is None:
            return f"{self.name} changed ({self.change}); {self.why}."
        brings = "brings the failure" if self.alone is Verdict.FAIL else f"does not bring it ({self.alone.value})"
        return f"{self.name} changed ({self.change}); alone it {brings}{self._figure}."

    @property
    def _figure(self) -> str:
        return "" if self.estimate is None else f" ({self.estimate:+.4g})".replace("-", "−")


def explained(
    report: Report,
    workspace: Workspace,
    holdout: Holdout,
    rows: Rows,
    metrics: Mapping[str, Metric],
    champion: Contender | None,
    before: Lineage,
    after: Lineage,
    say: Callable[[str], None],
) -> Report:
    """A failed report with the factors that changed since the champion; any other report as it is."""
    failed = [c for c in report.checks if c.kind == "regression" and c.verdict is Verdict.FAIL and c.metric in metrics]
    if champion is None or champion.predictions is None or not failed or not before or not after:
        return report
    factors = changed(workspace, before, after)
    trial = _Trial(workspace, holdout, rows, metrics, champion, before, after, failed)
    factors = _alone(trial, factors, say)
    return with_factors(report, factors)


def changed(workspace: Workspace, before: Lineage, after: Lineage) -> list[Factor]:
    """What differs between two lineages, each in words."""
    found = []
    for name in FACTORS:
        old, new = before.get(name), after.get(name)
        if old != new:
            found.append(Factor(name=name, change=words_of(workspace, name, before, after)))
    return found


def words_of(workspace: Workspace, name: str, before: Lineage, after: Lineage) -> str:
    """One difference in few words."""
    old, new = before.get(name), after.get(name)
    if name == "parameters":
        keys = sorted((old or {}).keys() | (new or {}).keys())
        pairs = [(key, (old or {}).get(key), (new or {}).get(key)) for key in keys]
        return ", ".join(f"{key}: {_value(x)} → {_value(y)}" for key, x, y in pairs if x != y)
    if name == "environment" and old and new:
        changes = by_relevance(
            moved(known_environment(workspace, old), known_environment(workspace, new)),
            imported_packages(workspace.root),
        )
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        return ", ".join(map(str, changes[:3])) + more
    if name == "code":
        commits = (str(lineage.get("commit") or "no commit")[:12] for lineage in (before, after))
        return " → ".join(commits)
    return f"{_value(old)} → {_value(new)}"


def _value(value: Any) -> str:
    text = str(value)
    return "unset" if value is None else text[:19] + "…" if text.startswith("sha256:") else text


def _alone(trial: _Trial, factors: list[Factor], say: Callable[[str], None]) -> list[Factor]:
    """The factors with what came of each alone; a single one needs no run, and runs are few and bounded in time."""
    if len(factors) == 1:
        return [replace(factors[0], why="it is all that changed, so it brings the failure")]
    limits = trial.workspace.config.gates.explain
    left = limits.max_minutes * 60
    seconds = float(trial.after.get("seconds") or 0)
    done = []
    for number, factor in enumerate(factors):
        if number >= limits.runs or seconds > left:
            done.append(replace(factor, why="not tried alone: beyond gates.explain (runs, max_minutes)"))
            continue
        left -= seconds
        say(f"why? training once with only the {factor.name} changed")
        try:
            done.append(trial.run(factor, [f.name for f in factors]))
        except (HoldfastError, OSError, subprocess.SubprocessError) as error:
            done.append(replace(factor, why=f"it could not be tried alone: {' '.join(str(error).split())[:200]}"))
    return done


@dataclass(frozen=True)
class _Trial:
    """Training with one factor of the candidate's and the rest of the champion's."""

    workspace: Workspace
    holdout: Holdout
    rows: Rows
    metrics: Mapping[str, Metric]
    champion: Contender
    before: Lineage
    after: Lineage
    failed: list[CheckResult]

    def run(self, factor: Factor, all_changed: list[str]) -> Factor:
        """The verdict of the failed checks when only `factor` is changed."""
        old = set(all_changed) - {factor.name}
        if "data" in old:
            raise UserError("the champion's table is not kept, so the data stays the candidate's")
        with ExitStack() as stack:
            root = code_of(self.workspace, self.before, stack) if "code" in old else self.workspace.root
            own = str(self.before.get("environment"))
            python = environment_made(self.workspace, own, stack) if "environment" in old else self.workspace.python
            checks = self._judged(self._config(old, python), root, python)
        verdict = worst(check.verdict for check in checks)
        return replace(factor, alone=verdict, estimate=checks[0].estimate)

    def _config(self, old: set[str], python: Path) -> TrainConfig:
        config = self.workspace.config.train
        if config is None:
            raise UserError("the project declares no training command")
        update: dict[str, Any] = {"run": config.run.replace(str(self.workspace.config.model.python), str(python))}
        if "parameters" in old:
            update["parameters"] = dict(self.before.get("parameters") or {})
        if "seed" in old:
            update["seed"] = int(self.before.get("seed") or 0)
        return config.model_copy(update=update)

    def _judged(self, config: TrainConfig, root: Path, python: Path) -> list[CheckResult]:
        workspace = Workspace(self.workspace.project, clock=self.workspace.clock, python=python)
        part = training_part(
            workspace.table, workspace.store, workspace.config.data, workspace.cache / "training_part.parquet"
        )
        result = train(
            config,
            model_name=workspace.model,
            train_data=part,
            cwd=root,
            registry=workspace.registry,
            tags={"holdfast.explains": workspace.model},
            echo=lambda _: None,
            cache=workspace.cache / "models",
        )
        made = predict_holdout(workspace, parse_reference(result.candidate_uri, workspace.root), self.holdout)
        trial = Contender(name="trial", predictions=made.values, predictions_digest=made.digest)
        seed = seed_from(made.digest, self.champion.digest)
        checks = quality_checks(self.rows, trial, self.champion, None, workspace.config.gates, self.metrics, seed=seed)
        wanted = {check.name for check in self.failed}
        return [check for check in checks if check.name in wanted]


def code_of(workspace: Workspace, lineage: Lineage, stack: ExitStack) -> Path:
    """The project as it was at a version's commit, in a folder of its own until `stack` ends."""
    commit = str(lineage.get("commit") or "")
    if not commit or commit.endswith("-dirty"):
        raise UserError("the champion's code was not committed, so it cannot be put back")
    folder = Path(tempfile.mkdtemp(prefix="holdfast-code-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    top = _git(workspace.root, "rev-parse", "--show-toplevel")
    archive = subprocess.run(["git", "archive", commit], cwd=top, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder / workspace.root.resolve().relative_to(Path(top).resolve())


def environment_made(workspace: Workspace, digest: str, stack: ExitStack) -> Path:
    """The interpreter of a recorded environment, made anew until `stack` ends."""
    folder = Path(tempfile.mkdtemp(prefix="environment-", dir=workspace.cache))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    pins = pins_of(stored_environment(workspace, digest))
    return build_environment(pins, folder / "venv", python=workspace.python, cwd=workspace.root).python


def with_factors(report: Report, factors: list[Factor]) -> Report:
    """A report that says what changed and what each change alone brings."""
    told = [factor.sentence for factor in factors] or ["nothing that Holdfast records changed since the champion."]
    notices = tuple(f"Since the champion: {sentence}" for sentence in told)
    return replace(report, explanation=tuple(f.to_json() for f in factors), notices=(*report.notices, *notices))


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()
