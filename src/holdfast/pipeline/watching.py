"""A table beside the profile of the champion's training data."""

from __future__ import annotations

from pathlib import Path

from holdfast._version import __version__
from holdfast.config.schema import DataConfig
from holdfast.data.drift import compare_profiles, drift_score
from holdfast.data.profile import profile_table
from holdfast.data.tables import Table, open_table
from holdfast.errors import UserError
from holdfast.pipeline.workspace import Workspace
from holdfast.verdict import CheckResult, Report, utc_text

_MONTH_SECONDS = 30 * 24 * 3600


def drift_report(workspace: Workspace, current: Path) -> Report:
    """Every column of the table at `current` against the champion's training part; its score is kept for the policies.

    Raises UserError where there is no champion profile: without a yardstick nothing can be said to have drifted.
    """
    table = open_table(current)
    checks = drift_checks(workspace, table)
    champion = workspace.state().champion
    score = drift_score(checks)
    kept = {"score": score, "champion": champion.version if champion else None, "data": table.content_hash()}
    workspace.store.remember("drift", "last", {**kept, "time": utc_text(workspace.clock())})
    return Report(
        title="Drift",
        checks=tuple(checks),
        model=workspace.model,
        champion=f"version {champion.version}" if champion else None,
        inputs={
            "holdout": None,
            "data": kept["data"],
            "commit": None,
            "reference": workspace.champion_lineage().get("profile"),
        },
        created=utc_text(workspace.clock()),
        holdfast=__version__,
    )


def drift_checks(workspace: Workspace, table: Table) -> list[CheckResult]:
    """One check a column, at the family-wise error that the month's budget of alarms leaves for one look."""
    reference = workspace.champion_profile()
    if reference is None:
        raise UserError(
            f"there is no profile of a champion's training data for {workspace.model}.",
            hint="Type `holdfast run` and `holdfast release promote` first.",
        )
    data = workspace.config.data
    group = data.group if data.group in table.columns else None
    return compare_profiles(
        reference,
        profile_table(table, reference=reference, group=group),
        psi_limit=workspace.config.monitoring.drift.psi,
        alpha=window_alpha(workspace),
        ignore=naming_columns(data) | ({data.label} - set(table.columns)),  # labels come later
    )


def naming_columns(data: DataConfig) -> set[str]:
    """The columns that name rows, units or times: they are new in every table."""
    return {*(data.key or []), *([data.group] if data.group else []), *([data.time] if data.time else [])}


def window_alpha(workspace: Workspace) -> float:
    """The family-wise error of one look: the month's budget of false alarms over the looks in a month."""
    monitoring = workspace.config.monitoring
    looks = _MONTH_SECONDS / monitoring.every.total_seconds()
    return min(0.05, monitoring.alarms_per_month / looks)
