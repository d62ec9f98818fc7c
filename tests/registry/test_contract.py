"""What every registry must do: MLflow in a sqlite file and MLflow's server on PostgreSQL."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.errors import OutsideError, UserError
from holdfast.registry import Registry, open_registry
from tests.fixtures.registries import log_files

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_what_does_not_exist_is_none_or_empty(registry: Registry, model: str) -> None:
    assert registry.version(model, "1") is None
    assert registry.version(model, "champion") is None
    assert registry.version(model, "9" * 40) is None
    assert (registry.versions(model), registry.aliases(model), registry.model_tags(model)) == ([], {}, {})
    assert registry.stage_champion(model) is None
    assert not registry.has_files(model, "1")
    registry.delete_alias(model, "champion")
    registry.ensure_model(model)
    registry.ensure_model(model)
    assert (registry.versions(model), registry.aliases(model)) == ([], {})
    registry.delete_alias(model, "champion")


def test_a_source_is_registered_once(registry: Registry, model: str) -> None:
    source, other = log_files(registry.uri), log_files(registry.uri)
    first = registry.register(model, source, None, {"holdfast.digest": "sha256:1"})
    again = registry.register(model, source, None, {})
    second = registry.register(model, other, None, {})
    assert (first.version, again.version, second.version) == ("1", "1", "2")
    assert first.tags["holdfast.digest"] == "sha256:1"
    assert first.run_id == source.split("/")[1]
    assert first.created is not None
    assert datetime.fromisoformat(first.created).tzinfo is not None
    assert [v.version for v in registry.versions(model)] == ["1", "2"]
    assert registry.version(model, "2") == registry.versions(model)[1]


def test_what_was_registered_by_hand_is_known_by_its_place(registry: Registry, model: str) -> None:
    from mlflow import MlflowClient

    source = log_files(registry.uri)
    made = registry.register(f"{model}-first", source, None, {})
    registry.ensure_model(model)
    by_hand = MlflowClient(tracking_uri=registry.uri).create_model_version(model, made.source, run_id=made.run_id)
    assert registry.register(model, source, None, {}).version == str(by_hand.version)


def test_racers_register_one_version_and_set_one_alias(registry: Registry, model: str) -> None:
    source = log_files(registry.uri)

    def race(_: int) -> str:
        made = registry.register(model, source, None, {})
        registry.set_alias(model, "champion", made.version)
        return made.version

    with ThreadPoolExecutor(4) as pool:
        versions = set(pool.map(race, range(4)))
    assert len(versions) == 1
    assert registry.aliases(model) == {"champion": versions.pop()}


def test_aliases_move_and_go(registry: Registry, model: str) -> None:
    one = registry.register(model, log_files(registry.uri), None, {})
    two = registry.register(model, log_files(registry.uri), None, {})
    registry.set_alias(model, "champion", one.version)
    registry.set_alias(model, "candidate", two.version)
    registry.set_alias(model, "champion", two.version)
    assert registry.aliases(model) == {"champion": "2", "candidate": "2"}
    registry.delete_alias(model, "candidate")
    assert registry.aliases(model) == {"champion": "2"}
    with pytest.raises(OutsideError):
        registry.set_alias(model, "champion", "77")


def test_mlflow_takes_the_aliases_of_a_deleted_version_with_it(registry: Registry, model: str) -> None:
    """The reason why release reconciles; the day this fails, it may do less."""
    from mlflow import MlflowClient

    made = registry.register(model, log_files(registry.uri), None, {})
    registry.set_alias(model, "champion", made.version)
    MlflowClient(tracking_uri=registry.uri).delete_model_version(model, made.version)
    assert registry.aliases(model) == {}
    assert registry.version(model, made.version) is None
    assert not registry.has_files(model, made.version)


def test_tags_of_models_and_versions(registry: Registry, model: str) -> None:
    made = registry.register(model, log_files(registry.uri), None, {})
    registry.set_model_tag(model, "holdfast.head", "sha256:1")
    registry.set_model_tag(model, "holdfast.head", "sha256:2")
    registry.set_version_tag(model, made.version, "holdfast.why", "because")
    assert registry.model_tags(model) == {"holdfast.head": "sha256:2"}
    found = registry.version(model, made.version)
    assert found is not None
    assert found.tags["holdfast.why"] == "because"


def test_files_come_down_once(registry: Registry, model: str, tmp_path: Path) -> None:
    source = log_files(registry.uri, "flavors: {}\n")
    made = registry.register(model, source, None, {})
    registry.set_alias(model, "champion", made.version)
    assert registry.has_files(model, made.version)
    place = registry.download(f"models:/{model}@champion", tmp_path / "cache")
    assert (place / "MLmodel").read_text() == "flavors: {}\n"
    assert registry.download(f"models:/{model}/{made.version}", tmp_path / "cache") == place
    assert (registry.download(source, tmp_path / "cache") / "MLmodel").is_file()
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("uri", ["models:/{model}@nobody", "models:/{model}/7", "runs:/0123456789abcdef/model"])
def test_no_such_files_are_the_users_mistake(registry: Registry, model: str, tmp_path: Path, uri: str) -> None:
    with pytest.raises(UserError, match="no "):
        registry.download(uri.format(model=model), tmp_path)


@pytest.mark.parametrize("path", ["/nothing", ""])
def test_a_run_without_a_model_cannot_be_registered(registry: Registry, model: str, path: str) -> None:
    run = log_files(registry.uri).removesuffix("/model")
    with pytest.raises(UserError, match="holds no saved MLflow model"):
        registry.register(model, run + path, None, {})
    with pytest.raises(UserError, match="there is no runs:/"):
        registry.register(model, "runs:/0123456789abcdef0123456789abcdef/model", None, {})


@pytest.mark.filterwarnings("ignore::UserWarning")  # of MLflow, about its own type hints
def test_a_logged_model_of_mlflow_3(
    registry: Registry, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setattr("sys.argv", ["train.py"])
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(registry.uri)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scorer.py").write_text("def predict(rows):\n    return rows\n")
    try:
        mlflow.set_experiment("logged")
        with mlflow.start_run() as run:
            mlflow.pyfunc.log_model(
                name="model", loader_module="scorer", code_paths=["scorer.py"], pip_requirements=["mlflow"]
            )
    finally:
        mlflow.set_tracking_uri(before)
    made = registry.register(model, f"runs:/{run.info.run_id}/model", None, {})
    assert registry.register(model, f"runs:/{run.info.run_id}/model", None, {}) == made
    assert registry.has_files(model, made.version)
    place = registry.download(f"models:/{model}/{made.version}", tmp_path / "cache")
    assert "python_function" in (place / "MLmodel").read_text()


def test_runs_since_a_moment(registry: Registry) -> None:
    before = datetime.now(UTC)
    time.sleep(0.01)
    run = log_files(registry.uri).split("/")[1]
    registry.set_run_tags(run, {"holdfast.commit": "abc"})
    assert registry.runs_since(before)[-1] == run
    assert registry.runs_since(datetime.now(UTC) + timedelta(hours=1)) == []
    with pytest.raises(UserError, match="no run"):
        registry.set_run_tags("0123456789abcdef0123456789abcdef", {"a": "b"})


def test_the_deprecated_stage_is_read_with_a_warning(registry: Registry, model: str) -> None:
    from mlflow import MlflowClient

    made = registry.register(model, log_files(registry.uri), None, {})
    client = MlflowClient(tracking_uri=registry.uri)
    client.transition_model_version_stage(model, made.version, "Production")
    with pytest.warns(DeprecationWarning, match="stage Production"):
        found = registry.stage_champion(model)
    assert found is not None
    assert found.version == made.version


def test_the_same_registry_again(registry: Registry, model: str) -> None:
    registry.register(model, log_files(registry.uri), None, {})
    assert [v.version for v in open_registry(registry.uri).versions(model)] == ["1"]
