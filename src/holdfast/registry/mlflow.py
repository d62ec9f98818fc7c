"""MLflow 3 as a registry: a sqlite file, a database, or any tracking server by its URI."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.errors import OutsideError, UserError
from holdfast.registry.calls import ABSENT, DOWNLOADING, calling, code_of, is_database_error
from holdfast.registry.opening import open_client
from holdfast.registry.protocol import Version
from holdfast.registry.uris import without_passwords
from holdfast.verdict import utc_text

SOURCE_TAG = "holdfast.source"
_PAGE = 1000


class MlflowRegistry:
    """The `Registry` of an `mlflow.MlflowClient` that answers at `uri`."""

    def __init__(self, client: Any, uri: str) -> None:
        self._client = client
        self.uri = uri

    def ensure_model(self, model: str) -> None:
        with calling(self.uri):
            try:
                self._client.create_registered_model(model)
            except Exception as error:
                if code_of(error) != "RESOURCE_ALREADY_EXISTS":
                    raise

    def register(self, model: str, source: str, run_id: str | None, tags: Mapping[str, str]) -> Version:
        self.ensure_model(model)
        with calling(self.uri, source):
            place, model_id = self._place(source)
        known = self._of_source(model, source, place)
        if known is not None:
            return known
        if source.startswith("runs:/"):
            run_id = run_id or source.removeprefix("runs:/").split("/")[0]
        with calling(self.uri):
            made = self._client.create_model_version(
                model, place, run_id=run_id, tags={**tags, SOURCE_TAG: source}, model_id=model_id
            )
        # Of two that registered the same source at once, both see the older version here and both use it.
        return self._of_source(model, source, place) or _version(made)

    def _of_source(self, model: str, source: str, place: str) -> Version | None:
        same = (v for v in self.versions(model) if v.tags.get(SOURCE_TAG) == source or v.source == place)
        return next((v for v in same if v.status == "READY"), None)

    def _place(self, source: str) -> tuple[str, str | None]:
        """Where the files of `runs:/ID/PATH` are: artifacts of the run or, since MLflow 3, a model logged by itself."""
        if not source.startswith("runs:/"):
            return source, None
        run_id, _, path = source.removeprefix("runs:/").partition("/")
        run = self._client.get_run(run_id)
        place = f"{run.info.artifact_uri}/{path}"
        if path and self._has_model(place):
            return place, None
        outputs = sorted(run.outputs.model_outputs, key=lambda output: output.step) if run.outputs else []
        for output in reversed(outputs):
            logged = self._client.get_logged_model(output.model_id)
            if logged.name == path:
                return str(logged.artifact_location), output.model_id
        raise UserError(f"{source} holds no saved MLflow model.", hint="Log one with mlflow's log_model(name=…).")

    def _location(self, uri: str) -> str:
        """The folder or bucket that `uri` names. MLflow itself would ask its process-wide registry, maybe another one."""
        place = self._place(uri)[0]
        model, _, number = place.removeprefix("models:/").partition("/")
        if place.startswith("models:/") and number:
            place = str(self._client.get_model_version_download_uri(model, number))
        if place.startswith("models:/"):  # a logged model by its id
            place = str(self._client.get_logged_model(place.removeprefix("models:/")).artifact_location)
        return place

    def _has_model(self, place: str) -> bool:
        from mlflow.artifacts import list_artifacts

        found = list_artifacts(artifact_uri=place, tracking_uri=self.uri)
        return any(item.path.rpartition("/")[2] == "MLmodel" for item in found)

    def version(self, model: str, version: str) -> Version | None:
        if not re.fullmatch(r"[1-9]\d{0,8}", version):
            return None
        found = self._or_none(lambda: self._client.get_model_version(model, version))
        return None if found is None else _version(found)

    def versions(self, model: str) -> list[Version]:
        quoted = model.replace("'", "''")
        found = self._pages(
            lambda token: self._client.search_model_versions(f"name='{quoted}'", _PAGE, page_token=token)
        )
        return sorted((_version(v) for v in found if v.name == model), key=lambda v: int(v.version))

    def has_files(self, model: str, version: str) -> bool:
        return bool(self._or_none(lambda: self._has_model(self._location(f"models:/{model}/{version}"))))

    def aliases(self, model: str) -> dict[str, str]:
        found = self._or_none(lambda: self._client.get_registered_model(model))
        return {} if found is None else {name: str(version) for name, version in found.aliases.items()}

    def set_alias(self, model: str, alias: str, version: str) -> None:
        with calling(self.uri):
            try:
                self._client.set_registered_model_alias(model, alias, version)
            except Exception as error:
                # Two who make the same new alias at once can collide in the database, in MLflow's server as error 500.
                if not is_database_error(error) and code_of(error) in {*ABSENT, "RESOURCE_ALREADY_EXISTS"}:
                    raise
                self._client.set_registered_model_alias(model, alias, version)

    def delete_alias(self, model: str, alias: str) -> None:
        self._or_none(lambda: self._client.delete_registered_model_alias(model, alias))

    def stage_champion(self, model: str) -> Version | None:
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
        with calling(self.uri):
            self._client.set_registered_model_tag(model, key, value)

    def set_version_tag(self, model: str, version: str, key: str, value: str) -> None:
        with calling(self.uri):
            self._client.set_model_version_tag(model, version, key, value)

    def download(self, uri: str, folder: Path) -> Path:
        resolved = self._without_alias(uri)
        name = f"{self.uri}\n{resolved}\n{self._created(resolved)}"
        place = Path(folder) / hashlib.sha256(name.encode()).hexdigest()[:32]
        if (place / "MLmodel").is_file():
            return place
        Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = Path(tempfile.mkdtemp(dir=folder))
        try:
            self._fetch(resolved, temporary).rename(place)
        except OSError as error:
            if not (place / "MLmodel").is_file():  # else somebody was first, with the same files
                raise OutsideError(f"{uri} could not be kept in {folder}: {error.strerror or error}.") from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return place

    def _fetch(self, uri: str, folder: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        with calling(self.uri, uri, settings=DOWNLOADING):
            place = self._location(uri)
            found = Path(download_artifacts(artifact_uri=place, dst_path=str(folder), tracking_uri=self.uri))
        if not (found / "MLmodel").is_file():
            raise UserError(f"{uri} holds no saved MLflow model: there is no file MLmodel.")
        return found

    def _created(self, uri: str) -> str | None:
        """When the version that `uri` names was made: its number is given again once the whole model was deleted."""
        model, _, number = uri.removeprefix("models:/").partition("/")
        if not uri.startswith("models:/") or not number:
            return None
        version = self.version(model, number)
        if version is None:
            raise UserError(f"there is no version {number} of {model} in {without_passwords(self.uri)}.")
        return version.created

    def set_run_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        with calling(self.uri, f"run {run_id}"):
            self._client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def runs_since(self, moment: datetime) -> list[str]:
        start = int(moment.timestamp() * 1000)
        experiments = [e.experiment_id for e in self._pages(lambda t: self._client.search_experiments(page_token=t))]
        if not experiments:
            return []
        runs = self._pages(
            lambda token: self._client.search_runs(
                experiments,
                f"attributes.start_time >= {start}",
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
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

    def _pages(self, ask: Callable[[str | None], Any]) -> list[Any]:
        """Everything that `ask` gives page by page."""
        found: list[Any] = []
        token: str | None = None
        with calling(self.uri):
            while True:
                page = ask(token)
                found += page
                token = page.token
                if not token:
                    return found

    def _or_none(self, ask: Callable[[], Any]) -> Any:
        """What `ask` gives; None where it asks for what does not exist."""
        with calling(self.uri):
            try:
                return ask()
            except Exception as error:
                if code_of(error) not in ABSENT:
                    raise
                return None


def open_mlflow(uri: str) -> MlflowRegistry:
    """The MLflow registry at the absolute `uri`; errors as of `open_registry`."""
    return MlflowRegistry(open_client(uri), uri)


def registry_of(client: Any) -> MlflowRegistry:
    """The registry behind an `mlflow.MlflowClient` that the user made."""
    return MlflowRegistry(client, str(client.tracking_uri))


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
