"""Models of every kind as one thing: a name, a content digest, predictions, and the time a call takes."""

from __future__ import annotations

from holdfast.models.latency import LatencyBlocks, Timed, measure_latency
from holdfast.models.pickles import check_loaders, unsafe_files, unsafe_loaders
from holdfast.models.predict import Predictions, predict
from holdfast.models.prediction_files import read_predictions
from holdfast.models.process import InProcess, Worker
from holdfast.models.recorded import (
    find_predictions,
    load_predictions,
    predictions_from_parquet,
    predictions_to_parquet,
    save_predictions,
)
from holdfast.models.reference import (
    CallableModel,
    MlflowModel,
    PredictionFile,
    Reference,
    model_digest,
    parse_reference,
)

__all__ = [
    "CallableModel",
    "InProcess",
    "LatencyBlocks",
    "MlflowModel",
    "PredictionFile",
    "Predictions",
    "Reference",
    "Timed",
    "Worker",
    "check_loaders",
    "find_predictions",
    "load_predictions",
    "measure_latency",
    "model_digest",
    "parse_reference",
    "predict",
    "predictions_from_parquet",
    "predictions_to_parquet",
    "read_predictions",
    "save_predictions",
    "unsafe_files",
    "unsafe_loaders",
]
