"""Versions loaded as a project declares: environments really built from stored locks, and refused where they are others."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.config.schema import ModelConfig
from holdfast.config.serving import ServingConfig
from holdfast.environment.build import build_environment
from holdfast.environment.fingerprint import Fingerprint, fingerprint
from holdfast.environment.locks import Pin
from holdfast.errors import Damaged, HoldfastError, OutsideError, Refused
from holdfast.models.predict import Predictions
from holdfast.models.recorded import save_predictions
from holdfast.models.reference import model_digest
from holdfast.release.state import ReleaseVersion
from holdfast.serving.models.loading import Loaded, Progress, Source, load
from holdfast.serving.models.process import ProcessModel
from holdfast.serving.models.warming import Golden, golden_rows, load_warm, warm
from holdfast.serving.payload import Payload, tensor
from holdfast.serving.served import ModelSpec, TensorSpec
from holdfast.store import canonical_json, digest_file, open_store
from tests.serving.models.conftest import in_process, numbers, run
from tests.wheels import make_wheel

# As much of MLflow as a process needs to load a model: a folder whose `factor.txt` is multiplied with VERSION of `a`.
MLFLOW = """
import os, pathlib, time

class Model:
    def __init__(self, folder):
        self.factor = float((pathlib.Path(folder) / "factor.txt").read_text())

    def predict(self, table):
        import a
        return [float(row["x"]) * self.factor * float(a.VERSION) for row in table]

class pyfunc:
    @staticmethod
    def load_model(folder):
        if (pathlib.Path(folder) / "slow").exists():
            time.sleep(60)
        return Model(folder)
"""


class Files:
    """A registry whose files are folders already."""

    uri = "folders"

    def __init__(self, root: Path) -> None:
        self.root = root

    def download(self, uri: str, folder: Path) -> Path:
        return self.root / uri.rpartition("/")[2]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A project with wheels of `a` 1.0 and 2.0 and of the small mlflow, and nothing else to install."""
    wheels = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        make_wheel(wheels, "a", version)
    make_wheel(wheels, "mlflow", "9.0", code=MLFLOW)
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return Source(
        root=tmp_path,
        cache=tmp_path / "cache",
        python=Path(sys.executable),
        model=ModelConfig(name="m"),
        store=open_store(tmp_path / "store"),
        registry=lambda: Files(tmp_path / "models"),  # type: ignore[arg-type,return-value]
    )


def environment(source: Source, **versions: str) -> tuple[Fingerprint, dict[str, Any]]:
    """An environment that something was trained in, and the lineage that names it and its lock."""
    pins = {name: Pin(version) for name, version in versions.items()}
    made = build_environment(
        pins, source.root / "trained" / "-".join(versions.values()), python=sys.executable, cwd=source.root
    )
    found = fingerprint(made.python, source.root)
    source.store.put(f"environments/{found.digest.removeprefix('sha256:')}.json", canonical_json(found.to_json()))
    lines = []
    for name, version in versions.items():
        hashed = digest_file(source.root / "wheels" / f"{name}-{version}-py3-none-any.whl")
        lines.append(f"{name}=={version} --hash={hashed}")
    return found, {"environment": found.digest, "lock": source.store.put_object("\n".join(lines).encode())}


def version(
    source: Source, number: str = "1", lineage: Mapping[str, Any] | None = None, factor: float = 10
) -> ReleaseVersion:
    folder = source.root / "models" / number
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "factor.txt").write_text(str(factor))
    return ReleaseVersion(version=number, digest=model_digest(folder), lineage=lineage or {})


def frame(*values: float) -> Payload:
    return Payload("frame", ("x",), (np.array(values),))


async def asked(source: Source, released: ReleaseVersion, **serving: Any) -> tuple[Loaded, list[float]]:
    loaded = await load(released, source, ServingConfig(**serving))
    try:
        return loaded, (await loaded.model.infer(frame(1, 2), 10)).arrays[0].tolist()
    finally:
        await loaded.model.close()


