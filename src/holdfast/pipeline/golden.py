"""Snapshots of a project: made with every candidate, checked against the champion's, accepted only by command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast._version import __version__
from holdfast.errors import Refused, UserError
from holdfast.pipeline.environments import keep_environment
from holdfast.pipeline.workspace import Workspace
from holdfast.snapshots import Place, Snapshot, accept, baseline, check, load_snapshot, record, save_snapshot
from holdfast.verdict import Report, Verdict, utc_text

Say = Callable[[str], None]


@dataclass(frozen=True)
class Recorded:
    """What `snapshot record` did: the digest in force, what it was before, and the difference it accepted, if any."""

    digest: str
    before: str | None
    snapshot: Snapshot
    report: Report | None = None


def make_snapshot(workspace: Workspace) -> tuple[str, Snapshot]:
    """Run the declared functions here and now, and keep what they give and where; its digest."""
    keep_environment(workspace)
    found = record(
        workspace.config.snapshots,
        workspace.config.data,
        workspace.table,
        _place(workspace),
        workspace.store,
        model=workspace.model,
        environment=workspace.fingerprint.digest,
    )
    return save_snapshot(workspace.store, found), found


def in_force(workspace: Workspace) -> str | None:
    """The digest of the snapshot that checks compare with: the champion's, or one accepted in its place."""
    return baseline(workspace.store, workspace.model, workspace.champion_lineage().get("snapshot"))


def check_snapshot(
    workspace: Workspace, *, against: str | None = None, count: bool = True, say: Say = lambda _: None
) -> Report:
    """Compare what the declared functions give now with the snapshot in force (or the one called `against`).

    With `count` the real inputs that are affected are counted where something changed.
    """
    digest = against or in_force(workspace)
    if digest is None:
        raise UserError(
            f"no snapshot of {workspace.model} is recorded yet, so there is nothing to compare with.",
            hint="Type `holdfast snapshot record`.",
            reason_code="no_snapshot",
        )
    snapshot = load_snapshot(workspace.store, digest)
    checks = check(workspace.config.snapshots, snapshot, _place(workspace), workspace.store, count=count, say=say)
    return Report(
        title="Snapshot",
        checks=tuple(checks),
        model=workspace.model,
        champion=_whose(workspace, digest),
        environment={"fingerprint": workspace.fingerprint.digest, "recorded": snapshot.environment},
        inputs={"holdout": None, "data": snapshot.inputs.get("data"), "commit": None, "snapshot": digest},
        created=utc_text(workspace.clock()),
        holdfast=__version__,
    )


def record_snapshot(workspace: Workspace, *, accepting: bool, say: Say = lambda _: None) -> Recorded:
    """Record what the functions give now and put it in force.

    Where it differs from the snapshot in force nothing is written, unless `accepting`: Refused then, with the difference
    told by `say`-able report in the error's `report`.
    """
    before = in_force(workspace)
    report = None if before is None else check_snapshot(workspace, against=before, say=say)
    if report is not None and report.verdict is not Verdict.PASS and not accepting:
        raise NotAccepted(report)
    digest, snapshot = make_snapshot(workspace)
    accept(
        workspace.store,
        workspace.model,
        digest,
        instead_of=workspace.champion_lineage().get("snapshot"),
        at=utc_text(workspace.clock()),
    )
    changed = report if report is not None and report.verdict is not Verdict.PASS else None
    return Recorded(digest, before, snapshot, changed)


class NotAccepted(Refused):
    """The functions give something else than the snapshot in force; `report` shows what would be accepted."""

    def __init__(self, report: Report) -> None:
        super().__init__(
            "the features are not those of the snapshot in force, and nothing was written.",
            hint="Look at the difference above; type `holdfast snapshot record --accept` if it is what you want.",
            reason_code="not_accepted",
        )
        self.report = report


def _place(workspace: Workspace) -> Place:
    return Place(workspace.python, workspace.root, workspace.config.snapshots.timeout.total_seconds())


def _whose(workspace: Workspace, digest: str) -> str | None:
    champion = workspace.state().champion
    if champion is not None and champion.lineage.get("snapshot") == digest:
        return f"version {champion.version}"
    return None
