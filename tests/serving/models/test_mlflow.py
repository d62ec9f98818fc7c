"""Real models saved by MLflow: what clients send is fitted to their signatures, and what MLflow refuses is bad input."""

from __future__ import annotations

import asyncio
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.errors import Refused
from holdfast.models.reference import read_mlmodel
from holdfast.serving.models.in_process import InProcessModel
from holdfast.serving.models.loading import Loaded
from holdfast.serving.models.process import ProcessModel
from holdfast.serving.models.running import LoadRequest, Start
from holdfast.serving.models.signature import read_signature
from holdfast.serving.models.warming import warm
from holdfast.serving.payload import Payload, tensor
from holdfast.serving.protocol import invocations
from holdfast.serving.served import BadInput, ModelFault, ServedModel, TensorSpec
from tests.serving.models.conftest import run

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns of what these tests do on purpose
CODE = """
import mlflow
class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if (model_input["n"] < 0).any():
            raise RuntimeError("negative")
        return [word * int(n) for word, n in zip(model_input["word"], model_input["n"])]
mlflow.models.set_model(Model())
"""
SCALED = """
import mlflow
class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["n"] * params["by"] + len(params["names"])
mlflow.models.set_model(Model())
"""
NAMES = ("a", "b", "c")
WEIGHTS = np.array([1.0, 2.0, 3.0])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`linear` (columns a, b, c as double), `tensor` ((−1, 3) of float32), `words` and `scaled` (from code; the latter takes
    params), `pickled`.
    """
    folder = tmp_path_factory.mktemp("saved")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        import pandas as pd
        from mlflow.models import infer_signature
        from sklearn.linear_model import LinearRegression

        frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=list(NAMES))
        model = LinearRegression().fit(frame, frame.to_numpy() @ WEIGHTS)
        signature = infer_signature(frame, model.predict(frame))
        skops = {"serialization_format": "skops", "pip_requirements": []}
        mlflow.sklearn.save_model(model, folder / "linear", signature=signature, input_example=frame[:2], **skops)
        array = frame.to_numpy(dtype=np.float32)
        model = LinearRegression().fit(array, array @ WEIGHTS.astype(np.float32))
        signature = infer_signature(array, model.predict(array))
        mlflow.sklearn.save_model(model, folder / "tensor", signature=signature, **skops)
        mlflow.sklearn.save_model(
            model, folder / "pickled", serialization_format="cloudpickle", pip_requirements=[], signature=signature
        )
        (folder / "words.py").write_text(CODE)
        rows = pd.DataFrame({"word": ["a"], "n": [1]})
        signature = infer_signature(rows, pd.Series(["a"]))
        mlflow.pyfunc.save_model(
            folder / "words", python_model=str(folder / "words.py"), signature=signature, pip_requirements=[]
        )
        (folder / "scaled.py").write_text(SCALED)
        rows = pd.DataFrame({"n": [1.0]})
        signature = infer_signature(rows, rows["n"], params={"by": 2.0, "names": ["a"]})
        mlflow.pyfunc.save_model(
            folder / "scaled", python_model=str(folder / "scaled.py"), signature=signature, pip_requirements=[]
        )
    return folder


def request(folder: Path, name: str, **options: object) -> LoadRequest:
    return LoadRequest(folder / name, folder, name=f"the model {name}", **options)  # type: ignore[arg-type]


async def here(folder: Path, name: str) -> InProcessModel:
    return await InProcessModel.start("1", request(folder, name), read_signature(read_mlmodel(folder / name)))


async def there(folder: Path, name: str) -> ProcessModel:
    start = Start(python=Path(sys.executable), request=request(folder, name))
    return await ProcessModel.start("1", start, read_signature(read_mlmodel(folder / name)))


def frame(**columns: object) -> Payload:
    return Payload("frame", tuple(columns), tuple(np.asarray(values) for values in columns.values()))


def test_columns_here_and_in_a_process(saved: Path) -> None:
    async def work(model: ServedModel) -> None:
        assert model.spec.inputs == tuple(TensorSpec(name, "FP64", (-1,)) for name in NAMES)
        assert model.spec.outputs == (TensorSpec("", "FP64", (-1,)),)
        asked = [
            frame(c=[3.0, 0.0], a=[1.0, 0.0], b=[2.0, 1.0], unused=[7, 7]),
            frame(a=[1, 0], b=[2, 1], c=np.array([3, 0], dtype=np.float32)),  # JSON has whole numbers
            Payload("tensor", ("x",), (np.array([[1, 2, 3], [0, 1, 0]]),)),  # a V2 client's one tensor
            Payload("tensors", NAMES, tuple(np.array(c)[:, None] for c in ([1, 0], [2, 1], [3, 0]))),
        ]
        for given in asked:
            found = await model.infer(given, 20)
            assert np.allclose(found.arrays[0], [14.0, 2.0]) and found.arrays[0].dtype == np.float64
        for wrong, said in [
            (frame(a=[1.0], b=[2.0]), r"missing inputs \['c'\]"),
            (frame(a=["x"], b=["y"], c=["z"]), "a"),
            (tensor(np.ones((2, 2))), "."),
        ]:
            with pytest.raises(BadInput, match=said):
                await model.infer(wrong, 20)
        assert model.is_alive
        warmed = await warm(Loaded(model=model, folder=saved / "linear"), None, timeout=20)
        assert warmed.ok and warmed.asked == "input_example" and "sane" in warmed.checks
        await model.close()

    async def both() -> None:
        await asyncio.gather(work(await here(saved, "linear")), work(await there(saved, "linear")))

    run(both())


@pytest.mark.parametrize(
    ("name", "columns", "params"),
    [
        (
            "scaled",
            {"n": [1.0, 2.0]},
            [
                None,
                {},
                {"by": 3.0},
                {"by": 3, "names": ["x", "y"]},
                {"unknown": 1},
                {"by": "three"},
                {"names": "x"},
            ],
        ),
        ("linear", {name: [1.0] for name in NAMES}, [{"by": 3.0}]),  # it takes none
        ("words", {"word": ["a"], "n": [2]}, [{"by": 3.0}]),  # nor does its signature
    ],
)
def test_params_are_taken_as_mlflows_own_server_takes_them(
    saved: Path, name: str, columns: dict[str, Any], params: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import pyfunc

    document = {"dataframe_split": {"columns": list(columns), "data": list(zip(*columns.values(), strict=True))}}
    bodies = [json.dumps(document if given is None else {**document, "params": given}) for given in params]
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    loaded = pyfunc.load_model(str(saved / name))
    expected = [by_mlflow(loaded, body) for body in bodies]

    async def work() -> None:
        for model in (await here(saved, name), await there(saved, name)):
            assert [await by_us(model, body) for body in bodies] == expected
            await model.close()

    run(work())


def by_mlflow(loaded: Any, body: str) -> Any:
    """What `mlflow models serve` answers; None where it refuses the params."""
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import scoring_server

    try:
        found = scoring_server.invocations(body, "application/json", loaded, loaded.metadata.get_input_schema())
    except MlflowException as error:
        assert "Invalid parameters found" in str(error)
        return None
    rows = json.loads(found.response)["predictions"]
    return [row["n"] if isinstance(row, dict) else row for row in rows]


async def by_us(model: ServedModel, body: str) -> Any:
    try:
        found = await model.infer(invocations.parse(body.encode(), "application/json"), 20)
    except BadInput as error:
        assert "Invalid parameters found" in str(error)
        return None
    return json.loads(invocations.answer(found))["predictions"]


def test_tensors_get_the_declared_type(saved: Path) -> None:
    async def work() -> None:
        model = await here(saved, "tensor")
        for array in (np.array([[1, 2, 3]]), np.array([[1.0, 2.0, 3.0]]), np.array([[1, 2, 3]], dtype=np.float32)):
            assert np.allclose((await model.infer(tensor(array), 20)).arrays[0], 14.0, atol=1e-4)
        with pytest.raises(BadInput, match="shape"):
            await model.infer(tensor(np.ones((1, 4))), 20)
        warmed = await warm(Loaded(model=model, folder=saved / "tensor"), None, timeout=20)
        assert warmed.ok and warmed.asked == "signature"
        await model.close()

    run(work())


def test_a_model_from_code(saved: Path) -> None:
    async def work() -> None:
        model = await here(saved, "words")
        words = np.array([b"ab", "\u00fc"], dtype=object)  # BYTES may come as bytes
        answer = await model.infer(frame(word=words, n=np.array([2, 1])), 20)
        assert answer.arrays[0].tolist() == ["abab", "\u00fc"]
        with pytest.raises(BadInput, match="the column 'word' is text"):
            await model.infer(frame(word=np.array([b"\xff"], dtype=object), n=[1]), 20)
        with pytest.raises(BadInput, match="n"):
            await model.infer(frame(word=np.array(["a"], dtype=object), n=[1.5]), 20)
        with pytest.raises(ModelFault, match=r"raised RuntimeError: negative"):
            await model.infer(frame(word=np.array(["a"], dtype=object), n=[-1]), 20)
        await model.close()

    run(work())


def test_a_pickle_is_refused_until_it_is_allowed_by_name(saved: Path) -> None:
    with pytest.raises(Refused, match=r"would run code from its file model\.pkl \(cloudpickle\)"):
        request(saved, "pickled")
    assert request(saved, "pickled", allow_pickle=["cloudpickle"]).document["unpickle"] is True