def test_each_version_in_the_environment_it_was_trained_in(source: Source) -> None:
    """Built once from what is stored, and what changes elsewhere later does not reach it."""
    _, first = environment(source, a="1.0", mlflow="9.0")
    _, second = environment(source, a="2.0", mlflow="9.0")
    one, two = version(source, "1", first), version(source, "2", second)

    async def work() -> None:
        found, answers = await asked(source, one)
        assert answers == [10.0, 20.0] and found.is_own and found.note.startswith("in its own environment (sha256:")
        assert (await asked(source, two))[1] == [20.0, 40.0]
        start = time.monotonic()
        assert (await asked(source, one))[1] == [10.0, 20.0]
        assert time.monotonic() - start < 5
        assert len(list((source.cache / "environments").iterdir())) == 2
        model = (await asked(source, one, processes=2, memory="1GB"))[0].model
        assert isinstance(model, ProcessModel)
        assert (len(model._processes), model._start.memory) == (2, 10**9)

    run(work())


def test_an_environment_that_somebody_changed_is_built_anew(source: Source) -> None:
    found, lineage = environment(source, a="1.0", mlflow="9.0")
    one = version(source, "1", lineage)
    run(asked(source, one))
    place = source.cache / "environments" / found.digest.removeprefix("sha256:")[:32]
    (info,) = place.glob("lib/python*/site-packages/a-1.0.dist-info")
    info.rename(info.with_name("a-3.0.dist-info"))
    assert run(asked(source, one))[1] == [10.0, 20.0]
    made = place.with_suffix(".1") / "bin/python"
    assert fingerprint(made, source.root).digest == found.digest
    assert run(asked(source, one))[1] == [10.0, 20.0]
    assert len(list(place.parent.iterdir())) == 2


