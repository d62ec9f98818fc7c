"""The policies and the trigger that a project declares under `retraining`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from holdfast.config.schema import RetrainingConfig
from holdfast.retraining.policies import (
    CodeChangeRetrainingPolicy,
    DataDriftRetrainingPolicy,
    RetrainingPolicy,
    ScheduledRetrainingPolicy,
)
from holdfast.retraining.triggers import GitHubWorkflowTrigger, LocalTrigger, Trigger


def policies_from(
    config: RetrainingConfig,
    *,
    drift_score: Callable[[str], float | None],
    last_training: Callable[[str], datetime | None],
    last_commit: Callable[[str], str | None],
    changed_files: Callable[[str], Sequence[str]],
    clock: Callable[[], datetime],
) -> list[RetrainingPolicy]:
    """One policy for each of `drift`, `every_days` and `on_change` that is declared."""
    policies: list[RetrainingPolicy] = []
    if config.drift is not None:
        policies.append(DataDriftRetrainingPolicy(config.drift, drift_score=drift_score))
    if config.every_days is not None:
        policies.append(ScheduledRetrainingPolicy(config.every_days, last_training=last_training, clock=clock))
    if config.on_change:
        policies.append(
            CodeChangeRetrainingPolicy(config.on_change, last_commit=last_commit, changed_files=changed_files)
        )
    return policies


def trigger_from(config: RetrainingConfig, run: Callable[[], int]) -> Trigger:
    """The declared GitHub workflow, else `run` on this machine."""
    return LocalTrigger(run) if config.workflow is None else GitHubWorkflowTrigger(config.workflow)
