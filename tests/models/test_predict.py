"""Predictions and latency of functions and files, from the reference to the checked array."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.config.schema import ModelConfig
from holdfast.environment import fingerprint
from holdfast.errors import OutsideError, UserError
from holdfast.models.latency import Timed, _calls_in_a_block, alternate, measure_latency
from holdfast.models.predict import Predictions, local_target, predict
from holdfast.models.process import InProcess
from holdfast.models.reference import CallableModel, MlflowModel, parse_reference

CONFIG = ModelConfig(name="m", timeout=timedelta(seconds=60))


@pytest.fixture(autouse=True)
def _forget_modules() -> Any:
    yield
    sys.modules.pop("scoring", None)


def predicted(project: Path, reference: str, *, in_process: bool = True, **options: Any) -> Predictions:
    return predict(
        reference,
        project / "rows.parquet",
        model_config=CONFIG,
        registry=None,
        python=sys.executable,
        cwd=project,
        cache=project / "cache",
        drop=["label"],
        in_process=in_process,
        **options,
    )


def test_a_function_in_the_worker_and_in_process_agree(project: Path) -> None:
    isolated = predicted(project, "scoring:labels", in_process=False)
    assert isolated.values.tolist() == ["niedriger", "niedriger", "höher", "höher"]
    assert isolated.fingerprint == fingerprint(sys.executable, project).digest
    assert isolated.digest == predicted(project, "scoring:labels").digest
    assert isolated.seconds > 0


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("short", "the model scoring:short gave 3 predictions for 4 rows."),
        (
            "not_a_number",
            "the model scoring:not_a_number gave NaN or infinite predictions for 2 of 4 rows (rows 2, 3).",
        ),
        ("infinite", "the model scoring:infinite gave NaN or infinite predictions for 2 of 4 rows (rows 2, 3)."),
        ("missing_label", "the model scoring:missing_label gave missing predictions for 1 of 4 rows (rows 1)."),
        (
            "mixed",
            "the model scoring:mixed gave a list of float and int and str, expected one number or label for each row.",
        ),
        ("scalar", "the model scoring:scalar gave a float, expected one number or label for each row."),
        ("empty", "the model scoring:empty gave a NoneType, expected one number or label for each row."),
    ],
)
def test_bad_predictions(project: Path, function: str, sentence: str) -> None:
    with pytest.raises(OutsideError) as caught:
        predicted(project, f"scoring:{function}")
    assert caught.value.message == sentence


def test_a_file_of_predictions_by_key(project: Path) -> None:
    (project / "scores.csv").write_text("id,score\nd,4\nc,3\nb,2\na,1\n")
    assert predicted(project, "scores.csv", key=["id"]).values.tolist() == [1, 2, 3, 4]
    assert predicted(project, "scores.csv", key=["id"]).fingerprint is None


def measured(project: Path, candidate: str, champion: str | None, **options: Any) -> Any:
    def timed(text: str) -> Timed:
        return Timed(parse_reference(text, project), sys.executable)

    return measure_latency(
        timed(candidate),
        timed(champion) if champion else None,
        project / "rows.parquet",
        [[0], [1, 2], [3]],
        registry=None,
        cwd=project,
        cache=project / "cache",
        **{"model_config": CONFIG, **options},
    )


def test_latency_of_two_and_of_one(project: Path) -> None:
    both = measured(project, "scoring:slow", "scoring:fast", calls=90, blocks=30)
    assert both.candidate.shape == both.champion.shape == (30, 3)
    assert both.candidate.min(axis=0).tolist() >= [2.0, 4.0, 2.0]
    alone = measured(project, "scoring:fast", None, calls=31, blocks=30)
    assert alone.candidate.shape == (30, 2)
    assert alone.champion is None


def test_fewer_calls_when_the_time_is_short(project: Path) -> None:
    with InProcess(project) as model:
        model.load(CallableModel("scoring", "slow"))
        model.give(project / "rows.parquet")
        for budget_ms, most in ((600, 10), (1, 1)):
            assert 1 <= _calls_in_a_block([model], [[0]], 100_000, 30, budget_ms) <= most
        assert _calls_in_a_block([model], [[0]], 60, 30, 1e9) == 2


def test_calls_alternate_and_take_turns_at_beginning(project: Path) -> None:
    order: list[tuple[str, list[int]]] = []

    class Noted(InProcess):
        def time_calls(self, row_slices: Any, warm_up: int = 0) -> Any:
            order.append((self.name, [rows[0] for rows in row_slices]))
            return super().time_calls(row_slices, warm_up)

    models = [Noted(project, name=name) for name in ("candidate", "champion")]
    for model in models:
        with model:
            model.load(CallableModel("scoring", "fast"))
            model.give(project / "rows.parquet")
    alternate(models, [[0], [1], [2]], per_block=2, blocks=3)
    assert order == [
        ("candidate", [0, 1]),
        ("champion", [0, 1]),
        ("champion", [2, 0]),
        ("candidate", [2, 0]),
        ("candidate", [1, 2]),
        ("champion", [1, 2]),
    ]


def test_a_file_cannot_be_timed(project: Path) -> None:
    (project / "scores.csv").write_text("id,score\n")
    with pytest.raises(UserError, match="file of predictions, so its latency cannot be measured"):
        measured(project, "scores.csv", None)


def test_a_registered_model_is_fetched_and_a_function_or_folder_is_not(tmp_path: Path) -> None:
    class Fetching:
        def download(self, uri: str, folder: Path) -> Path:
            return folder / uri.rpartition("/")[2]

    fetching: Any = Fetching()
    assert local_target(MlflowModel("models:/ranker/3"), fetching, tmp_path) == tmp_path / "3"
    assert local_target(MlflowModel("models:/ranker/3"), lambda: fetching, tmp_path) == tmp_path / "3"
    assert local_target(MlflowModel(str(tmp_path)), None, tmp_path / "cache") == tmp_path
    assert local_target(CallableModel("m", "f"), None, tmp_path) == CallableModel("m", "f")