def test_what_cannot_be_built_as_recorded_is_refused_unless_allowed_by_name(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, lineage = environment(source, a="1.0", mlflow="9.0")
    (source.root / "wheels" / "a-1.0-py3-none-any.whl").unlink()
    make_wheel(source.root / "wheels", "a", "1.0", code="# other content under the same version")
    one = version(source, "1", lineage)
    with pytest.raises(Refused, match=r"version 1 of m cannot be served in its own environment: .*(?i:hash)") as caught:
        run(asked(source, one))
    assert "allow_other_environment: ['1']" in str(caught.value.hint)
    monkeypatch.setenv("UV_CACHE_DIR", str(source.root / "another"))
    without = {**lineage, "lock": None}  # no hashes to stop it before it is compared
    with pytest.raises(Refused, match=r"is not the one on record: a 1\.0 \(sha256:.*\) → 1\.0 \(sha256:"):
        run(asked(source, dataclasses.replace(one, lineage=without)))
    python = source.root / "trained" / "1.0-9.0" / "bin" / "python"
    elsewhere = dataclasses.replace(source, python=python)
    loaded, answers = run(asked(elsewhere, one, allow_other_environment=["1"]))
    assert answers == [10.0, 20.0] and not loaded.is_own and "in the project's environment" in loaded.note
    assert not list((source.cache / "environments").iterdir())


@pytest.mark.parametrize("mode", ["environment", "in_process"])
def test_without_a_recorded_environment(source: Source, mode: str) -> None:
    with pytest.raises(Refused, match="version 1 of m cannot be served in its own environment: none is recorded"):
        run(asked(source, version(source), mode=mode))


def test_this_process_must_have_the_environment(source: Source) -> None:
    _, lineage = environment(source, a="1.0", mlflow="9.0")
    one = version(source, "1", lineage)
    with pytest.raises(Refused, match=r"this process has another one \(a 1\.0 → absent, .* and \d+ more\)"):
        run(asked(source, one, mode="in_process"))


def test_two_versions_that_bring_the_same_module_do_not_share_this_process(source: Source) -> None:
    one = version(source)
    (source.root / "models/1/code").mkdir()
    (source.root / "models/1/code/json").mkdir()
    one = dataclasses.replace(one, digest=model_digest(source.root / "models/1"))
    with pytest.raises(Refused, match="version 1 of m brings its own module json, and this process has another one"):
        run(asked(source, one, mode="in_process", allow_other_environment=["1"]))


def test_files_that_are_not_those_released(source: Source) -> None:
    one = version(source)
    (source.root / "models/1/factor.txt").write_text("11")
    with pytest.raises(Damaged, match=r"the files of models:/m/1 are sha256:.*, but sha256:.* was released"):
        run(asked(source, one))


def test_a_registry_that_is_away_does_not_matter_where_the_files_were_kept(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    _, lineage = environment(source, a="1.0", mlflow="9.0")
    one, two = version(source, "1", lineage), version(source, "2", lineage, factor=20)

    def away() -> Any:
        raise OutsideError("the registry is away.", reason_code="registry_unavailable")

    gone = dataclasses.replace(source, registry=away)
    with pytest.raises(OutsideError, match="the registry is away"):
        run(asked(gone, one))
    for number in ("1", "2"):
        shutil.copytree(source.root / "models" / number, source.cache / "models" / f"kept-{number}")
    assert [run(asked(gone, released))[1] for released in (one, two)] == [[10.0, 20.0], [20.0, 40.0]]
    assert "Version 2 is loaded from what this machine has kept." in caplog.text
    (source.cache / "models" / "kept-1" / "factor.txt").write_text("11")
    with pytest.raises(OutsideError, match="the registry is away"):
        run(asked(gone, one))


def test_a_lost_environment_is_told(source: Source) -> None:
    with pytest.raises(Damaged, match="has lost the environment sha256:"):
        run(asked(source, version(source, "1", {"environment": "sha256:" + "0" * 64})))


def test_a_load_that_takes_too_long_is_stopped_and_blocks_nothing(source: Source) -> None:
    _, lineage = environment(source, a="1.0", mlflow="9.0")
    one = version(source, "1", lineage)
    (source.root / "models/1/slow").touch()
    one = dataclasses.replace(one, digest=model_digest(source.root / "models/1"))

    async def work() -> float:
        worst = 0.0

        async def tick() -> None:
            nonlocal worst
            while True:
                start = time.monotonic()
                await asyncio.sleep(0.01)
                worst = max(worst, time.monotonic() - start)

        ticking = asyncio.create_task(tick())
        with pytest.raises(OutsideError, match="version 1 of m was not loaded within 4 s") as caught:
            await load(one, source, ServingConfig(load_timeout=timedelta(seconds=4)))
        assert caught.value.reason_code == "model_timed_out"
        ticking.cancel()
        return worst

    assert run(work()) < 1


def test_what_was_being_done_is_said(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    _, lineage = environment(source, a="1.0", mlflow="9.0")
    monkeypatch.setitem(load.__globals__, "environment_at", lambda *_, **__: time.sleep(2))
    with pytest.raises(OutsideError, match=r"within 1 s: its environment is being made, for [01] s so far"):
        run(asked(source, version(source, lineage=lineage), load_timeout=timedelta(seconds=1)))


def test_progress_is_of_what_began_first() -> None:
    progress, one = Progress(), ReleaseVersion(version="1", digest="sha256:1")
    with progress.of(one, "a"):
        with progress.of(one, "b"):
            assert progress.told() == {"1": "a, for 0 s so far"}
        assert progress.told() == {"1": "a, for 0 s so far"}
    assert progress.told() == {}


def test_upstream_needs_a_server(source: Source) -> None:
    serving = {"mode": "upstream", "upstream": "http://127.0.0.1:1/{version}", "load_timeout": timedelta(seconds=0.3)}
    with pytest.raises(OutsideError, match="version 1 was not ready at"):
        run(asked(source, version(source), **serving))


# --- warming --------------------------------------------------------------------------------------------------------


def holdout(source: Source, released: ReleaseVersion, recorded: Any) -> Golden | None:
    """Rows of three queries with a label, and what the version said of them when it was gated."""
    table = pa.table({"q": ["u", "u", "v", "w", "w"], "x": [1.0, 2.0, 3.0, 4.0, 5.0], "y": [0, 1, 0, 1, 0]})
    pq.write_table(table, source.root / "holdout.parquet")
    fingerprint_digest = str(released.lineage["environment"])
    values = Predictions(np.asarray(recorded, dtype=np.float64))
    save_predictions(source.store, released.digest, "sha256:" + "1" * 64, fingerprint_digest, values, replace=True)
    return golden_rows(
        source.store,
        source.root / "holdout.parquet",
        model_digest=released.digest,
        holdout_digest="sha256:" + "1" * 64,
        environment=fingerprint_digest,
        label="y",
        group="q",
        rows=3,
    )


def test_a_version_is_warm_when_it_answers_as_recorded(source: Source) -> None:
    _, lineage = environment(source, a="1.0", mlflow="9.0")
    one = version(source, "1", lineage)

    async def work() -> None:
        good = holdout(source, one, [10, 20, 30, 40, 50])
        assert good is not None and good.inputs.names == ("q", "x") and good.inputs.rows == 3  # u and v, whole
        model = await load_warm(one, source, ServingConfig(), lambda: good)
        assert model.is_alive
        await model.close()
        bad = holdout(source, one, [10, 20, 31, 40, 50])
        with pytest.raises(
            Refused, match=r"does not answer as recorded: 1 of 3 golden rows differ, such as row 2: 30\.0 now"
        ):
            await load_warm(one, source, ServingConfig(), lambda: bad)

    run(work())


def test_a_version_that_cannot_be_loaded_is_refused_and_not_waited_for(source: Source) -> None:
    _, lineage = environment(source, a="1.0", mlflow="9.0")
    one = version(source, "1", lineage)
    (source.root / "models/1/factor.txt").write_text("no number")
    one = dataclasses.replace(one, digest=model_digest(source.root / "models/1"))
    with pytest.raises(Refused, match="version 1 of m raised ValueError") as caught:
        run(load_warm(one, source, ServingConfig()))
    assert not isinstance(caught.value, OutsideError) and isinstance(caught.value, HoldfastError)


@pytest.mark.parametrize(
    ("function", "recorded", "is_own", "ok", "said"),
    [
        ("double", [2.0, 4.0], True, True, "answers 2 golden rows as recorded"),
        ("double", [2.0, 4.00001], True, True, "as recorded"),
        ("double", [2.0, 4.1], True, False, "1 of 2 golden rows differ, such as row 1: 4.0 now, 4.1 then"),
        ("double", [2.0, 4.1], False, True, "does not answer as recorded"),
        ("double", [[2.0, 1.0], [4.0, 1.0]], True, False, r"its answer has shape \(2,\), \(2, 2\) is recorded"),
        ("words", ["word 1", "word 2"], True, True, "as recorded"),
        ("nan", [1.0, 2.0], True, False, "not finite"),
        ("short", [1.0, 2.0], True, False, "gave 1 rows for 2"),
        ("raises", [1.0, 2.0], True, False, "did not answer its golden rows: the model raised ValueError"),
        ("nothing", [1.0, 2.0], True, False, "gave a NoneType"),
        ("slowly", [1.0, 2.0], True, False, "did not answer within 0.5 s"),
    ],
)
def test_golden_answers(project: Path, function: str, recorded: Any, is_own: bool, ok: bool, said: str) -> None:
    async def work() -> None:
        model = await in_process(project, function)
        values = np.array(recorded, dtype=object if isinstance(recorded[0], str) else np.float64)
        warmed = await warm(Loaded(model=model, is_own=is_own), Golden(numbers(1, 2), values), timeout=0.5)
        assert warmed.asked == "golden" and warmed.ok is ok
        assert said.replace("\\", "") in warmed.message
        await model.close()

    run(work())


def test_a_signature_that_the_model_does_not_keep_to_is_put_aside(project: Path) -> None:
    async def work() -> None:
        model = await in_process(project, "double")
        model.spec = ModelSpec(outputs=(TensorSpec("", "FP64", (-1, 3)),))
        warmed = await warm(Loaded(model=model), Golden(numbers(1), np.array([2.0])), timeout=5)
        assert warmed.ok and model.spec.outputs == ()
        assert any("not checked against its signature" in check for check in warmed.checks)
        await model.close()

    run(work())


def test_nothing_to_ask(project: Path) -> None:
    async def work() -> None:
        model = await in_process(project, "double")
        warmed = await warm(Loaded(model=model), None, timeout=5)
        assert warmed.ok and warmed.asked == "nothing"
        await model.close()

    run(work())


def test_golden_rows_need_a_record(source: Source) -> None:
    pq.write_table(pa.table({"x": [1.0]}), source.root / "h.parquet")
    digests = {"model_digest": "sha256:" + "a" * 64, "holdout_digest": "sha256:" + "b" * 64}
    for where in (None, "sha256:" + "c" * 64):
        assert golden_rows(source.store, source.root / "h.parquet", environment=where, label="y", **digests) is None


def test_an_answer_may_hold_nothing_that_is_missing() -> None:
    from holdfast.serving.models.warming import check_answer
    from holdfast.serving.served import ModelFault

    for wrong in (["a", None], [1, float("nan")], [1.0, float("inf")]):
        with pytest.raises(ModelFault, match="missing"):
            check_answer(tensor(np.array(wrong, dtype=object)), 2, ModelSpec())
    check_answer(tensor(np.array(["a", 1], dtype=object)), 2, ModelSpec())
