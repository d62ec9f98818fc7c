"""Who is being judged: a model by its name and by the hash of its content, with what is known of its making."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.errors import UserError
from holdfast.models.reference import (
    CallableModel,
    MlflowModel,
    PredictionFile,
    Reference,
    model_digest,
    parse_reference,
)
from holdfast.pipeline.workspace import Workspace
from holdfast.store import canonical_json, digest, digest_file

_LINEAGE = (
    *("commit", "code", "data", "holdout", "seed", "parameters", "environment", "lock"),
    *("profile", "table_profile", "snapshot", "seconds"),
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model as a release knows it.

    `uri` is what the user typed or what training gave, `digest` the hash of its content, `version` its number where it is
    registered already, `run_id` the run it came from, `lineage` what is recorded of its making.
    """

    uri: str
    reference: Reference
    digest: str
    version: str | None = None
    run_id: str | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What the ledger keeps of it."""
        return {"uri": self.uri, "digest": self.digest, "run_id": self.run_id, "version": self.version}


def identify(workspace: Workspace, text: str) -> Subject:
    """The subject that `text` names; UserError where it names none, OutsideError where it cannot be fetched."""
    reference = parse_reference(text, workspace.root)
    if isinstance(reference, PredictionFile):
        found, run_id, version = digest_file(reference.path), None, None
    elif isinstance(reference, CallableModel):
        found, run_id, version = _source_digest(workspace, reference), None, None
    else:
        found, run_id, version = _saved(workspace, reference)
    lineage = known_lineage(workspace, found)
    return Subject(uri=text, reference=reference, digest=found, version=version, run_id=run_id, lineage=lineage)


def local_folder(workspace: Workspace, reference: MlflowModel) -> Path:
    """The saved model's files on this machine."""
    if reference.is_local:
        return Path(reference.uri)
    return workspace.registry.download(reference.uri, workspace.cache / "models")


def remember_candidate(workspace: Workspace, outputs: Mapping[str, Any]) -> None:
    """Keep what is known of a trained candidate's making under the hash of its content."""
    lineage = {name: outputs[name] for name in _LINEAGE if outputs.get(name) is not None}
    document = {"uri": outputs["candidate"], "run_id": outputs["run_id"], "lineage": lineage}
    workspace.store.put(_key(outputs["digest"]), canonical_json(document))
    workspace.store.remember("candidate", "last", {"uri": outputs["candidate"]})


def known_lineage(workspace: Workspace, found: str) -> dict[str, Any]:
    """What was recorded of the making of the model with this digest; empty for one that was made elsewhere."""
    stored = workspace.store.get(_key(found))
    return {} if stored is None else dict(json.loads(stored)["lineage"])


def last_candidate(workspace: Workspace) -> str:
    """The URI of what was trained last; UserError where nothing was."""
    remembered = workspace.store.recall("candidate", "last")
    if remembered is None:
        raise UserError(
            "no candidate has been trained here yet.", hint="Type `holdfast train`, or name one with --candidate URI."
        )
    return str(remembered["uri"])


def _key(found: str) -> str:
    return f"candidates/{found.removeprefix('sha256:')}.json"


def _saved(workspace: Workspace, reference: MlflowModel) -> tuple[str, str | None, str | None]:
    """Digest, run and version of a saved MLflow model."""
    found = model_digest(local_folder(workspace, reference))
    uri = reference.uri
    if uri.startswith("runs:/"):
        return found, uri.removeprefix("runs:/").split("/")[0], None
    if not uri.startswith("models:/"):
        return found, None, None
    name, _, number = uri.removeprefix("models:/").partition("/")
    if not number and "@" in name:
        name, _, alias = name.partition("@")
        number = workspace.registry.aliases(name).get(alias, "")
    version = workspace.registry.version(name, number) if number else None
    return found, version.run_id if version else None, number if version and name == workspace.model else None


def _source_digest(workspace: Workspace, reference: CallableModel) -> str:
    """The hash of the source file that defines the function, and of its name."""
    relative = Path(*reference.module.split("."))
    for place in (workspace.root / "src", workspace.root):
        for path in (place / relative.with_suffix(".py"), place / relative / "__init__.py"):
            if path.is_file():
                return digest(canonical_json({"source": digest_file(path), "function": reference.function}))
    raise UserError(
        f"{reference} was not found: there is no module {reference.module} in {workspace.root} or its src folder.",
        hint="Write module:function as you would import it from the project's root.",
    )
