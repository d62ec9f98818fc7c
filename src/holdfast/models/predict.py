"""One set of predictions from any kind of model, checked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.config.schema import ModelConfig
from holdfast.data.tables import open_table
from holdfast.environment import fingerprint
from holdfast.models.prediction_files import read_predictions
from holdfast.models.process import InProcess, LoadedModel, Worker
from holdfast.models.reference import CallableModel, MlflowModel, PredictionFile, Reference, parse_reference
from holdfast.models.values import Values, check_values, positive_score, values_digest
from holdfast.registry import Registry


@dataclass(frozen=True)
class Predictions:
    """What one model says of the rows of one table.

    `values` is (n,) or, for more than two classes, (n, K); `seconds` is the time the model took; `fingerprint` is the
    digest of the environment it ran in, None for a file of predictions.
    """

    values: Values
    seconds: float = 0.0
    fingerprint: str | None = None
    digest: str = field(default="")

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", values_digest(self.values))


def predict(
    reference: Reference | str,
    table_path: str | Path,
    *,
    model_config: ModelConfig,
    registry: Registry | Callable[[], Registry] | None,
    python: str | Path,
    cwd: str | Path,
    cache: str | Path,
    drop: Iterable[str] = (),
    key: Sequence[str] | None = None,
    in_process: bool = False,
) -> Predictions:
    """The predictions of `reference` for every row of a Parquet or CSV file, in a worker of the environment `python`.

    The model never sees the columns `drop` (the label). `key` names the columns by which a file of predictions is
    matched. Raises UserError, Refused or OutsideError as `LoadedModel` says, and OutsideError for predictions that are
    too few, too many, missing, NaN or infinite.
    """
    model = parse_reference(reference, cwd) if isinstance(reference, str) else reference
    if isinstance(model, PredictionFile):
        return Predictions(read_predictions(model.path, open_table(table_path), key=list(key) if key else None))
    name = f"the model {model}"
    target = local_target(model, registry, Path(cache))
    with start(python, cwd, model_config, name=name, in_process=in_process) as loaded:
        loaded.load(target, model_config.predict, model_config.allow_pickle)
        rows = loaded.give(table_path, drop)
        values = check_values(loaded.predict(), rows, name)
        seconds, classes = loaded.seconds, loaded.classes
    values = positive_score(values, classes, model_config.positive, name)
    where = sys.executable if in_process else python
    return Predictions(values, seconds=seconds, fingerprint=fingerprint(where, cwd).digest)


def local_target(
    model: MlflowModel | CallableModel, registry: Registry | Callable[[], Registry] | None, cache: Path
) -> Path | CallableModel:
    """What a worker can load: the folder of an MLflow model, downloaded if need be, or the function as it is."""
    if isinstance(model, CallableModel):
        return model
    if model.is_local:
        return Path(model.uri)
    if registry is None:
        raise ValueError(f"{model} needs a registry")
    opened = registry() if callable(registry) else registry
    return opened.download(model.uri, cache)


def start(
    python: str | Path, cwd: str | Path, model_config: ModelConfig, *, name: str, in_process: bool = False
) -> LoadedModel:
    """A worker of the environment `python` or, if asked for, this very process; not entered yet."""
    if in_process:
        return InProcess(cwd, name=name)
    return Worker(python, cwd, timeout=model_config.timeout.total_seconds(), name=name)
