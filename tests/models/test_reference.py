"""How models are named, and when two saved models are the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from holdfast.errors import UserError
from holdfast.models.reference import CallableModel, MlflowModel, PredictionFile, model_digest, parse_reference

MLMODEL = """flavors:
  python_function:
    loader_module: mlflow.sklearn
    model_path: model.skops
{volatile}"""
FIRST = "run_id: abc\nmodel_uuid: 1\nutc_time_created: '2026-01-01 10:00:00'\nmodel_id: m-1\n"
SECOND = "run_id: xyz\nmodel_uuid: 2\nutc_time_created: '2026-02-02 20:00:00'\nmodel_id: m-2\nartifact_path: /x\n"


@pytest.mark.parametrize(
    "uri",
    ["models:/ranker@champion", "models:/ranker/3", "runs:/0a1b/model", "runs:/0a1b/a/deep/model", "models:/m-0a1b2c"],
)
def test_mlflow_uris(uri: str) -> None:
    assert parse_reference(uri) == MlflowModel(uri)


def test_functions_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "preds.parquet").touch()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "MLmodel").touch()
    assert parse_reference("pkg.scoring:Model.predict") == CallableModel("pkg.scoring", "Model.predict")
    assert parse_reference("preds.parquet", tmp_path) == PredictionFile(tmp_path / "preds.parquet")
    folder = parse_reference("saved", tmp_path)
    assert folder == MlflowModel(str(tmp_path / "saved"))
    assert isinstance(folder, MlflowModel)
    assert folder.is_local


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("models:/ranker", "names no version of a model"),
        ("models:/ranker@", "names no version of a model"),
        ("models:ranker/3", "names no version of a model"),
        ("runs:/0a1b", "names no model of a run"),
        ("preds.csv", "no file of predictions"),
        ("empty", "has no file MLmodel"),
        ("pkg.scoring", "names no model"),
        ("pkg-a:predict", "names no model"),
        ("", "has no file MLmodel"),
    ],
)
def test_what_is_no_reference(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=sentence):
        parse_reference(text, tmp_path)


def save(folder: Path, volatile: str, weights: str = "weights") -> Path:
    folder.mkdir()
    (folder / "MLmodel").write_text(MLMODEL.format(volatile=volatile))
    (folder / "model.skops").write_text(weights)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text(folder.name)
    return folder


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    first = save(tmp_path / "first", FIRST)
    second = save(tmp_path / "second", SECOND)
    (second / "registered_model_meta").write_text("model_version: 3")
    assert model_digest(first) == model_digest(second)
    assert model_digest(save(tmp_path / "other", FIRST, "other weights")) != model_digest(first)
    assert model_digest(save(tmp_path / "described", FIRST + "signature: other\n")) != model_digest(first)
    shutil.move(second / "model.skops", second / "model2.skops")
    assert model_digest(first) != model_digest(second)


def test_where_a_model_was_logged_from_does_not_count(tmp_path: Path) -> None:
    function = "{model_code_path: %s/src/model_code.py, artifacts: {a: {uri: %s, path: artifacts/a}}}"
    flavors = f"flavors: {{python_function: {function}}}\n"
    digests = set()
    for place in ("/home/one", "/home/two"):
        folder = tmp_path / place.rpartition("/")[2]
        folder.mkdir()
        (folder / "MLmodel").write_text(flavors % (place, place))
        digests.add(model_digest(folder))
    assert len(digests) == 1


def test_a_model_holds_its_own_files(tmp_path: Path) -> None:
    folder = save(tmp_path / "linked", FIRST)
    (folder / "data").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="holds a link"):
        model_digest(folder)


@pytest.mark.parametrize("text", [None, "[1, 2", "- a list"])
def test_what_is_no_saved_model(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(UserError, match="no saved MLflow model"):
        model_digest(tmp_path)
