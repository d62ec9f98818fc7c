"""What a bisection asks of each environment: the champion re-scored, the snapshot, or a command of the user's."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import Any

from holdfast.environment.bisection import Check
from holdfast.environment.build import Environment
from holdfast.errors import HoldfastError, UserError
from holdfast.gates.environment import judge_environment
from holdfast.pipeline.data_stages import open_holdout
from holdfast.pipeline.environment_gate import score_here
from holdfast.pipeline.golden import check_snapshot
from holdfast.pipeline.predictions import recorded_predictions
from holdfast.pipeline.questions import declared_metrics, holdout_rows
from holdfast.pipeline.workspace import Workspace
from holdfast.verdict import CheckResult, Verdict, worst

UNTESTABLE_STATUS = 125  # of a user's own check: this environment cannot be asked


def check_of(workspace: Workspace, asked: str, *, count: bool = True) -> Check:
    """The check that a name or a command stands for; `count`: a snapshot also counts the real inputs that change."""
    if asked == "gate":
        return _gate_check(workspace)
    if asked.partition(":")[0] == "snapshot":
        return _snapshot_check(workspace, set(filter(None, asked.partition(":")[2].split(","))), count)
    return _command_check(workspace, asked)


def _gate_check(workspace: Workspace) -> Check:
    """The environment gate, with the record read once."""
    champion = workspace.state().champion
    if champion is None:
        raise UserError(f"{workspace.model} has no champion yet, so there is nothing to score.", hint="Use --check.")
    holdout = open_holdout(workspace)
    rows, recorded = holdout_rows(workspace, holdout), recorded_predictions(workspace, champion, holdout)
    if recorded.missing:
        raise UserError(recorded.missing, reason_code="no_recorded_predictions")
    gates = workspace.config.gates
    metrics = declared_metrics(gates, workspace.config.model.positive, workspace.root)

    def check(environment: Environment) -> CheckResult:
        there = Workspace(workspace.project, clock=workspace.clock, python=environment.python)
        try:
            rescored = score_here(there, champion, holdout)
        except HoldfastError as error:
            return _error("gate", error)
        checks = judge_environment(
            rows, recorded, rescored, gates, metrics, holdout=holdout.digest, policy=workspace.policy_digest
        )
        return _together("gate", checks)

    return check


def _snapshot_check(workspace: Workspace, only: set[str], count: bool) -> Check:
    """The snapshot check, of all declared functions or of some by name."""

    def check(environment: Environment) -> CheckResult:
        there = Workspace(workspace.project, clock=workspace.clock, python=environment.python)
        try:
            report = check_snapshot(there, count=count)
        except HoldfastError as error:
            return _error("snapshot", error)
        kept = [c for c in report.checks if not only or c.name.removeprefix("snapshot.") in only]
        return _together("snapshot", kept)

    return check


def _command_check(workspace: Workspace, command: str) -> Check:
    from holdfast.training.command import arguments

    words = arguments(command)
    seconds = workspace.config.model.timeout.total_seconds()

    def check(environment: Environment) -> CheckResult:
        place = environment.python.parent
        path = f"{place}{os.pathsep}{os.environ.get('PATH', '')}"
        given = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(place.parent)}
        try:
            done = subprocess.run(
                words,
                cwd=workspace.root,
                env=given,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return plain_result(
                "command", Verdict.ERROR, f"the command could not be asked: {' '.join(str(error).split())[:200]}."
            )
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1][:200]
        if done.returncode == UNTESTABLE_STATUS:
            return plain_result("command", Verdict.ERROR, f"the command cannot tell there: {last}")
        verdict = Verdict.FAIL if done.returncode else Verdict.PASS
        return plain_result("command", verdict, f"exit status {done.returncode}: {last}")

    return check


def _together(name: str, checks: list[CheckResult]) -> CheckResult:
    """Many checks as one answer: the worst verdict, the figures of the check that decides or of the first with a margin."""
    decided = [check for check in checks if check.counts_as is not None]
    verdict = worst(check.counts_as or Verdict.PASS for check in decided)
    guilty = [check for check in decided if check.counts_as is verdict]
    figures = next((c for c in checks if c.kind == "regression"), guilty[0] if guilty else checks[0])
    said = next(
        (c for c in checks if c.kind == "regression" and c.counts_as is verdict), guilty[0] if guilty else figures
    )
    details = {"checks": [_short(check) for check in checks if check.counts_as is not None]}
    return replace(
        figures,
        name=name,
        kind="environment",
        verdict=verdict,
        message=said.message,
        level="stop",
        on_inconclusive="fail",
        details=details,
    )


def _short(check: CheckResult) -> dict[str, Any]:
    return {**check.to_json(), "series": []}


def _error(name: str, error: HoldfastError) -> CheckResult:
    return plain_result(name, Verdict.ERROR, error.message)


def plain_result(name: str, verdict: Verdict, message: str) -> CheckResult:
    return CheckResult(name=name, kind="environment", verdict=verdict, message=message)
