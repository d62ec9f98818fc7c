"""The gate as a station: gather the evidence (predictions, timings), judge it, keep the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast._version import __version__
from holdfast.data.holdout import Holdout, record_evaluation
from holdfast.errors import UserError
from holdfast.gates.evidence import Contender
from holdfast.gates.judge import GateEvidence, first_release_notice, judge
from holdfast.pipeline.candidates import Subject, identify
from holdfast.pipeline.data_stages import data_digest, open_holdout
from holdfast.pipeline.explain import explained
from holdfast.pipeline.predictions import candidate_predictions, recorded_predictions, timings
from holdfast.pipeline.questions import declared_metrics, holdout_rows
from holdfast.pipeline.tracing import with_carriers
from holdfast.pipeline.workspace import Workspace
from holdfast.release import ReleaseVersion, guard_first_release, record_judgement
from holdfast.stats import Metric
from holdfast.store import canonical_json
from holdfast.verdict import Report, utc_text


@dataclass(frozen=True)
class Gated:
    """A judgement that is on record: the report, the digest it is stored under, and who was judged."""

    report: Report
    digest: str
    subject: Subject


def gate(workspace: Workspace, candidate: str, *, say: Callable[[str], None] = lambda _: None) -> Gated:
    """Judge `candidate` (an MLflow URI, `module:function`, or a file of predictions) and record the report.

    Raises UserError where the candidate is the champion itself or cannot be read, Refused where the holdout's
    evaluations are used up, OutsideError where the model fails to answer.
    """
    state = workspace.state()
    guard_first_release(state, workspace.registry, workspace.model)
    holdout = open_holdout(workspace)
    subject = identify(workspace, candidate)
    _not_the_champion(subject, state.champion)
    rows = holdout_rows(workspace, holdout)
    say(f"predicting {len(rows):,} rows of holdout {holdout.name} with the candidate")
    contender = candidate_predictions(workspace, subject, holdout)
    champion = _recorded(workspace, state.champion, holdout)
    anchor = _anchor(workspace, state.anchor, state.champion, holdout)
    timed = timings(workspace, subject, state.champion, holdout, rows, say)
    record_evaluation(workspace.ledger, holdout, subject.digest, workspace.config.holdout.max_evaluations)
    evidence = GateEvidence(
        rows=rows,
        candidate=contender,
        champion=champion,
        anchor=anchor,
        timings=timed,
        holdout=holdout.digest,
        policy=workspace.policy_digest,
    )
    metrics = declared_metrics(workspace.config.gates, workspace.config.model.positive, workspace.root)
    report = _report(workspace, evidence, subject, holdout, metrics)
    before = {} if state.champion is None else state.champion.lineage
    report = explained(report, workspace, holdout, rows, metrics, champion, before, subject.lineage, say)
    return Gated(report, _keep(workspace, report, subject, state.champion), subject)


def _not_the_champion(subject: Subject, champion: ReleaseVersion | None) -> None:
    if champion is not None and subject.version == champion.version:
        raise UserError(
            f"the candidate {subject.uri} is the champion itself (version {champion.version}): there is nothing to compare.",
            hint="Name another version or run.",
        )


def _recorded(workspace: Workspace, version: ReleaseVersion | None, holdout: Holdout) -> Contender | None:
    return None if version is None else recorded_predictions(workspace, version, holdout)


def _anchor(
    workspace: Workspace, anchor: ReleaseVersion | None, champion: ReleaseVersion | None, holdout: Holdout
) -> Contender | None:
    """The anchor's predictions; None where the champion is the anchor, whose own margin is the tighter one."""
    if anchor is None or champion is None or anchor.digest == champion.digest:
        return None
    return recorded_predictions(workspace, anchor, holdout)


def _report(
    workspace: Workspace, evidence: GateEvidence, subject: Subject, holdout: Holdout, metrics: dict[str, Metric]
) -> Report:
    checks = judge(evidence, workspace.config.gates, metrics)
    champion = evidence.champion
    checks = with_carriers(checks, workspace, holdout, evidence.rows, metrics, champion, evidence.candidate)
    return Report(
        title="Gate",
        checks=tuple(checks),
        model=workspace.model,
        candidate=subject.uri,
        champion=champion.name if champion else None,
        environment={"fingerprint": workspace.fingerprint.digest},
        inputs={
            "holdout": holdout.digest,
            "data": data_digest(workspace) if workspace.project.path(workspace.config.data.train).exists() else None,
            "commit": subject.lineage.get("commit"),
            "policy": workspace.policy_digest,
            "candidate": subject.digest,
            "champion": champion.digest if champion else None,
            "champion_predictions": champion.predictions_digest if champion else None,
        },
        notices=first_release_notice(champion),
        created=utc_text(workspace.clock()),
        holdfast=__version__,
    )


def _keep(workspace: Workspace, report: Report, subject: Subject, champion: ReleaseVersion | None) -> str:
    """Store the report by its content and write into the ledger that it was made."""
    stored = workspace.store.put_object(canonical_json(report.to_json()))
    record_judgement(
        workspace.ledger,
        workspace.model,
        report=stored,
        verdict=report.verdict,
        candidate=subject.identity(),
        champion=None if champion is None else champion.version,
        policy=workspace.policy,
    )
    return stored
