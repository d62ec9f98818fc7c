"""Why a snapshot differs: the environment, the code, or both; where both changed each is tried alone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.pipeline.explain import Factor, code_of, environment_made, with_factors, words_of
from holdfast.pipeline.train_stage import current_commit, inputs_digest
from holdfast.pipeline.workspace import Workspace
from holdfast.snapshots import Place, check, load_snapshot
from holdfast.verdict import Report, Verdict, worst

Say = Callable[[str], None]


def explain_snapshot(report: Report, workspace: Workspace, *, say: Say = lambda _: None) -> Report:
    """A snapshot's report, where it does not pass with what changed since it was recorded."""
    recorded = report.environment.get("recorded")
    if report.verdict is Verdict.PASS or recorded is None:
        return report
    before = {**workspace.champion_lineage(), "environment": recorded}
    after = {
        "environment": workspace.fingerprint.digest,
        "code": _code(workspace),
        "commit": current_commit(workspace.root),
    }
    names = [name for name in ("code", "environment") if before.get(name) not in (None, after[name])]
    factors = [Factor(name=name, change=words_of(workspace, name, before, after)) for name in names]
    if len(factors) == 1:
        hint = "; `holdfast bisect --check snapshot` names the package" if names == ["environment"] else ""
        factors = [replace(factors[0], why=f"it is all that changed, so it brings the difference{hint}")]
    elif factors:
        factors = [_alone(factor, workspace, report, before, say) for factor in factors]
    return with_factors(report, factors)


def _code(workspace: Workspace) -> str | None:
    train = workspace.config.train
    return inputs_digest(workspace.root, train.inputs) if train is not None and train.inputs else None


def _alone(factor: Factor, workspace: Workspace, report: Report, before: dict[str, object], say: Say) -> Factor:
    """The functions with this alone changed: new code in the old environment, or old code in the new one."""
    say(f"why? once with only the {factor.name} changed")
    try:
        with ExitStack() as stack:
            root, python = workspace.root, workspace.python
            if factor.name == "code":
                python = environment_made(workspace, str(before["environment"]), stack)
            else:
                root = code_of(workspace, before, stack)
            return replace(factor, alone=_verdict(workspace, report, root, python))
    except (HoldfastError, OSError, subprocess.SubprocessError) as error:
        return replace(factor, why=f"it could not be tried alone: {' '.join(str(error).split())[:200]}")


def _verdict(workspace: Workspace, report: Report, root: Path, python: Path) -> Verdict:
    config = workspace.config.snapshots
    snapshot = load_snapshot(workspace.store, str(report.inputs["snapshot"]))
    where = Place(python, root, config.timeout.total_seconds())
    return worst(c.verdict for c in check(config, snapshot, where, workspace.store, count=False))
