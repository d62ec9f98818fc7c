"""The stations after the gate, and the whole road in its order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.errors import Refused, UserError
from holdfast.models.reference import MlflowModel
from holdfast.pipeline.candidates import Subject, identify, last_candidate
from holdfast.pipeline.data_stages import DataStage, HoldoutStage
from holdfast.pipeline.gate_stage import GateStage
from holdfast.pipeline.road import Decision, Outcome, Road, Stage
from holdfast.pipeline.train_stage import TrainStage
from holdfast.pipeline.workspace import Workspace
from holdfast.release import ReleaseVersion, register, stage
from holdfast.verdict import Verdict


def stages_of(workspace: Workspace) -> list[Stage]:
    """The road of this project; UserError where it trains nothing, because then a candidate must be named."""
    if workspace.config.train is None:
        raise UserError(
            f"{workspace.project.file.name} declares no `train:`, so the road has no beginning.",
            hint="Judge a model that exists with `holdfast gate --candidate URI`.",
        )
    return [DataStage(), HoldoutStage(), TrainStage(), GateStage(), RegisterStage(), StageStage()]


def candidate_of(workspace: Workspace, candidate: str | None, run_id: str | None) -> Subject:
    """The subject that the options name: a URI, a run, or what was trained last."""
    if candidate and run_id:
        raise UserError("--candidate and --run-id both name a model.", hint="Give one of them.")
    if run_id:
        path = workspace.config.train.model_path if workspace.config.train else "model"
        candidate = f"runs:/{run_id}/{path}"
    return identify(workspace, candidate or last_candidate(workspace))


def register_candidate(workspace: Workspace, subject: Subject) -> ReleaseVersion:
    """Make `subject` a version of the registered model; the same content gives the same version again."""
    if not isinstance(subject.reference, MlflowModel):
        raise UserError(
            f"{subject.uri} cannot be registered: the registry holds saved MLflow models only.",
            hint="Log it with mlflow and name it as runs:/RUN_ID/model.",
        )
    return register(
        workspace.ledger,
        workspace.registry,
        workspace.model,
        uri=subject.uri,
        digest=subject.digest,
        run_id=subject.run_id,
        lineage=subject.lineage,
    )


def stage_version(workspace: Workspace, number: str | None) -> ReleaseVersion:
    """Make a registered version the candidate (default: the newest)."""
    if number is None:
        versions = workspace.state().versions
        if not versions:
            raise UserError(f"no version of {workspace.model} is registered yet.", hint="Type `holdfast register`.")
        number = max(versions, key=int)
    return stage(workspace.ledger, workspace.registry, workspace.model, number)


def _known(workspace: Workspace, found: str) -> ReleaseVersion | None:
    """The registered version with this content, the newest of them."""
    same = [version for version in workspace.state().versions.values() if version.digest == found]
    return max(same, key=lambda version: int(version.version), default=None)


class RegisterStage:
    """Make the candidate a version."""

    name = "register"

    def decide(self, road: Road) -> Decision:
        known = _known(road.workspace, road.outputs["gate"]["digest"])
        if known is not None:
            reason = f"it is version {known.version} already"
            return Decision(action="skip", reason=reason, outputs=_outputs(known, road.outputs["gate"]))
        return Decision(action="run", reason="it passed the gate")

    def run(self, road: Road) -> Outcome:
        subject = identify(road.workspace, road.outputs["gate"]["candidate"])
        version = register_candidate(road.workspace, subject)
        summary = f"version {version.version} of {road.workspace.model}."
        outputs = _outputs(version, road.outputs["gate"])
        return Outcome(verdict=Verdict.PASS, summary=summary, outputs=outputs, remember=False)


class StageStage:
    """Make the version the candidate that may be promoted."""

    name = "stage"

    def decide(self, road: Road) -> Decision:
        state, number = road.workspace.state(), road.outputs["register"]["version"]
        outputs = {"version": number}
        if state.champion is not None and state.champion.version == number:
            return Decision(action="skip", reason=f"version {number} is the champion", outputs=outputs)
        if state.candidate is not None and state.candidate.version == number:
            return Decision(action="skip", reason=f"version {number} is staged already", outputs=outputs)
        return Decision(action="run", reason=f"version {number} is registered")

    def run(self, road: Road) -> Outcome:
        number = road.outputs["register"]["version"]
        try:
            version = stage_version(road.workspace, number)
        except Refused as error:
            return Outcome(verdict=Verdict.FAIL, summary=str(error), remember=False)
        summary = f"version {version.version} is the candidate. Next: holdfast release promote"
        return Outcome(verdict=Verdict.PASS, summary=summary, outputs={"version": number}, remember=False)


def _outputs(version: ReleaseVersion, gate: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": version.version, "digest": version.digest, "report": gate.get("report")}
