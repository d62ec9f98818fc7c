"""Real saved MLflow models, each in a worker of its own (some seconds to import MLflow, so the cases are few)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdfast.config.schema import ModelConfig
from holdfast.errors import OutsideError, Refused, UserError
from holdfast.models.pickles import unsafe_files
from holdfast.models.predict import Predictions, predict
from holdfast.models.process import Worker
from holdfast.models.reference import model_digest
from holdfast.models.values import positive_score

SAVE = '''
import warnings; warnings.simplefilter("ignore")
import mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

frame = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40.0)[::-1]})
labels = np.where(frame["a"] > 20, "yes", "no")
model = LogisticRegression().fit(frame, labels)
signature = infer_signature(frame, labels)
options = {"signature": signature, "pip_requirements": ["scikit-learn"]}
mlflow.sklearn.save_model(model, "skops", serialization_format="skops", **options)
for name in ("pickled", "pickled_again"):
    mlflow.sklearn.save_model(model, name, serialization_format="cloudpickle", **options)
open("code_model.py", "w").write("""
import mlflow
class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        print("user prints")
        if "label" in model_input.columns:
            raise RuntimeError("the label is visible")
        return model_input["a"].to_numpy() * 2
    def predict_margin(self, model_input):
        if model_input["a"].max() > 1000:
            raise ValueError("margin too large")
        return [float(x) - 1 for x in model_input["a"]]
mlflow.models.set_model(Model())
""")
mlflow.pyfunc.save_model("from_code", python_model="code_model.py", pip_requirements=[])

class Inline(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["a"].to_numpy()

mlflow.pyfunc.save_model("inline", python_model=Inline(), pip_requirements=[])
'''


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models saved by MLflow and `rows.parquet` (3 rows; the columns b, a, query, label)."""
    folder = tmp_path_factory.mktemp("saved")
    done = subprocess.run([sys.executable, "-c", SAVE], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    table = pa.table(
        {"b": [39.0, 20.0, 0.0], "a": [0.0, 19.0, 39.0], "query": ["x", "y", "z"], "label": ["no", "no", "yes"]}
    )
    pq.write_table(table, folder / "rows.parquet")
    return folder


def predicted(folder: Path, model: str, **config: Any) -> Predictions:
    return predict(
        model,
        folder / "rows.parquet",
        model_config=ModelConfig(name="m", **config),
        registry=None,
        python=sys.executable,
        cwd=folder,
        cache=folder / "cache",
        drop=["label"],
    )


def test_the_same_model_saved_twice_has_one_digest(saved: Path) -> None:
    assert model_digest(saved / "pickled") == model_digest(saved / "pickled_again")
    assert model_digest(saved / "skops") != model_digest(saved / "pickled")


def test_a_safe_scikit_learn_model_gives_labels_and_the_positive_class(saved: Path) -> None:
    """Columns are chosen and ordered by the signature, for predict_proba as for predict."""
    assert unsafe_files(saved / "skops") == []
    with Worker(sys.executable, saved) as model:
        model.load(saved / "skops")
        assert model.give(saved / "rows.parquet", ["label"]) == 3
        labels = model.predict()
        assert labels == ["no", "no", "yes"]
        assert model.classes == ["no", "yes"]
        model.load(saved / "skops", "predict_proba")
        probabilities = model.predict()
        assert probabilities.shape == (3, 2)
        no = positive_score(probabilities, model.classes, "no", "the model")
        assert (no > 0.5).tolist() == [True, True, False]
        with pytest.raises(UserError, match="the model has no method predict_future"):
            model.load(saved / "skops", "predict_future")


def test_a_pickled_model_is_refused_until_it_is_allowed_by_name(saved: Path) -> None:
    sentence = r"loading the model .*pickled would run code from its file model\.pkl \(cloudpickle\)"
    with pytest.raises(Refused, match=sentence):
        predicted(saved, "pickled")
    with pytest.raises(Refused, match=sentence):
        predicted(saved, "pickled", allow_pickle=["joblib"])
    with pytest.raises(Refused, match=r"python_model\.pkl \(cloudpickle\)"):
        predicted(saved, "inline")
    assert predicted(saved, "pickled", allow_pickle=["cloudpickle"]).values.tolist() == ["no", "no", "yes"]


def test_mlflow_itself_refuses_what_we_did_not_find(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second lock: with our own search switched off, the worker still does not unpickle."""
    monkeypatch.setattr("holdfast.models.process.check_loaders", lambda *_: [])
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    with pytest.raises(OutsideError, match="disallowed") as caught:
        predicted(saved, "inline")
    assert "allow_pickle" in str(caught.value.hint)


def test_a_model_from_code_and_its_own_methods(saved: Path) -> None:
    with Worker(sys.executable, saved, name="the model") as model:
        model.load(saved / "from_code")
        model.give(saved / "rows.parquet", ["label"])
        assert model.predict().tolist() == [0.0, 38.0, 78.0]
        assert len(model.time_calls([[0], [1, 2]], warm_up=1)) == 2
        model.load(saved / "from_code", "predict_margin")
        assert model.predict().tolist() == [-1.0, 18.0, 38.0]
        model.give(saved / "rows.parquet")
        model.load(saved / "from_code")
        with pytest.raises(OutsideError, match=r"raised RuntimeError: the label is visible \(.*code_model\.py, line 7"):
            model.predict()
