"""Predictions and timings for the gate: the candidate's made now, the champion's taken from the record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from holdfast.data.holdout import Holdout
from holdfast.errors import HoldfastError
from holdfast.gates.evidence import Contender, Rows
from holdfast.gates.latency import Timings
from holdfast.models import (
    MlflowModel,
    PredictionFile,
    Predictions,
    Reference,
    Timed,
    load_predictions,
    measure_latency,
    predict,
    save_predictions,
)
from holdfast.pipeline.candidates import Subject
from holdfast.pipeline.workspace import Workspace
from holdfast.release import ReleaseVersion

_CALLS_FOR_A_LIMIT = 600  # 368 give an interval of a p99; a comparison needs thousands


def candidate_predictions(workspace: Workspace, subject: Subject, holdout: Holdout) -> Contender:
    """What the candidate says of the holdout, made in the environment at hand and kept in the store."""
    made = predict_holdout(workspace, subject.reference, holdout)
    environment = made.fingerprint or workspace.fingerprint.digest
    save_predictions(workspace.store, subject.digest, holdout.digest, environment, made, replace=True)
    return Contender(name=subject.uri, digest=subject.digest, predictions=made.values, predictions_digest=made.digest)


def recorded_predictions(workspace: Workspace, version: ReleaseVersion, holdout: Holdout) -> Contender:
    """What `version` said of the holdout in its own environment, from the record.

    Where nothing is recorded it is scored now, but only if the environment at hand is its own: in another one both
    models could degrade together and the comparison would show nothing.
    """
    name = f"version {version.version}"
    own = version.lineage.get("environment") or workspace.fingerprint.digest
    found = load_predictions(workspace.store, version.digest, holdout.digest, own)
    if found is None and own == workspace.fingerprint.digest:
        found = predict_holdout(workspace, MlflowModel(f"models:/{workspace.model}/{version.version}"), holdout)
        save_predictions(workspace.store, version.digest, holdout.digest, own, found)
    if found is None:
        missing = (
            f"{name} has no recorded predictions on holdout {holdout.name}, and the environment here is not the one it "
            f"was made in ({own[:15]}…): type the same `holdfast gate` once with its own lock file installed."
        )
        return Contender(name=name, digest=version.digest, missing=missing)
    return Contender(name=name, digest=version.digest, predictions=found.values, predictions_digest=found.digest)


def predict_holdout(workspace: Workspace, reference: Reference, holdout: Holdout) -> Predictions:
    """What a model says of the holdout, in the project's environment; nothing is recorded."""
    config = workspace.config
    return predict(
        reference,
        holdout.path,
        model_config=config.model,
        registry=lambda: workspace.registry,
        python=workspace.python,
        cwd=workspace.root,
        cache=workspace.cache / "models",
        drop=(config.data.label,),
        key=config.data.key,
    )


def timings(
    workspace: Workspace,
    subject: Subject,
    champion: ReleaseVersion | None,
    holdout: Holdout,
    rows: Rows,
    say: Callable[[str], None],
) -> Timings | None:
    """Milliseconds of single calls of candidate and champion, alternating; None where no latency gate is declared."""
    gate = workspace.config.gates.latency
    if gate is None:
        return None
    if isinstance(subject.reference, PredictionFile):
        return Timings(missing="a file of predictions cannot be timed.")
    other, why_not = _timed_champion(workspace, champion) if gate.max_regression_pct is not None else (None, None)
    calls = gate.calls if other else min(gate.calls, _CALLS_FOR_A_LIMIT)
    say(f"timing {calls:,} calls" + (" of each model, alternating" if other else ""))
    try:
        measured = measure_latency(
            Timed(subject.reference, workspace.python),
            other,
            holdout.path,
            call_slices(rows, gate.batch_rows),
            model_config=workspace.config.model,
            registry=lambda: workspace.registry,
            cwd=workspace.root,
            cache=workspace.cache / "models",
            drop=(workspace.config.data.label,),
            calls=calls,
        )
    except HoldfastError as error:
        return Timings(missing=f"the calls could not be timed: {error.message}", failed=True)
    return Timings(candidate=measured.candidate, champion=measured.champion, champion_missing=why_not)


def _timed_champion(workspace: Workspace, champion: ReleaseVersion | None) -> tuple[Timed | None, str | None]:
    """The champion to time, or why it cannot be: each model is timed in its own environment or not at all."""
    if champion is None:
        return None, None
    if champion.lineage.get("environment", workspace.fingerprint.digest) != workspace.fingerprint.digest:
        return (
            None,
            f"version {champion.version} belongs to another environment than the one at hand and was not timed.",
        )
    return Timed(MlflowModel(f"models:/{workspace.model}/{champion.version}"), workspace.python), None


def call_slices(rows: Rows, batch_rows: int) -> list[list[int]]:
    """The row numbers of one call each: all rows of a unit where rows have units, else `batch_rows` rows."""
    if rows.groups is None:
        return [list(range(begin, min(begin + batch_rows, len(rows)))) for begin in range(0, len(rows), batch_rows)]
    _, codes = np.unique(rows.groups.astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) > 0])
    return [part.tolist() for part in np.split(order, starts[1:])]
