"""What the command line does to a release, with the project's own policy and records."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from holdfast._version import __version__
from holdfast.data.holdout import find_holdout
from holdfast.errors import HoldfastError, UserError
from holdfast.models import MlflowModel, model_digest
from holdfast.pipeline.candidates import known_lineage, local_folder
from holdfast.pipeline.data_stages import open_holdout
from holdfast.pipeline.predictions import recorded_predictions
from holdfast.pipeline.workspace import Workspace
from holdfast.release import (
    HEAD_TAG,
    Done,
    Promote,
    ReleaseState,
    adopt,
    promote,
    story,
    stream_of,
)
from holdfast.verdict import Report, utc_text


def promote_candidate(
    workspace: Workspace, *, version: str | None = None, report: str | None = None, override: str | None = None
) -> Done:
    """Promote under the policy as declared now."""
    command = Promote(
        policy=workspace.policy,
        policy_digest=workspace.policy_digest,
        version=version,
        report=report,
        override=override,
        anchor=beats_anchor(workspace, workspace.state(), version),
    )
    return promote(workspace.ledger, workspace.registry, workspace.model, command)


def beats_anchor(workspace: Workspace, state: ReleaseState, version: str | None) -> bool:
    """Whether the newest report puts the version above the anchor, by the first metric that has a margin."""
    chosen = state.versions.get(version) if version else state.candidate
    about = [judgement for judgement in state.judgements if chosen and judgement.digest == chosen.digest]
    primary = next((n for n, g in workspace.config.gates.metrics.items() if g.max_regression is not None), None)
    if not about or primary is None:
        return False
    checks = {check.name: check for check in read_report(workspace, about[-1].report).checks}
    check = checks.get(f"{primary}.total_regression") or checks.get(f"{primary}.regression")
    if check is None or check.estimate is None:
        return False
    return check.estimate > 0 if check.direction == "higher" else check.estimate < 0


def adopt_champion(workspace: Workspace, *, say: Callable[[str], None] = lambda _: None) -> Done:
    """Record the registry's champion as the starting state and, where a holdout is frozen, score it once."""
    aliases = workspace.registry.aliases(workspace.model)
    known: dict[str, dict[str, Any]] = {}
    for number in {aliases[name] for name in ("champion", "previous", "candidate") if name in aliases}:
        folder = local_folder(workspace, MlflowModel(f"models:/{workspace.model}/{number}"))
        digest = model_digest(folder)
        lineage = known_lineage(workspace, digest) or {"environment": workspace.fingerprint.digest}
        known[number] = {"digest": digest, "lineage": lineage}
    done = adopt(workspace.ledger, workspace.registry, workspace.model, known)
    champion = workspace.state().champion
    if champion is None or find_holdout(workspace.store, workspace.config.holdout.name) is None:
        say("no holdout is frozen yet, so it is scored at the first gate.")
        return done
    say("scoring it on the holdout, once")
    try:
        recorded_predictions(workspace, champion, open_holdout(workspace))
    except HoldfastError as error:
        say(f"it could not be scored: {error}")
    return done


def verify_ledger(workspace: Workspace, *, offline: bool = False) -> Report:
    """Every stream's chain, and the head that the registry remembers, which shows a cut tail."""
    anchors: dict[str, str] = {}
    if not offline:
        head = workspace.registry.model_tags(workspace.model).get(HEAD_TAG)
        if head:
            anchors[stream_of(workspace.model)] = head
    checks = workspace.ledger.verify(anchors=anchors)
    if not checks:
        raise UserError(f"the ledger in {workspace.store.url} is empty.", hint="Type `holdfast run` first.")
    return Report(
        title="Ledger",
        checks=tuple(checks),
        model=workspace.model,
        inputs={"holdout": None, "data": None, "commit": None},
        created=utc_text(workspace.clock()),
        holdfast=__version__,
    )


def stored_report(workspace: Workspace, digest: str | None) -> tuple[Report, list[str]]:
    """A report from the store (default: the newest on record), and the ledger's story."""
    events = workspace.ledger.read(stream_of(workspace.model))
    if digest is None:
        judged = [event.evidence["report"] for event in events if event.type == "judged"]
        if not judged:
            raise UserError("no gate has been asked yet, so there is no report.", hint="Type `holdfast gate`.")
        digest = judged[-1]
    return read_report(workspace, digest), story(events)


def read_report(workspace: Workspace, digest: str) -> Report:
    """The report stored under `digest`; UserError for what is no digest or no report."""
    try:
        return Report.from_json(json.loads(workspace.store.get_object(digest)))
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{digest!r} is no report's digest.", hint="See `holdfast ledger show --json`.") from None
