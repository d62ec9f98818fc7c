"""The gate for a pull request that has no new model: the champion, scored in the environment at hand. Writes no ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from holdfast._version import __version__
from holdfast.data.holdout import Holdout
from holdfast.environment.relevance import Moved
from holdfast.errors import UserError
from holdfast.gates.environment import judge_environment, movement
from holdfast.gates.evidence import Contender
from holdfast.models import MlflowModel
from holdfast.pipeline.data_stages import open_holdout
from holdfast.pipeline.environments import compare_environments, version_environment
from holdfast.pipeline.explain import Factor
from holdfast.pipeline.predictions import predict_holdout, recorded_predictions
from holdfast.pipeline.questions import declared_metrics, holdout_rows
from holdfast.pipeline.tracing import shown_prediction, shown_rows, with_carriers
from holdfast.pipeline.workspace import Workspace
from holdfast.release import ReleaseVersion
from holdfast.verdict import CheckResult, Report, Verdict, utc_text

EXAMPLES = 8
_SHOWN_CHANGES = 6


def gate_environment(workspace: Workspace, *, say: Callable[[str], None] = lambda _: None) -> Report:
    """Score the champion in `workspace.python` and compare with what it predicted in its own environment.

    UserError where there is no champion, OutsideError where it cannot be scored here.
    """
    champion = workspace.state().champion
    if champion is None:
        raise UserError(
            f"{workspace.model} has no champion yet, so there is nothing to score in this environment.",
            hint="Type `holdfast run` and `holdfast release promote` first.",
            reason_code="no_champion",
        )
    holdout = open_holdout(workspace)
    rows = holdout_rows(workspace, holdout)
    recorded = recorded_predictions(workspace, champion, holdout)
    say(f"scoring version {champion.version} on {len(rows):,} rows of holdout {holdout.name} in this environment")
    rescored = score_here(workspace, champion, holdout)
    gates = workspace.config.gates
    metrics = declared_metrics(gates, workspace.config.model.positive, workspace.root)
    checks = judge_environment(
        rows, recorded, rescored, gates, metrics, holdout=holdout.digest, policy=workspace.policy_digest
    )
    checks = with_carriers(checks, workspace, holdout, rows, metrics, recorded, rescored)
    checks = [_with_examples(check, workspace, holdout, recorded, rescored) for check in checks]
    changes = _changes(workspace, champion)
    return _explained(_report(workspace, champion, holdout, recorded, checks, changes), changes)


def _explained(report: Report, changes: list[Moved] | None) -> Report:
    """A failed report says that the environment is all that is not the champion's own: the model carries its code."""
    if report.verdict is Verdict.PASS or not changes:
        return report
    why = "model and data are the champion's own, so it brings the failure; `holdfast bisect` names the package"
    factor = Factor(name="environment", change=", ".join(map(str, changes)), why=why)
    return replace(report, explanation=(factor.to_json(),))


def score_here(workspace: Workspace, champion: ReleaseVersion, holdout: Holdout) -> Contender:
    """What the champion says of the holdout in the environment at hand; nothing is recorded."""
    made = predict_holdout(workspace, MlflowModel(f"models:/{workspace.model}/{champion.version}"), holdout)
    name = f"version {champion.version} here"
    return Contender(name=name, digest=champion.digest, predictions=made.values, predictions_digest=made.digest)


def _report(
    workspace: Workspace,
    champion: ReleaseVersion,
    holdout: Holdout,
    recorded: Contender,
    checks: list[CheckResult],
    changes: list[Moved] | None,
) -> Report:
    own = champion.lineage.get("environment")
    return Report(
        title="Environment gate",
        checks=tuple(checks),
        model=workspace.model,
        candidate=f"version {champion.version} in the environment at hand",
        champion=f"version {champion.version} in its own environment",
        environment={"fingerprint": workspace.fingerprint.digest, "champion": own},
        inputs={
            "holdout": holdout.digest,
            "data": champion.lineage.get("data"),
            "commit": champion.lineage.get("commit"),
            "policy": workspace.policy_digest,
            "champion": champion.digest,
            "champion_predictions": recorded.predictions_digest,
        },
        notices=_told(changes),
        created=utc_text(workspace.clock()),
        holdfast=__version__,
    )


def _changes(workspace: Workspace, champion: ReleaseVersion) -> list[Moved] | None:
    """What differs between the champion's environment and this one; None where the champion's is not known."""
    if champion.lineage.get("environment") is None:
        return None
    return compare_environments(workspace, version_environment(workspace, champion), workspace.fingerprint)


def _told(changes: list[Moved] | None) -> tuple[str, ...]:
    """What differs, in one sentence."""
    if changes is None:
        return ("The champion carries no environment of its own, so what changed since then is unknown.",)
    if not changes:
        return ("The environment at hand is the champion's own.",)
    more = f" and {len(changes) - _SHOWN_CHANGES} more" if len(changes) > _SHOWN_CHANGES else ""
    named = ", ".join(str(change) for change in changes[:_SHOWN_CHANGES])
    word = "package differs" if len(changes) == 1 else "packages differ"
    return (f"{len(changes)} {word} from the champion's environment: {named}{more}.",)


def _with_examples(
    check: CheckResult, workspace: Workspace, holdout: Holdout, recorded: Contender, rescored: Contender
) -> CheckResult:
    """The check of the movement, with the rows that moved most and where the metric lost most."""
    if "moved" not in check.details or recorded.predictions is None or rescored.predictions is None:
        return check
    before, after = recorded.predictions, rescored.predictions
    found = movement(before, after, workspace.config.gates.environment.tolerance)
    order = np.argsort(-found.by, kind="stable")[:EXAMPLES]
    shown = shown_rows(workspace, holdout, order)
    examples = [
        {"input": text, "before": shown_prediction(before, row), "after": shown_prediction(after, row)}
        for text, row in zip(shown, order, strict=True)
    ]
    return replace(check, details={**check.details, "examples": examples})
