"""How a user names a model, and the name of a saved model's content."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from holdfast.errors import UserError
from holdfast.store import canonical_json, digest, digest_file

_FORMS = (
    "Write models:/NAME@ALIAS, models:/NAME/3, runs:/RUN/model, the folder of a saved model, module:function, "
    "or a .parquet or .csv file of predictions."
)
_MODELS = re.compile(r"models:/(?:[^/@]+(?:/[^/@]+|@[^/@]+)|m-[0-9a-f]+)")
_CALLABLE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
# What MLflow writes anew at every save or download, whatever the model.
_VOLATILE = {"artifact_path", "model_id", "model_size_bytes", "model_uuid", "run_id", "utc_time_created"}
_VOLATILE_FILES = {"registered_model_meta"}


@dataclass(frozen=True)
class MlflowModel:
    """A saved MLflow model: a `models:/` or `runs:/` URI, or the path of its folder."""

    uri: str

    @property
    def is_local(self) -> bool:
        return not self.uri.startswith(("models:/", "runs:/"))

    def __str__(self) -> str:
        return self.uri


@dataclass(frozen=True)
class CallableModel:
    """A function of the user's project, `module:function`: a table in, one prediction a row out."""

    module: str
    function: str

    def __str__(self) -> str:
        return f"{self.module}:{self.function}"


@dataclass(frozen=True)
class PredictionFile:
    """Predictions that were made elsewhere."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


Reference = MlflowModel | CallableModel | PredictionFile


def parse_reference(text: str, root: str | Path = ".") -> Reference:
    """What `text` names; paths are relative to `root`. UserError where it is none of the known forms."""
    if text.startswith(("models:", "runs:")):
        return _mlflow_uri(text)
    path = Path(root) / text
    if path.suffix.lower() in {".parquet", ".csv"}:
        if not path.is_file():
            raise UserError(f"there is no file of predictions {path}.")
        return PredictionFile(path)
    if path.is_dir():
        if not (path / "MLmodel").is_file():
            raise UserError(f"{path} is no MLflow model: it has no file MLmodel.", hint=_FORMS)
        return MlflowModel(str(path))
    if _CALLABLE.fullmatch(text):
        module, _, function = text.partition(":")
        return CallableModel(module, function)
    raise UserError(f"{text!r} names no model.", hint=_FORMS)


def _mlflow_uri(text: str) -> MlflowModel:
    if text.startswith("models:"):
        if not _MODELS.fullmatch(text):
            raise UserError(
                f"{text!r} names no version of a model.", hint="Write models:/NAME/3 or models:/NAME@champion."
            )
    elif not re.fullmatch(r"runs:/[^/]+/.+", text):
        raise UserError(f"{text!r} names no model of a run.", hint="Write runs:/RUN_ID/model.")
    return MlflowModel(text)


def read_mlmodel(folder: str | Path) -> dict[str, Any]:
    """The `MLmodel` file of a saved model; UserError where there is none or it cannot be read."""
    file = Path(folder) / "MLmodel"
    try:
        document = YAML(typ="safe", pure=True).load(io.StringIO(file.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        found = "there is none" if isinstance(error, FileNotFoundError) else "it cannot be read"
        raise UserError(f"{folder} is no saved MLflow model: it needs a file MLmodel, and {found}.") from None
    if not isinstance(document, dict):
        raise UserError(f"{file} is no saved MLflow model: expected a mapping, found {type(document).__name__}.")
    return document


def model_files(folder: str | Path) -> list[Path]:
    """Every file of a saved model, sorted by its path inside; UserError for a link, which could lead outside."""
    found = []
    for path in sorted(Path(folder).rglob("*")):
        if path.is_symlink():
            raise UserError(f"the saved model holds a link, {path}: a model must hold its own files.")
        if path.is_file() and "__pycache__" not in path.parts:
            found.append(path)
    return found


def model_digest(folder: str | Path) -> str:
    """`sha256:…` of a saved model's files, without what MLflow writes anew at every save (run id, uuid, time)."""
    root = Path(folder)
    stable = _without_places({key: value for key, value in read_mlmodel(root).items() if key not in _VOLATILE})
    files = {
        path.relative_to(root).as_posix(): digest_file(path)
        for path in model_files(root)
        if path != root / "MLmodel" and path.name not in _VOLATILE_FILES
    }
    return digest(canonical_json({"MLmodel": _plain(stable), "files": files}))


def _without_places(mlmodel: dict[str, Any]) -> dict[str, Any]:
    """`mlmodel` without the folders of the machine that its artifacts and its code were logged from: their content is
    hashed as files.
    """
    flavors = dict(mlmodel.get("flavors") or {})
    function = dict(flavors.get("python_function") or {})
    if isinstance(function.get("artifacts"), dict):
        function["artifacts"] = {
            name: {key: value for key, value in artifact.items() if key != "uri"}
            if isinstance(artifact, dict)
            else artifact
            for name, artifact in function["artifacts"].items()
        }
    if isinstance(function.get("model_code_path"), str):
        function["model_code_path"] = Path(function["model_code_path"]).name
    if function:
        flavors["python_function"] = function
    return {**mlmodel, "flavors": flavors} if "flavors" in mlmodel else mlmodel


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it; YAML also knows dates."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
