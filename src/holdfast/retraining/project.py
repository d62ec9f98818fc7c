"""The policies and the trigger of one project, asked and fired."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from holdfast.pipeline.workspace import Workspace
from holdfast.release import stream_of as release_stream
from holdfast.retraining.ask import Answer, Decision, ask, fire
from holdfast.retraining.changes import changed_since
from holdfast.retraining.setup import policies_from, trigger_from
from holdfast.retraining.triggers import holdfast_run


def retrain(workspace: Workspace, *, if_needed: bool, reason: str | None = None) -> tuple[Decision, str | None]:
    """Ask the declared policies (or take the user's word) and start at most one training within the cooldown."""
    config = workspace.config.retraining
    cooldown = timedelta(hours=config.cooldown_hours) if if_needed else timedelta(0)
    policies = policies_from(
        config,
        drift_score=lambda _: last_drift(workspace),
        last_training=lambda _: last_training(workspace),
        last_commit=lambda _: last_commit(workspace),
        changed_files=lambda commit: changed_files(workspace, commit),
        clock=workspace.clock,
    )
    ledger = workspace.ledger
    if if_needed:
        decision = ask(policies, workspace.model, ledger, clock=workspace.clock, cooldown=cooldown)
    else:
        said = Answer(policy="asked", retrain=True, reason=reason or "Somebody asked for it.")
        decision = Decision(model=workspace.model, answers=(said,))
    trigger = trigger_from(config, lambda: holdfast_run(workspace.project.file))
    return decision, fire(decision, trigger, ledger, clock=workspace.clock, cooldown=cooldown)


def last_drift(workspace: Workspace) -> float | None:
    """The drift score that `holdfast drift` measured last against this champion; None where it never did."""
    champion = workspace.state().champion
    kept = workspace.store.recall("drift", "last")
    if kept is None or champion is None or kept.get("champion") != champion.version:
        return None
    score = kept.get("score")
    return None if score is None else float(score)


def last_training(workspace: Workspace) -> datetime | None:
    """When the newest version was registered."""
    events = workspace.ledger.read(release_stream(workspace.model))
    times = [event.time for event in events if event.type == "registered"]
    return datetime.fromisoformat(times[-1]) if times else None


def last_commit(workspace: Workspace) -> str | None:
    """The commit that the newest version was trained from, without the mark of a changed tree."""
    versions = workspace.state().versions.values()
    commits = [str(version.lineage["commit"]) for version in versions if version.lineage.get("commit")]
    return commits[-1].removesuffix("-dirty") if commits else None


def changed_files(workspace: Workspace, commit: str) -> Sequence[str]:
    """What changed in the project since `commit`."""
    return changed_since(commit, workspace.root)
