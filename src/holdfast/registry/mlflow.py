"""MLflow 3 as a registry: a sqlite file, or any tracking server by its URI."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.errors import OutsideError, UserError
from holdfast.registry.protocol import Version
from holdfast.store import masked
from holdfast.verdict import utc_text

# Set before MLflow reads them: a server that is away is noticed in seconds, and nobody phones home.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}  # an unknown alias is the latter


class MlflowRegistry:
    """The `Registry` of an `mlflow.MlflowClient`."""

    def __init__(self, client: Any, uri: str) -> None:
        self._client = client
        self.uri = uri

    def ensure_model(self, model: str) -> None:
        with self._explained():
            try:
                self._client.create_registered_model(model)
            except Exception as error:
                if _code(error) != "RESOURCE_ALREADY_EXISTS":
                    raise

    def register(self, model: str, source: str, run_id: str | None, tags: Mapping[str, str]) -> Version:
        self.ensure_model(model)
        known = [v for v in self.versions(model) if v.tags.get("holdfast.source") == source]
        if known:
            return known[-1]
        with self._explained():
            place, model_id = self._place(source)
            made = self._client.create_model_version(
                model, place, run_id=run_id, tags={**tags, "holdfast.source": source}, model_id=model_id
            )
        return _version(made)

    def _place(self, source: str) -> tuple[str, str | None]:
        """Where the files of `runs:/ID/PATH` are: artifacts of the run or, since MLflow 3, a logged model of its own."""
        if not source.startswith("runs:/"):
            return source, None
        run_id, _, path = source.removeprefix("runs:/").partition("/")
        run = self._client.get_run(run_id)
        outputs = sorted(run.outputs.model_outputs, key=lambda output: output.step) if run.outputs else []
        for output in reversed(outputs):
            if self._client.get_logged_model(output.model_id).name == path:
                return f"models:/{output.model_id}", output.model_id
        if any(item.path == f"{path}/MLmodel" for item in self._client.list_artifacts(run_id, path)):
            return f"{run.info.artifact_uri}/{path}", None
        raise UserError(f"{source} holds no saved MLflow model.", hint="Log one with mlflow's log_model(name=…).")

    def version(self, model: str, version: str) -> Version | None:
        if not str(version).isdigit():
            return None
        found = self._or_none(lambda: self._client.get_model_version(model, str(version)))
        return None if found is None else _version(found)

    def versions(self, model: str) -> list[Version]:
        quoted = model.replace("'", "\\'")
        with self._explained():
            found = list(self._client.search_model_versions(f"name='{quoted}'", max_results=10_000))
        return sorted((_version(v) for v in found), key=lambda v: int(v.version))

    def aliases(self, model: str) -> dict[str, str]:
        found = self._or_none(lambda: self._client.get_registered_model(model))
        return {} if found is None else {name: str(version) for name, version in found.aliases.items()}

    def set_alias(self, model: str, alias: str, version: str) -> None:
        with self._explained():
            try:
                self._client.set_registered_model_alias(model, alias, version)
            except Exception:
                if self.aliases(model).get(alias) != version:  # two writers of the same new alias can collide in SQL
                    self._client.set_registered_model_alias(model, alias, version)

    def delete_alias(self, model: str, alias: str) -> None:
        with self._explained():
            self._client.delete_registered_model_alias(model, alias)

    def stage_champion(self, model: str) -> Version | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._or_none(lambda: self._client.get_latest_versions(model, stages=["Production"]))
        if not found:
            return None
        warnings.warn(
            f"{model} has a version in the deprecated stage Production; use the alias champion instead",
            DeprecationWarning,
            stacklevel=2,
        )
        return _version(found[0])

    def model_tags(self, model: str) -> dict[str, str]:
        found = self._or_none(lambda: self._client.get_registered_model(model))
        return {} if found is None else dict(found.tags)

    def set_model_tag(self, model: str, key: str, value: str) -> None:
        with self._explained():
            self._client.set_registered_model_tag(model, key, value)

    def set_version_tag(self, model: str, version: str, key: str, value: str) -> None:
        with self._explained():
            self._client.set_model_version_tag(model, version, key, value)

    def download(self, uri: str, folder: Path) -> Path:
        resolved = self._without_alias(uri)
        place = Path(folder) / hashlib.sha256(f"{self.uri}\n{resolved}".encode()).hexdigest()[:32]
        if (place / "MLmodel").is_file():
            return place
        Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = Path(tempfile.mkdtemp(dir=folder))
        try:
            from mlflow.artifacts import download_artifacts

            with self._explained(resolved):
                found = Path(download_artifacts(artifact_uri=resolved, dst_path=str(temporary), tracking_uri=self.uri))
            if not (found / "MLmodel").is_file():
                raise UserError(f"{uri} holds no saved MLflow model: there is no file MLmodel.")
            with contextlib.suppress(OSError):  # somebody else was first, with the same files
                found.rename(place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return place

    def set_run_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        with self._explained(f"run {run_id}"):
            self._client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def runs_since(self, moment: datetime) -> list[str]:
        start = int(moment.timestamp() * 1000)
        with self._explained():
            experiments = [e.experiment_id for e in self._client.search_experiments()]
            runs = self._client.search_runs(
                experiments, f"attributes.start_time >= {start}", order_by=["attributes.start_time ASC"]
            )
        return [run.info.run_id for run in runs]

    def _without_alias(self, uri: str) -> str:
        if not (uri.startswith("models:/") and "@" in uri):
            return uri
        model, _, alias = uri.removeprefix("models:/").partition("@")
        number = self.aliases(model).get(alias)
        if number is None:
            raise UserError(f"the model {model} has no alias {alias}.", hint="Look with `holdfast release status`.")
        return f"models:/{model}/{number}"

    def _or_none(self, ask: Callable[[], Any]) -> Any:
        """What `ask` gives; None where it asks for what does not exist."""
        with self._explained():
            try:
                return ask()
            except Exception as error:
                if _code(error) not in _ABSENT:
                    raise
                return None

    @contextlib.contextmanager
    def _explained(self, what: str | None = None) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            text = " ".join(str(error).split())[:300]
            if what is not None and _code(error) in _ABSENT:
                raise UserError(f"there is no {what} in {masked(self.uri)}: {text}.") from None
            raise OutsideError(
                f"the registry {masked(self.uri)} did not answer as expected: {text}.",
                hint="Check the `registry:` URI and that the server runs.",
                reason_code="registry_unavailable",
            ) from None


def open_mlflow(uri: str) -> MlflowRegistry:
    """The MLflow registry at `uri`; UserError without mlflow, OutsideError where it does not answer."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for noisy in ("alembic", "mlflow", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        import mlflow
    except ModuleNotFoundError:
        raise UserError("mlflow is not installed here.", hint="Type: pip install 'holdfast[mlflow]'") from None
    from mlflow.exceptions import MlflowException

    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_registered_models(max_results=1)
    except Exception as error:
        if not isinstance(error, (MlflowException, OSError)) and not _is_database_error(error):
            raise
        text = " ".join(str(error).split())[:200]
        raise OutsideError(
            f"the registry {masked(uri)} cannot be reached: {masked(text)}.",
            hint="Check the `registry:` URI and that the server runs.",
            reason_code="registry_unavailable",
        ) from None
    return MlflowRegistry(client, uri)


def registry_of(client: Any) -> MlflowRegistry:
    """The registry behind an `mlflow.MlflowClient` that the user made."""
    return MlflowRegistry(client, str(client.tracking_uri))


def _is_database_error(error: Exception) -> bool:
    return type(error).__module__.startswith(("sqlalchemy", "sqlite3", "psycopg2"))


def _code(error: Exception) -> str | None:
    return getattr(error, "error_code", None)


def _version(found: Any) -> Version:
    created = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return Version(
        model=found.name,
        version=str(found.version),
        source=str(found.source),
        run_id=found.run_id or None,
        tags={str(k): str(v) for k, v in (found.tags or {}).items()},
        status=str(found.status),
        created=utc_text(created),
    )
