"""What would unpickle is found, whatever it is called; only named loaders may."""

from __future__ import annotations

import gzip
import pickle
import zipfile
from pathlib import Path

import pytest

from holdfast.errors import Refused, UserError
from holdfast.models.pickles import check_loaders, is_skops, unsafe_files, unsafe_loaders

PICKLE = pickle.dumps({"a": 1}, protocol=4)
SKLEARN = """flavors:
  python_function: {{loader_module: mlflow.sklearn, model_path: {file}}}
  sklearn: {{pickled_model: {file}{format}}}
"""
PYFUNC = "flavors: {python_function: {loader_module: mlflow.pyfunc.model, python_model: python_model.pkl}}"
FROM_CODE = """flavors:
  python_function: {loader_module: mlflow.pyfunc.model, model_code_path: model.py, python_model: model.py}
"""
SKOPS = ", serialization_format: skops"


@pytest.mark.parametrize(
    ("mlmodel", "files", "expected"),
    [
        (SKLEARN.format(file="model.pkl", format=""), {"model.pkl": PICKLE}, [("model.pkl", "pickle")]),
        (
            SKLEARN.format(file="model.pkl", format=", serialization_format: cloudpickle"),
            {"model.pkl": PICKLE},
            [("model.pkl", "cloudpickle")],
        ),
        (SKLEARN.format(file="model.skops", format=SKOPS), {"model.skops": b"PK\x03\x04"}, []),
        (
            SKLEARN.format(file="model.skops", format=SKOPS + ", skops_trusted_types: [lightgbm.basic.Booster]"),
            {"model.skops": b"PK\x03\x04"},
            [],
        ),
        (
            SKLEARN.format(file="model.skops", format=SKOPS + ", skops_trusted_types: [os.system]"),
            {"model.skops": b"PK\x03\x04"},
            [("model.skops", "skops")],
        ),
        (SKLEARN.format(file="model.skops", format=SKOPS), {"model.skops": PICKLE}, [("model.skops", "pickle")]),
        (PYFUNC, {"python_model.pkl": PICKLE}, [("python_model.pkl", "cloudpickle")]),
        (FROM_CODE, {"model.py": b"print(1)"}, []),
        (
            FROM_CODE,
            {"model.py": b"", "artifacts/vocabulary.bin": PICKLE, "artifacts/w.pth": b"?", "artifacts/t.txt": b"text"},
            [("artifacts/vocabulary.bin", "pickle"), ("artifacts/w.pth", "torch")],
        ),
        (FROM_CODE, {"artifacts/encoder": gzip.compress(PICKLE)}, [("artifacts/encoder", "pickle")]),
        (FROM_CODE, {"artifacts/encoder.joblib": b"\x00"}, [("artifacts/encoder.joblib", "joblib")]),
        (FROM_CODE, {"artifacts/table.gz": gzip.compress(b"a,b\n1,2\n"), "artifacts/half.gz": b"\x1f\x8b"}, []),
        ("flavors: {statsmodels: {data: model.sm}}", {"model.sm": PICKLE}, [("model.sm", "pickle")]),
        ("flavors: {lightgbm: {data: model.lgb}}", {"model.lgb": b"tree\nversion=v4"}, []),
        ("flavors: {spark: {model_data: sparkml}}", {"sparkml/part-0": b"x"}, []),
    ],
)
def test_unsafe_files(mlmodel: str, files: dict[str, bytes], expected: list[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(mlmodel)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert unsafe_files(tmp_path) == expected
    assert unsafe_loaders(tmp_path) == sorted({loader for _, loader in expected})


def test_a_torch_archive_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}")
    with zipfile.ZipFile(tmp_path / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", PICKLE)
    with zipfile.ZipFile(tmp_path / "weights.npz", "w") as archive:
        archive.writestr("w.npy", b"\x93NUMPY")
    assert unsafe_files(tmp_path) == [("pytorch_model.bin", "torch")]


def test_refused_unless_every_loader_is_named(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(PYFUNC)
    (tmp_path / "python_model.pkl").write_bytes(PICKLE)
    (tmp_path / "x.joblib").write_bytes(PICKLE)
    with pytest.raises(Refused, match=r"python_model\.pkl \(cloudpickle\)") as caught:
        check_loaders(tmp_path, ["joblib"], "models:/x/1")
    assert "allow_pickle: [cloudpickle, joblib]" in str(caught.value.hint)
    assert caught.value.exit_status == 1
    assert check_loaders(tmp_path, ["joblib", "cloudpickle"], "models:/x/1") == ["cloudpickle", "joblib"]


def test_a_file_outside_the_model(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {statsmodels: {data: ../../model.sm}}")
    with pytest.raises(UserError, match="outside the model's folder"):
        unsafe_files(tmp_path)


@pytest.mark.parametrize(("format", "expected"), [(SKOPS, True), ("", False)])
def test_is_skops(format: str, expected: bool, tmp_path: Path) -> None:  # noqa: A002
    (tmp_path / "MLmodel").write_text(SKLEARN.format(file="m", format=format))
    assert is_skops(tmp_path) is expected
